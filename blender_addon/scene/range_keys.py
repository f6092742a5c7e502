# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes keys into a range of longer curves; keys outside stay as they are, and play as before."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import bpy
import numpy as np

from inference_core.shared import quaternions

from . import fcurves, hand_keys
from .axes import Floats
from .fcurves import Channels
from .motion import eulers_from_quaternions, nearest_turn

_AXIS_ANGLE: Final = "AXIS_ANGLE"
_NEAR: Final = 1e-3  # frames: keys so close are the same key


@dataclass(frozen=True)
class Span:
    """frames (F,) to key; opens: whether the motion continues before the first one and after the last one."""

    frames: Floats
    opens: tuple[bool, bool] = (True, True)


def bone_paths(names: Iterable[str]) -> set[str]:
    """Paths of these bones' locations and rotations, in every rotation mode."""
    kinds = ("location", "rotation_quaternion", "rotation_euler", "rotation_axis_angle")
    return {f'pose.bones["{name}"].{kind}' for name in names for kind in kinds}


def write_location(channels: Channels, bone: bpy.types.PoseBone, span: Span, locations: Floats) -> None:
    """Key the bone's location (F, 3) through the span."""
    shown = np.asarray(bone.location, np.float64)
    _write(channels, hand_keys.location_path(bone.name), bone.name, span, locations, (shown, shown))


def write_rotation(channels: Channels, bone: bpy.types.PoseBone, span: Span, turns: Floats) -> None:
    """Key the bone's rotations (F, 4) through the span, in its rotation mode."""
    turns = quaternions.continuous(turns)
    if bone.rotation_mode == hand_keys.QUATERNION:
        _write_quaternions(channels, bone, span, turns)
    elif bone.rotation_mode == _AXIS_ANGLE:
        shown = np.asarray(bone.rotation_axis_angle, np.float64)
        path = f'pose.bones["{bone.name}"].rotation_axis_angle'
        _write(channels, path, bone.name, span, _axis_angles(turns), (shown, shown))
    else:
        _write_eulers(channels, bone, span, turns)


def _write_quaternions(channels: Channels, bone: bpy.types.PoseBone, span: Span, turns: Floats) -> None:
    path = hand_keys.rotation_path(bone.name, hand_keys.QUATERNION)
    before, after = _beside(channels, path, np.asarray(bone.rotation_quaternion, np.float64), span)
    if before @ turns[0] < 0:
        turns = -turns
    sign = -1.0 if after @ turns[-1] < 0 else 1.0
    if sign < 0:
        _change_after(channels, path, span.frames[-1], sign, np.zeros(4))
    _write(channels, path, bone.name, span, turns, (before, sign * after))


def _write_eulers(channels: Channels, bone: bpy.types.PoseBone, span: Span, turns: Floats) -> None:
    """The one of the two equivalent Euler triples that is nearer to the curves beside the range."""
    path = hand_keys.rotation_path(bone.name, bone.rotation_mode)
    before, after = _beside(channels, path, np.asarray(bone.rotation_euler, np.float64), span)
    one = eulers_from_quaternions(turns[:, None], bone.rotation_mode)[:, 0]
    ways = [
        angles + (nearest_turn(angles[0], before) - angles[0])
        for angles in (one, _other_eulers(one, bone.rotation_mode))
    ]

    def strays(angles: Floats) -> float:
        return float(
            np.abs(angles[0] - before).sum() + np.abs(nearest_turn(after, angles[-1]) - angles[-1]).sum()
        )

    angles = min(ways, key=strays)
    whole = nearest_turn(after, angles[-1]) - after
    _change_after(channels, path, span.frames[-1], 1.0, whole)
    _write(channels, path, bone.name, span, angles, (before, after + whole))


def _other_eulers(angles: Floats, order: str) -> Floats:
    """The other equivalent Euler triples (F, 3)."""
    found = angles + np.pi
    middle = "XYZ".index(order[1])
    found[:, middle] = np.pi - angles[:, middle]
    return found


def _write(
    channels: Channels, path: str, group: str, span: Span, values: Floats, rests: tuple[Floats, Floats]
) -> None:
    """Replace the curves of `path` in the span by values (F, C); new curves begin and end at rests (C,)."""
    frames = span.frames
    for index in range(values.shape[1]):
        curve: Any = channels.fcurves.find(path, index=index)
        if curve is None:
            curve = channels.new_curve(path, index, group)
            around = np.array([frames[0] - 1, frames[-1] + 1])[list(span.opens)]
            kept = np.array([rests[0][index], rests[1][index]])[list(span.opens)]
        else:
            around = _on_the_way(curve, frames)
            kept = fcurves.sample([curve], around)[:, 0]
            _remove_inside(curve, float(frames[0]), float(frames[-1]))
        _insert(curve, np.concatenate([around, frames]), np.concatenate([kept, values[:, index]]))


def _on_the_way(curve: Any, frames: Floats) -> Floats:
    """Whole frames between the range and the nearest keys beside it, where a sparse curve must not change."""
    keys, _ = fcurves.key_points(curve)
    first, last = frames[0], frames[-1]
    before, after = keys[keys < first - _NEAR], keys[keys > last + _NEAR]
    found: list[float] = []
    begin = np.floor(before[-1]) + 1 if len(before) else first - 1
    end = np.ceil(after[0]) - 1 if len(after) else last + 1
    found.extend(np.arange(begin, first - _NEAR))
    found.extend(np.arange(np.floor(last) + 1, end + _NEAR))
    return np.array(found, np.float64)


def _remove_inside(curve: Any, first: float, last: float) -> None:
    points = curve.keyframe_points
    for index in reversed(range(len(points))):
        if first - _NEAR <= points[index].co[0] <= last + _NEAR:
            points.remove(points[index], fast=True)


def _insert(curve: Any, frames: Floats, values: Floats) -> None:
    """Add keys with linear interpolation to the existing ones."""
    points = curve.keyframe_points
    old = len(points)
    points.add(len(frames))
    for row, (frame, value) in enumerate(zip(frames, values, strict=True)):
        point = points[old + row]
        point.co = frame, value
        point.interpolation = "LINEAR"
    curve.update()


def _beside(channels: Channels, path: str, shown: Floats, span: Span) -> tuple[Floats, Floats]:
    """The curves' values (C,) right before and after the span; current values (C,) of those without keys."""
    curves = [channels.fcurves.find(path, index=index) for index in range(len(shown))]
    known = np.array([curve is not None for curve in curves])
    beside = fcurves.sample(curves, np.array([span.frames[0] - 1, span.frames[-1] + 1]))
    before, after = np.where(known, beside, shown)
    return before, after


def _change_after(channels: Channels, path: str, last: float, factor: float, shifts: Floats) -> None:
    """The change, value * factor + shift, that continues the range's last representation in the rotations after it."""
    for index, shift in enumerate(shifts):
        curve: Any = channels.fcurves.find(path, index=index)
        if curve is None or (factor == 1 and abs(shift) < 1e-9):
            continue
        for point in curve.keyframe_points:
            if point.co[0] > last + _NEAR:
                for handle in ("co", "handle_left", "handle_right"):
                    frame, value = getattr(point, handle)
                    setattr(point, handle, (frame, value * factor + shift))
        curve.update()


def _axis_angles(turns: Floats) -> Floats:
    """Angle and axis (F, 4) of rotations (F, 4)."""
    vectors = quaternions.log(quaternions.continuous(turns))
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    axis = np.where(angle > 1e-9, vectors / np.maximum(angle, 1e-12), [0.0, 1.0, 0.0])
    return np.concatenate([angle, axis], axis=1)
