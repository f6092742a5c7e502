# SPDX-License-Identifier: GPL-3.0-or-later
"""The square of each frame that the network receives, and the camera of that crop.

The crop is taken by a camera rotated (without roll) towards the square's centre, so that its optical
axis passes through the crop's middle, as in training: a hand at the edge of the frame looks as it would
in the middle. Pixel centres at +0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inference_core.geometry.homography import mapped, turn_to_z
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.tracking.interpolate import interpolated
from inference_core.two_hand.configuration import CROP_PX

# The square's side relative to the longer side of the landmarks' box (the flesh
# extends beyond the landmarks).
CROP_MARGIN = 1.5
# If one of two hands is lost and unknown in neighbouring frames, the other's square is enlarged by this.
LOST_HAND_GROWTH = 1.5
# Squares are averaged over this many frames, so that their jitter does not pass to the hands.
_SMOOTHING_FRAMES = 5
_MIN_SIDE_PX = 16.0

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class CropCamera:
    """The camera of one crop. rotation (3, 3): frame-camera axes to crop-camera axes; focal_uv: focal length
    over half the crop's side; crop_from_frame (3, 3): homography from frame pixels to uv of the crop.
    """

    rotation: NDArray[np.float64]
    focal_uv: float
    crop_from_frame: NDArray[np.float64]

    def uv_from_px(self, points_px: Floats) -> NDArray[np.float64]:
        """Crop uv (..., 2) of frame pixels (..., 2)."""
        return mapped(points_px, self.crop_from_frame)


def shot_crops(tracks: HandTracks) -> NDArray[np.float64]:
    """(T, 3) centre x, y and side of each frame's square in pixels; NaN if no hand is known nearby in time.

    One square holds both hands. A lost hand is assumed where it is interpolated; if it is not, but the hand occurs in
    the shot, the other hand's square is enlarged.
    """
    boxes = _landmark_boxes(tracks.landmarks_px)
    boxes, _ = interpolated(boxes, np.isfinite(boxes[..., 0]))
    known = np.isfinite(boxes[..., 0])
    belongs = known.any(0)
    low = np.where(known[..., None], boxes[..., :2], np.inf).min(1)
    high = np.where(known[..., None], boxes[..., 2:], -np.inf).max(1)
    some = known.any(1)
    crops = np.full((len(boxes), 3), np.nan)
    crops[some, :2] = (low[some] + high[some]) / 2
    crops[some, 2] = (high[some] - low[some]).max(1) * CROP_MARGIN
    crops[some & (known != belongs).any(1), 2] *= LOST_HAND_GROWTH
    crops[some, 2] = np.maximum(crops[some, 2], _MIN_SIDE_PX)
    return _smoothed(crops)


def crop_camera(crop_px: Floats, K: Floats) -> CropCamera:
    """The camera turned to the middle of a square (centre x, centre y, side) of the frame with intrinsics K (3, 3)."""
    ray = np.linalg.solve(K, [crop_px[0], crop_px[1], 1.0])
    distance = float(np.linalg.norm(ray))
    rotation = turn_to_z(ray / distance)
    focal_px = math.sqrt(K[0, 0] * K[1, 1])
    focal_uv = focal_px * distance / (float(crop_px[2]) / 2)
    homography = np.diag([focal_uv, focal_uv, 1.0]) @ rotation @ np.linalg.inv(K)
    return CropCamera(rotation, focal_uv, homography)


def cut_crop(image: NDArray[np.uint8], camera: CropCamera, side_px: float) -> NDArray[np.uint8]:
    """(256, 256, 3) uint8: the frame (H, W, 3) seen by the crop's camera; black outside the frame.

    side_px: the square's side in the frame. A frame that would shrink is downsampled first,
    so that every pixel contributes.
    """
    reduction = round(side_px / CROP_PX)
    height, width = image.shape[:2]
    if reduction > 1:
        small = (max(1, round(width / reduction)), max(1, round(height / reduction)))
        image = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), np.uint8)
    half = CROP_PX / 2
    pixel_from_uv = np.array([[half, 0, half - 0.5], [0, half, half - 0.5], [0, 0, 1.0]])
    across, down = width / image.shape[1], height / image.shape[0]
    centre_from_corner = np.array([[across, 0, across / 2], [0, down, down / 2], [0, 0, 1.0]])
    homography = pixel_from_uv @ camera.crop_from_frame @ centre_from_corner
    warped = cv2.warpPerspective(image, homography, (CROP_PX, CROP_PX), flags=cv2.INTER_LINEAR)
    return np.asarray(warped, np.uint8)


def _landmark_boxes(landmarks_px: Floats) -> NDArray[np.float64]:
    """(T, S, 4) x0, y0, x1, y1 of the landmarks with a score; NaN if there are none."""
    xy = np.where(landmarks_px[..., 2:] > 0, landmarks_px[..., :2], np.nan).astype(np.float64)
    known = np.isfinite(xy[..., 0]).any(-1)
    boxes = np.full((*known.shape, 4), np.nan)
    boxes[known] = np.concatenate([np.nanmin(xy[known], -2), np.nanmax(xy[known], -2)], -1)
    return boxes


def _smoothed(crops: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the squares within a few frames; frames without a square stay without."""
    known, reach = np.isfinite(crops[:, 0]), _SMOOTHING_FRAMES // 2
    values = np.concatenate([np.where(known[:, None], crops, 0.0), known[:, None]], 1)
    padded = np.pad(values, ((reach, reach), (0, 0)))
    sums = np.lib.stride_tricks.sliding_window_view(padded, _SMOOTHING_FRAMES, 0).sum(-1)
    smooth = np.full_like(crops, np.nan)
    smooth[known] = sums[known, :3] / sums[known, 3:]
    return smooth
