# SPDX-License-Identifier: GPL-3.0-or-later
"""A take's hands as OpenXR's 26 joints (XR_EXT_hand_tracking): positions, orientations, radii.

The axes are OpenXR's: x right, y up, z backwards, so what the camera sees has a negative z. A joint's -z points to the
next joint of its finger, and its y out of the back of the hand, on both sides. MANO has no palm and no metacarpals:
they are placed on the line from the wrist to the knuckle.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.hand_model import anatomy
from inference_core.shared import quaternions
from inference_core.shared.errors import RequestError
from inference_core.shared.presence import ABSENT
from inference_core.shared.skeleton import MANO_FINGERS, SIDES
from inference_core.shared.take import Take
from inference_core.shared.take_mesh import chained
from inference_core.shared.whole_file import whole_file

Floats = NDArray[np.float64]

_FINGERS = ("thumb", "index", "middle", "ring", "little")
JOINTS_26 = (
    "palm",
    "wrist",
    *(f"thumb_{bone}" for bone in ("metacarpal", "proximal", "distal", "tip")),
    *(
        f"{finger}_{bone}"
        for finger in _FINGERS[1:]
        for bone in ("metacarpal", "proximal", "intermediate", "distal", "tip")
    ),
)
# How far along the line from wrist to knuckle a metacarpal begins, behind the carpus; and the palm's centre, in the
# middle of the middle finger's metacarpal.
_METACARPAL, _PALM = 0.3, 0.65
_TIP_RADIUS = 0.7  # of the last joint's: a tip lies on the skin, and the spec wants a radius
_FLIP = np.diag([1.0, -1.0, -1.0])  # camera axes to OpenXR's and back
_MIDDLE_KNUCKLE = 4


def openxr_joints(take: Take, side: int) -> tuple[Floats, Floats, Floats]:
    """Positions (T, 26, 3), orientations (T, 26, 3, 3) in OpenXR's axes, NaN where the hand is absent; radii (26,)."""
    rest_m, frames, drivers = _resting(take, side)
    there = take.present[:, side] != ABSENT
    places = np.full((take.frame_count, 26, 3), np.nan)
    turns = np.full((take.frame_count, 26, 3, 3), np.nan)
    for row in np.flatnonzero(there):
        wxyz = np.concatenate([take.root_wxyz[row, side, None], take.pose_wxyz[row, side]]).astype(np.float64)
        bones, joints_m = chained(quaternions.to_matrix(wxyz), take.rest_joints_m[side], take.parents)
        about_m = rest_m - take.rest_joints_m[side][drivers]
        seen_m = (
            joints_m[drivers] + (bones[drivers] @ about_m[..., None])[..., 0] + take.wrist_cam_m[row, side]
        )
        seen_m[_tips()] = take.joints_cam_m[row, side][[4, 8, 12, 16, 20]]
        places[row], turns[row] = seen_m @ _FLIP, _FLIP @ bones[drivers] @ frames
    return places, turns, _radii(take, side, rest_m)


def write_openxr(take: Take, out: Path) -> None:
    """Write the joints of both hands as JSON. RequestError if the file cannot be written."""
    hands = [openxr_joints(take, side) for side in (0, 1)]
    content = {
        "format": "openxr-hand-joints",
        "version": 1,
        "axes": "x right, y up, z backwards, metres; orientations x y z w; the camera at the origin",
        "joints": list(JOINTS_26),
        "fps": take.fps,
        "radius_m": {name: _rounded(hand[2]) for name, hand in zip(SIDES, hands, strict=True)},
        "frames": [_frame(take, row, hands) for row in range(take.frame_count)],
    }
    try:
        with whole_file(out) as temporary:
            temporary.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
    except OSError as error:
        raise RequestError(
            f"{out} cannot be written: {error.strerror or error}. Choose another place."
        ) from error


def _frame(take: Take, row: int, hands: list[tuple[Floats, Floats, Floats]]) -> dict[str, Any]:
    frame: dict[str, Any] = {"frame": int(take.frame[row]), "time_s": float(take.time_s[row])}
    for name, (places, turns, _) in zip(SIDES, hands, strict=True):
        if np.isfinite(places[row]).all():
            wxyz = quaternions.from_matrix(turns[row])
            frame[name] = {
                "position_m": _rounded(places[row]),
                "orientation_xyzw": _rounded(wxyz[:, [1, 2, 3, 0]]),
            }
    return frame


def _resting(take: Take, side: int) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """At rest: positions (26, 3), axes (26, 3, 3) as columns x, y, z, and which of the 16 joints moves each (26,)."""
    joints_m = take.rest_joints_m[side].astype(np.float64)
    tips_m = take.rest_vertices_m[side][take.tip_vertices[side]].astype(np.float64)
    axes = _joint_axes(take, side, joints_m, tips_m)
    wrist, knuckle = joints_m[0], joints_m[_MIDDLE_KNUCKLE]
    forward = _frame_of(knuckle - wrist, axes[_MIDDLE_KNUCKLE - 1][:, 0])
    places, frames, drivers = [wrist + _PALM * (knuckle - wrist), wrist], [forward, forward], [0, 0]
    for number, finger in enumerate(_FINGERS):
        first = 1 + 3 * MANO_FINGERS.index("pinky" if finger == "little" else finger)
        chain = [first, first + 1, first + 2]
        if finger != "thumb":
            begins = wrist + _METACARPAL * (joints_m[first] - wrist)
            places.append(begins)
            frames.append(_frame_of(joints_m[first] - begins, axes[first - 1][:, 0]))
            drivers.append(0)
        ends = [*joints_m[chain[1:]], tips_m[number]]
        for joint, end in zip(chain, ends, strict=True):
            places.append(joints_m[joint])
            frames.append(_frame_of(end - joints_m[joint], axes[joint - 1][:, 0]))
            drivers.append(joint)
        places.append(tips_m[number])
        frames.append(frames[-1])
        drivers.append(chain[-1])
    return np.stack(places), np.stack(frames), np.array(drivers)


def _frame_of(direction: Floats, flexion: Floats) -> Floats:
    """Axes (3, 3) of a joint whose bone points along `direction` and bends to the palm about `flexion`."""
    z = -direction / np.linalg.norm(direction)
    y = np.cross(flexion, z)  # a bend moves the bone along flexion x direction, to the palm
    y /= np.linalg.norm(y)
    return np.stack([np.cross(y, z), y, z], -1)


def _joint_axes(take: Take, side: int, joints_m: Floats, tips_m: Floats) -> Floats:
    if take.joint_axes is not None:
        return take.joint_axes[side].astype(np.float64)
    return anatomy.joint_axes(joints_m, tips_m, side)


def _radii(take: Take, side: int, rest_m: Floats) -> Floats:
    """(26,) distance from each joint to the nearest skin at rest."""
    skin_m = take.rest_vertices_m[side].astype(np.float64)
    radii = np.array([np.linalg.norm(skin_m - place, axis=-1).min() for place in rest_m])
    tips = _tips()
    radii[tips] = _TIP_RADIUS * radii[tips - 1]
    return radii


def _tips() -> NDArray[np.int64]:
    return np.array([number for number, name in enumerate(JOINTS_26) if name.endswith("tip")])


def _rounded(values: Floats) -> Any:
    return np.round(values, 6).tolist()
