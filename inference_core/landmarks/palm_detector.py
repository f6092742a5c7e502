# SPDX-License-Identifier: GPL-3.0-or-later
"""Palms in whole frames: letterbox, network, anchors, weighted non-maximum suppression."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.formats import PALM_PX, PALM_VALUES
from inference_core.landmarks.networks import LandmarkNetworks
from inference_core.landmarks.odds import probability

_STRIDES = (8, 16, 16, 16)
_ANCHORS_A_CELL = 2
_SAME_PALM_OVERLAP = 0.3
# Side of the squares in the second, closer search, as a share of the image's longer side; at most its shorter one.
_CLOSER = 0.75
_BATCH = 8

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Palms:
    """The palms of one frame, best first: boxes (N, 4) centre x, y, width, height; key points (N, 7, 2); scores (N,).

    Pixels of the whole frame, pixel centres at +0.5.
    """

    boxes_px: Floats
    key_points_px: Floats
    scores: Floats


def detect_palms(
    images: Sequence[NDArray[np.uint8]], networks: LandmarkNetworks, min_score: float = 0.5
) -> list[Palms]:
    """The palms of each RGB image (H, W, 3)."""
    found: list[Palms] = []
    for start in range(0, len(images), _BATCH):
        some = images[start : start + _BATCH]
        boxed = [letterbox(image) for image in some]
        values, logits = networks.run_palm(np.stack([picture for picture, _, _ in boxed]))
        for (_, scale, offset), value, logit in zip(boxed, values, logits, strict=True):
            found.append(_decode(value, logit, scale, offset, min_score))
    return found


def detect_palms_in(
    image: NDArray[np.uint8], squares: NDArray[np.int64], networks: LandmarkNetworks, min_score: float = 0.5
) -> Palms:
    """The palms of an RGB image (H, W, 3), detected in squares (N, 3), N > 0, of it: upper left corner x, y, side.

    Finds small and faint palms that detection in the whole frame misses, at the cost of a frame for each square.
    """
    pieces = [image[y : y + side, x : x + side] for x, y, side in squares.tolist()]
    palms = detect_palms(pieces, networks, min_score)
    values = [
        np.concatenate((one.boxes_px, one.key_points_px.reshape(-1, PALM_VALUES - 4)), 1) + _moved(x, y)
        for (x, y, _), one in zip(squares.tolist(), palms, strict=True)
    ]
    together, scores = weighted_suppression(
        np.concatenate(values), np.concatenate([one.scores for one in palms])
    )
    return Palms(together[:, :4], together[:, 4:].reshape(-1, 7, 2), scores)


def _moved(x: int, y: int) -> Floats:
    """An offset (PALM_VALUES,) that moves a palm's centre and key points by x and y, and leaves its size unchanged."""
    return np.array([x, y, 0, 0, *[x, y] * ((PALM_VALUES - 4) // 2)], np.float64)


def closer_side(width: int, height: int) -> int:
    """Side of the squares in the usual closer search of an image."""
    return max(1, min(width, height, round(_CLOSER * max(width, height))))


def squares_over(width: int, height: int, side: int) -> NDArray[np.int64]:
    """Squares (N, 3) of at most that side that cover an image: upper left corner x, y, and side; neighbours overlap by
    about half.
    """
    side = max(1, min(width, height, side))
    columns, rows = (
        np.linspace(0, length - side, 1 + round(2 * (length - side) / side + 0.5)).astype(int).tolist()
        for length in (width, height)
    )
    return np.array([(x, y, side) for y in rows for x in columns], np.int64)


def letterbox(image: NDArray[np.uint8], input_px: int = PALM_PX) -> tuple[NDArray[np.uint8], float, Floats]:
    """The image in the middle of a black square of input_px, its scale there, and its offset (2,) in pixels."""
    height, width = image.shape[:2]
    scale = input_px / max(height, width)
    small_width, small_height = max(1, round(width * scale)), max(1, round(height * scale))
    x, y = (input_px - small_width) // 2, (input_px - small_height) // 2
    square = np.zeros((input_px, input_px, 3), np.uint8)
    shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square[y : y + small_height, x : x + small_width] = cv2.resize(
        image, (small_width, small_height), interpolation=shrink
    )
    return square, scale, np.array([x, y], np.float64)


def anchor_centres(input_px: int = PALM_PX, strides: Sequence[int] = _STRIDES) -> Floats:
    """Centres (2016, 2) of the anchors in input pixels; layers of equal stride share a grid."""
    layers: list[Floats] = []
    for stride in sorted(set(strides)):
        cells = input_px // stride
        at = (np.arange(cells) + 0.5) * stride
        y, x = np.meshgrid(at, at, indexing="ij")
        a_cell = _ANCHORS_A_CELL * strides.count(stride)
        layers.append(np.repeat(np.stack((x, y), -1).reshape(-1, 2), a_cell, axis=0))
    return np.concatenate(layers)


def weighted_suppression(values: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """One row of values and one score for every group of boxes that overlap its best enough to be one palm.

    values (N, 4 + ...): centre x, y, width, height, then further values, all averaged by score. Returns the averages
    and each group's best score, in descending order.
    """
    order = np.argsort(-scores, kind="stable")
    values, scores = values[order], scores[order]
    overlaps = box_overlaps(values[:, :4])
    left = np.ones(len(values), bool)
    kept_values: list[Floats] = []
    kept_scores: list[float] = []
    for best in range(len(values)):
        if not left[best]:
            continue
        group = left & (overlaps[best] > _SAME_PALM_OVERLAP)
        group[best] = True
        weight = scores[group, None]
        kept_values.append((values[group] * weight).sum(0) / weight.sum())
        kept_scores.append(float(scores[best]))
        left &= ~group
    return np.array(kept_values).reshape(-1, values.shape[1]), np.array(kept_scores)


def box_overlaps(boxes: Floats) -> Floats:
    """Intersection over union (N, N) of boxes (N, 4) centre x, y, width, height."""
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    sides = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
    shared = np.clip(sides, 0, None).prod(-1)
    area = np.clip(boxes[:, 2:], 0, None).prod(-1)
    union = area[:, None] + area[None] - shared
    return shared / np.maximum(union, 1e-12)


def decoded_boxes(
    values: NDArray[np.floating], logits: NDArray[np.floating], centres: Floats, min_score: float
) -> tuple[Floats, Floats]:
    """Boxes with key points (N, 4 + 2 K) in input pixels, and scores (N,), from one picture's output."""
    scores = probability(logits)
    likely = scores >= min_score
    found, centres = values[likely].astype(np.float64), centres[likely]
    found[:, :2] += centres
    found[:, 4:] += np.tile(centres, (values.shape[1] - 4) // 2)
    return weighted_suppression(found, scores[likely])


_ANCHORS = anchor_centres()


def _decode(values: Floats, logits: Floats, scale: float, offset: Floats, min_score: float) -> Palms:
    values, kept = decoded_boxes(values, logits, _ANCHORS, min_score)
    key_points = (values[:, 4:].reshape(-1, 7, 2) - offset) / scale
    boxes = np.concatenate(((values[:, :2] - offset) / scale, values[:, 2:4] / scale), 1)
    return Palms(boxes, key_points, kept)
