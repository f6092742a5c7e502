# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands cut out as a camera that faces them would see them.

Towards the edge of a wide picture a hand is stretched away from the middle: 40 degrees off the axis by 1.7 in that
direction and by 1.3 across it. The networks have hardly seen such hands. They read them too small, so they would be
placed too far away.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from inference_core.geometry.homography import turn_to_z
from inference_core.landmarks.crop_squares import halved

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]

_CENTRE = np.array([[1.0, 0, 0.5], [0, 1.0, 0.5], [0, 0, 1.0]])


def facing_crops(
    images: Sequence[Image], crops: Floats, K: Floats, crop_px: int
) -> tuple[list[Image], Floats]:
    """Crop n (4,) of image n (H, W, 3), cut as a facing camera sees it (crop_px, crop_px, 3), and the homographies
    (N, 3, 3) from their pixels to those of the frame with intrinsics K (3, 3); N > 0.
    """
    back = np.stack([frame_from_facing(crop, K, crop_px) for crop in crops])
    return [
        cut_facing(image, own, crop, crop_px) for image, own, crop in zip(images, back, crops, strict=True)
    ], back


def frame_from_facing(crop: Floats, K: Floats, crop_px: int) -> Floats:
    """(3, 3) homography from pixels of the crop, as a facing camera sees it, to those of the frame with intrinsics K.

    That camera's axis passes through the middle of the crop (4,); up and area there are the crop's.
    """
    frame_from_plane, slope, down = _facing_plane(crop, K)
    x, y = down * crop[2] / crop_px / np.sqrt(np.linalg.det(slope))
    middle = crop_px / 2
    plane_from_crop = [[y, x, -(x + y) * middle], [-x, y, (x - y) * middle], [0, 0, 1]]
    return frame_from_plane @ np.array(plane_from_crop)


def turn_facing(crop: Floats, K: Floats) -> float:
    """The crop's rotation in axes along the line of sight, clockwise as seen; crop[3] is that in the frame."""
    x, y = _facing_plane(crop, K)[2]
    return float(np.arctan2(-x, y))


def _facing_plane(crop: Floats, K: Floats) -> tuple[Floats, Floats, Floats]:
    """The homography (3, 3) from a facing camera's plane z = 1 to the frame, its slope (2, 2) in the middle of the
    crop, and the crop's unit vector (2,) down in that plane.
    """
    ray = np.linalg.solve(K, [crop[0], crop[1], 1.0])
    frame_from_plane = K @ turn_to_z(ray / np.linalg.norm(ray)).T
    slope = (frame_from_plane[:2, :2] - np.outer(crop[:2], frame_from_plane[2, :2])) / frame_from_plane[2, 2]
    down = np.linalg.solve(slope, [-np.sin(crop[3]), np.cos(crop[3])])
    return frame_from_plane, slope, down / np.linalg.norm(down)


def cut_facing(image: Image, frame_from_crop: Floats, crop: Floats, crop_px: int) -> Image:
    """The crop's pixels (crop_px, crop_px, 3) of an image (H, W, 3), its border repeated outside."""
    image, halvings = halved(image, crop[2] / crop_px)
    smaller = np.diag([0.5**halvings, 0.5**halvings, 1.0])
    matrix = np.linalg.inv(_CENTRE) @ smaller @ frame_from_crop @ _CENTRE
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    out = cv2.warpPerspective(image, matrix, (crop_px, crop_px), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.uint8)
