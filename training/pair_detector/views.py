# SPDX-License-Identifier: GPL-3.0-or-later
"""Views of rendered pictures as the pair detector gets them: squares of 192 pixels, zoomed, turned, mirrored."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.formats import PALM_PX
from training.synthetic.batch import VISIBLE, SyntheticBatch

# A hand in a view: none; there; there but hardly visible, which is neither asked for nor forbidden.
ABSENT, THERE, HARDLY = 0, 1, 2
# The hands' share of the view (log uniform) and the bounds of the zoom; pictures turned at random and slightly.
_FILL, _ZOOM, _ANY_TURN, _TURN_RAD = (0.22, 0.95), (0.4, 1.5), 0.12, 0.17
# Beyond the picture its border is repeated, or else there is black, or any colour. How often views have black bars, and
# the shares of their picture.
_REPEATED, _BLACK, _BARS, _UNBARRED = 0.45, 0.4, 0.45, (0.5625, 0.667, 0.75)
_LEAST_VISIBLE, _LEAST_INSIDE, _BORDER_PX = 2, 0.45, 4
_NEAREST_M = 0.03

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Views:
    """images (N, 192, 192, 3) RGB. crops (N, S, 4): of the hands, see `landmarks.crop_squares`. hands (N, S): ABSENT,
    THERE or HARDLY. gap_m (N,): between the hands.
    """

    images: Image
    crops: Floats
    hands: NDArray[np.int64]
    gap_m: Floats


def views_of(batch: SyntheticBatch, views: int, rng: np.random.Generator) -> Views:
    """`views` random ones of each picture."""
    images = batch.image.permute(0, 2, 3, 1).cpu().numpy()
    points_px = ((batch.landmarks_uv + 1) / 2 * images.shape[1]).double().cpu().numpy()
    present, visible = batch.present.cpu().numpy(), (batch.visibility == VISIBLE).cpu().numpy()
    near = (batch.landmarks_cam_m[..., 2].amin(-1) < _NEAREST_M).cpu().numpy() & present
    parts = [
        _view(images[row], points_px[row], present[row], visible[row], near[row].any(), rng)
        for row in np.arange(len(images)).repeat(views)
    ]
    drawn, crops, hands = (np.stack(values) for values in zip(*parts, strict=True))
    return Views(drawn, crops, hands, batch.gap_m.double().cpu().numpy().repeat(views))


def _view(
    image: Image,
    points_px: Floats,
    present: NDArray[np.bool_],
    visible: NDArray[np.bool_],
    unusable: bool,
    rng: np.random.Generator,
) -> tuple[Image, Floats, NDArray[np.int64]]:
    turn, offset, mirrored = _placed(points_px[present].reshape(-1, 2), len(image), rng)
    out = _drawn(image, turn, offset, rng)
    points = points_px @ turn.T + offset
    if mirrored:
        points, present, visible = points[::-1], present[::-1], visible[::-1]
    out = _graded(_barred(out, points[present].reshape(-1, 2), rng), rng)
    crops = crops_from_landmarks(points)
    inside = ((points > 0) & (points < PALM_PX)).all(-1)
    middle = ((crops[:, :2] > _BORDER_PX) & (crops[:, :2] < PALM_PX - _BORDER_PX)).all(-1)
    shown = ((inside & visible).sum(-1) >= _LEAST_VISIBLE) & (inside.mean(-1) > _LEAST_INSIDE) & middle
    there = present & shown & (not unusable)
    hardly = present & (inside.any(-1) | unusable)
    return out, crops, np.where(there, THERE, np.where(hardly, HARDLY, ABSENT))


def _placed(hands_px: Floats, size_px: int, rng: np.random.Generator) -> tuple[Floats, Floats, bool]:
    """What takes a picture's points to a view: a matrix (2, 2), an offset (2,), and whether it mirrors."""
    if len(hands_px):
        low, high = hands_px.min(0), hands_px.max(0)
        extent, middle = max(float((high - low).max()), 10.0), (low + high) / 2
    else:
        extent, middle = size_px * rng.uniform(0.35, 0.85), size_px * rng.uniform(0.3, 0.7, 2)
    fill = np.exp(rng.uniform(*np.log(_FILL)))
    zoom = float(np.clip(fill * PALM_PX / extent, *_ZOOM))
    turn = rng.uniform(-np.pi, np.pi) if rng.random() < _ANY_TURN else rng.normal(0, _TURN_RAD)
    mirrored = rng.random() < 0.5
    cos, sin, across = np.cos(turn), np.sin(turn), -1 if mirrored else 1
    matrix = zoom * np.array([[across * cos, -sin], [across * sin, cos]])
    room = max(0.0, (PALM_PX - extent * zoom) / 2)
    to = PALM_PX / 2 + rng.uniform(-0.8, 0.8, 2) * room + rng.normal(0, 6, 2)
    return matrix, to - matrix @ middle, mirrored


def _drawn(image: Image, matrix: Floats, offset: Floats, rng: np.random.Generator) -> Image:
    zoom = float(np.sqrt(abs(np.linalg.det(matrix))))
    source = cv2.GaussianBlur(image, (0, 0), 0.35 / zoom) if zoom < 0.6 else image
    to = np.concatenate([matrix, (offset + matrix @ [0.5, 0.5] - 0.5)[:, None]], 1)
    kind, colour = rng.random(), rng.integers(0, 255, 3)
    repeated = kind < _REPEATED
    out = cv2.warpAffine(
        source,
        to,
        (PALM_PX, PALM_PX),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE if repeated else cv2.BORDER_CONSTANT,
        borderValue=(0, 0, 0) if kind < _REPEATED + _BLACK else tuple(int(value) for value in colour),
    )
    return np.asarray(out, np.uint8)


def _barred(image: Image, hands_px: Floats, rng: np.random.Generator) -> Image:
    """Some views with the black bars of a wide or a tall picture, unless they hide the hands."""
    if rng.random() >= _BARS:
        return image
    bar, axis = int(PALM_PX * (1 - rng.choice(_UNBARRED)) / 2), int(rng.random() < 0.7)
    along = hands_px[:, axis] if len(hands_px) else np.array([PALM_PX / 2])
    if along.min() < bar - 12 or along.max() > PALM_PX - bar + 12:
        return image
    barred = image if axis else image.swapaxes(0, 1)
    barred[:bar] = barred[PALM_PX - bar :] = 0
    return image


def _graded(image: Image, rng: np.random.Generator) -> Image:
    """Another brightness, contrast and tint; some grey, blurred or noisy."""
    values = (image.astype(np.float32) / 255) ** np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.2))
    values = values * (1 + rng.normal(0, 0.06, 3))
    if rng.random() < 0.12:
        values = values.mean(2, keepdims=True).repeat(3, 2)
    if rng.random() < 0.15:
        values = cv2.GaussianBlur(values, (0, 0), rng.uniform(0.4, 1.3))
    if rng.random() < 0.2:
        values = values + rng.normal(0, rng.uniform(0.005, 0.03), values.shape)
    return np.asarray((values.clip(0, 1) * 255).round(), np.uint8)
