# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotated square crops around a hand: where they are, and how pixels and points map to and from them.

A crop is four numbers (..., 4): centre x, y in pixels of the whole frame (pixel centres at +0.5), side in pixels, and
rotation in radians about the picture's z (clockwise as seen), which maps the crop's up to the hand's up. Constants
are MediaPipe's own (hand_landmark_tracking graphs of 0.10.21).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

# A hand fills about this share of its crop's side; "hand size" means this share.
HAND_IN_CROP = 0.5
_PALM_SCALE, _PALM_SHIFT = 2.6, -0.5
_HAND_SCALE, _HAND_SHIFT = 2.0, -0.1
_BODY_SCALE = 2.5
# Of the square about a body's wrist, in distances from there to the middle finger's knuckle; and of a hand's square, in
# distances from its middle to the middle of its lower side.
_WRIST_SCALE, _SQUARE_SCALE = 5.4, 2.0
# How far a hand's middle lies beyond its wrist, as a share of the crop's side.
_HAND_BEYOND_WRIST = 0.25
# The palm and the near phalanges only: fingertips would make the crop jump.
_STABLE_POINTS = np.array([0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18])
_WRIST, _INDEX_PIP, _MIDDLE_PIP, _RING_PIP = 0, 6, 10, 14
# Bilinear sampling skips pixels beyond this reduction; the picture is halved first.
_MAX_REDUCTION = 3.0
# Crops lie on a grid with steps of this share of their side and this many radians, a fifth of a pixel of what networks
# see: so differences by rounding, between processors and runtimes, rarely reach the next frame's crop.
_GRID = 2.0**-10

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]


def crops_from_palms(boxes_px: Floats, key_points_px: Floats) -> Floats:
    """Crops (..., 4) of detected palms: boxes (..., 4) centre x, y, width, height; key points (..., 7, 2)."""
    rotation = _upright(key_points_px[..., 0, :], key_points_px[..., 2, :])
    return _place(boxes_px[..., :2], boxes_px[..., 2:], rotation, _PALM_SCALE, _PALM_SHIFT)


def crops_from_persons(key_points_px: Floats) -> Floats:
    """Crops (..., 4) of detected persons, from their key points (..., 4, 2): the middle of the hips, and a point
    above it at the distance of the body's reach.
    """
    middle, ahead = key_points_px[..., 0, :], key_points_px[..., 1, :]
    return _along(middle, middle, ahead, _BODY_SCALE)


def crops_from_wrists(points_px: Floats) -> Floats:
    """Crops (..., 4) that hold the hands of a body, from its wrist, little and index finger (..., 3, 2)."""
    wrist, little, index = points_px[..., 0, :], points_px[..., 1, :], points_px[..., 2, :]
    middle = (2 * index + little) / 3
    return _along(middle, wrist, middle, _WRIST_SCALE)


def crops_from_points(middle_px: Floats, below_px: Floats) -> Floats:
    """Crops (..., 4) of hands, from their middle and the middle of their square's lower side (..., 2)."""
    return _along(middle_px, below_px, middle_px, _SQUARE_SCALE)


def crops_from_arms(elbow_px: Floats, wrist_px: Floats, side_px: float) -> Floats:
    """The crop (4,), side_px large, of the hand at the end of an arm with elbow and wrist (2,)."""
    along = (wrist_px - elbow_px) / max(float(np.linalg.norm(wrist_px - elbow_px)), 1e-6)
    middle = wrist_px + _HAND_BEYOND_WRIST * side_px * along
    return _on_grid(middle, np.array(side_px), _upright(elbow_px, wrist_px))


def crops_from_landmarks(points_px: Floats) -> Floats:
    """Crops (..., 4) in which to read hands next, from their landmarks (..., 21, 2 or more)."""
    points = points_px[..., :2]
    ahead = (points[..., _INDEX_PIP, :] + points[..., _RING_PIP, :]) / 4 + points[..., _MIDDLE_PIP, :] / 2
    rotation = _upright(points[..., _WRIST, :], ahead)
    upright = turned(points[..., _STABLE_POINTS, :], -rotation[..., None])
    low, high = upright.min(-2), upright.max(-2)
    return _place(turned((low + high) / 2, rotation), high - low, rotation, _HAND_SCALE, _HAND_SHIFT)


