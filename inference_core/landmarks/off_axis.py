# SPDX-License-Identifier: GPL-3.0-or-later
"""The landmark head's readings in a frame, where hands far off the camera's axis are cut out as a facing camera sees
them (`landmarks/facing.py`).
"""

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from inference_core.footage.records import Frame
from inference_core.geometry.homography import mapped
from inference_core.landmarks.crop_readings import RefinedLandmarks
from inference_core.landmarks.crop_squares import turn_to_frame
from inference_core.landmarks.facing import facing_crops, turn_facing
from inference_core.landmarks.formats import CROP_PX
from inference_core.landmarks.hand_crops import Floats, Sides, as_right_hands
from inference_core.landmarks.head_reader import in_frame
from inference_core.landmarks.kept_readings import KeptReadings

# Nearer the axis a hand is stretched by less than a fifth, and its plain crop may have been read already.
_OFF_AXIS = np.tan(np.radians(25))
# A crop as a picture of its own: its landmarks come out in its own pixels.
_WHOLE_CROP = (CROP_PX / 2, CROP_PX / 2, CROP_PX, 0.0)

# Landmarks, world landmarks, trust.
_Said = tuple[Floats, Floats, Floats]


def read_squares(
    frames: Sequence[Frame], crops: Floats, sides: Sides, K: Floats, head: KeptReadings
) -> tuple[RefinedLandmarks, Floats, Floats, Floats]:
    """Crop n (4,) of frame n, which has a picture, read as a hand of side n; N > 0.

    Returns the head's output, and what it says in the frame: landmarks (N, 21, 2) in pixels; world landmarks
    (N, 21, 3) about the hand's centre, in axes along the line of sight; and each landmark's trust (N, 21), 0..1.
    K (3, 3): of the frame's camera.
    """
    off = are_off_axis(crops, K)
    rows = [rows for rows in (np.flatnonzero(~off), np.flatnonzero(off)) if len(rows)]
    read, said = zip(
        *(
            (_facing if off[some[0]] else _plain)(
                [frames[row] for row in some], crops[some], sides[some], K, head
            )
            for some in rows
        ),
        strict=True,
    )
    order = np.argsort(np.concatenate(rows))
    points_px, world_m, trust = (np.concatenate(values)[order] for values in zip(*said, strict=True))
    return _joined(read, order), points_px, world_m, trust


def are_off_axis(crops: Floats, K: Floats) -> NDArray[np.bool_]:
    """(N,) whether crops (N, 4) are far off the axis of the camera with intrinsics K (3, 3)."""
    rays = np.linalg.solve(K, np.concatenate([crops[:, :2], np.ones((len(crops), 1))], 1).T)
    return np.linalg.norm(rays[:2], axis=0) > _OFF_AXIS


def _joined(parts: Sequence[RefinedLandmarks], order: NDArray[np.int64]) -> RefinedLandmarks:
    names = [field.name for field in fields(RefinedLandmarks)]
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
    return RefinedLandmarks(*(values[order] for values in columns))


def _plain(
    frames: Sequence[Frame], crops: Floats, sides: Sides, _: Floats, head: KeptReadings
) -> tuple[RefinedLandmarks, _Said]:
    read = head.read(frames, crops, sides)
    return read, in_frame(read, crops, sides)


def _facing(
    frames: Sequence[Frame], crops: Floats, sides: Sides, K: Floats, head: KeptReadings
) -> tuple[RefinedLandmarks, _Said]:
    images = [frame.image for frame in frames if frame.image is not None]
    pictures, back = facing_crops(images, crops, K, CROP_PX)
    read = head.read_cut(as_right_hands(pictures, sides))
    whole = np.tile(_WHOLE_CROP, (len(crops), 1))
    points, world_m, trust = in_frame(read, whole, sides)
    whole[:, 3] = [turn_facing(crop, K) for crop in crops]
    return read, (mapped(points, back), turn_to_frame(world_m, whole), trust)