def to_frame(points: Floats, crops: Floats, crop_px: int) -> Floats:
    """Points (..., P, 3) from crop pixels to frame pixels; z keeps the scale of x and y."""
    scale = (crops[..., 2] / crop_px)[..., None, None]
    middle = np.array([crop_px / 2, crop_px / 2, 0.0])
    out = (points - middle) * scale
    out[..., :2] = turned(out[..., :2], crops[..., 3, None]) + crops[..., None, :2]
    return out


def to_crop(points_px: Floats, crops: Floats, crop_px: int) -> Floats:
    """Points (..., P, 3) from frame pixels to crop pixels; undoes `to_frame`."""
    scale = (crop_px / crops[..., 2])[..., None, None]
    out = np.array(points_px, dtype=np.float64)
    out[..., :2] = turned(out[..., :2] - crops[..., None, :2], -crops[..., 3, None])
    return out * scale + np.array([crop_px / 2, crop_px / 2, 0.0])


def turn_to_frame(points_m: Floats, crops: Floats) -> Floats:
    """Points (..., P, 3) turned from the crop's rotated axes to the camera's (about z)."""
    return np.concatenate((turned(points_m[..., :2], crops[..., 3, None]), points_m[..., 2:]), -1)


def turned(points: Floats, rotation: Floats) -> Floats:
    """Points (..., 2) turned by angles that fit (...), clockwise as seen."""
    cos, sin = np.cos(rotation), np.sin(rotation)
    x, y = points[..., 0], points[..., 1]
    return np.stack((cos * x - sin * y, sin * x + cos * y), -1)


def cut(image: Image, crop: Floats, crop_px: int) -> Image:
    """The crop's pixels (crop_px, crop_px, 3) of an image (H, W, 3), its border repeated outside."""
    image, halvings = halved(image, crop[2] / crop_px)
    scale, centre = crop[2] / crop_px / 2**halvings, crop[:2] / 2**halvings
    cos, sin = np.cos(crop[3]) * scale, np.sin(crop[3]) * scale
    # Output pixel (i, j) has its centre at (i + 0.5, j + 0.5), and so has the input's.
    middle = (crop_px - 1) / 2
    matrix = np.array(
        [
            [cos, -sin, centre[0] - 0.5 - middle * (cos - sin)],
            [sin, cos, centre[1] - 0.5 - middle * (sin + cos)],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    out = cv2.warpAffine(image, matrix, (crop_px, crop_px), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.uint8)


def halved(image: Image, reduction: float) -> tuple[Image, int]:
    """The image, halved as often as a reduction to this part of its size needs, and how often that is."""
    halvings = 0
    while reduction > _MAX_REDUCTION:
        image = np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
        reduction, halvings = reduction / 2, halvings + 1
    return image, halvings


def _upright(base: Floats, ahead: Floats) -> Floats:
    """Rotation (...) that maps the picture's up to the direction from `base` to `ahead`, in -pi..pi."""
    towards = ahead - base
    return np.arctan2(+towards[..., 0], -towards[..., 1])


def _along(centre: Floats, base: Floats, ahead: Floats, scale: float) -> Floats:
    """Crops (..., 4) with up from `base` to `ahead` (..., 2), so many of their distances large."""
    return _on_grid(centre, np.linalg.norm(ahead - base, axis=-1) * scale, _upright(base, ahead))


def _place(centre: Floats, extent: Floats, rotation: Floats, scale: float, shift: float) -> Floats:
    offset = np.zeros_like(centre)
    offset[..., 1] = extent[..., 1] * shift
    return _on_grid(centre + turned(offset, rotation), extent.max(-1) * scale, rotation)


def _on_grid(centre: Floats, side: Floats, rotation: Floats) -> Floats:
    """The crops (..., 4) nearest to these that lie on the grid."""
    side = np.exp2(np.round(np.log2(np.maximum(side, 1e-6)) / _GRID) * _GRID)[..., None]
    step = side * _GRID
    middle = np.round(centre / step) * step
    return np.concatenate((middle, side, np.round(rotation[..., None] / _GRID) * _GRID), -1)
