# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotation curves without jumps: the same rotations, each with the angles or the sign nearest to the previous key."""

import bpy
import numpy as np

from inference_core.shared import quaternions

from ..scene import fcurves, hand_keys
from ..scene.axes import Floats
from ..scene.fcurves import Channels
from ..scene.hand_curves import HandRig, editable_channels
from ..scene.motion import nearest_turn
from ..scene.unkeyed import unkeyed_kept


def filter_rotations(rig: HandRig) -> int:
    """Remove jumps from the hand's rotation curves; keys and handles stay at their
    frames. Returns how many keys changed.
    """
    channels = editable_channels(rig)
    paths = [hand_keys.rotation_path(name, rig.rotation_mode) for name in rig.names]
    with unkeyed_kept(bpy.context.scene, [rig.armature]):
        return sum(_filter_bone(channels, path, rig.rotation_mode) for path in paths)


def filtered_angles(angles: Floats, order: str) -> tuple[Floats, Floats]:
    """Equivalent, continuous angles (K, 3) in radians, and the factors (K, 3), 1 or -1, of their slopes.

    Within a turn, a rotation has two triples: (a, b, c) and (a + pi, pi - b, c + pi), where b is about the order's
    second axis; the slope of b is reversed in the second. Whole turns can be added freely.
    """
    second = "XYZ".index(order[1])
    found, signs = angles.copy(), np.ones_like(angles)
    other = angles + np.pi
    other[:, second] = np.pi - angles[:, second]
    for row in range(1, len(angles)):
        before = found[row - 1]
        near, far = (nearest_turn(triple[row], before) for triple in (angles, other))
        if np.abs(far - before).sum() < np.abs(near - before).sum():
            near, signs[row, second] = far, -1.0
        found[row] = near
    return found, signs


def filtered_signs(rotations_wxyz: Floats) -> tuple[Floats, Floats]:
    """The quaternions (K, 4) with continuous signs, and the factors (K, 4), 1 or -1, of their slopes."""
    found = quaternions.continuous(rotations_wxyz)
    return found, np.where((found * rotations_wxyz).sum(-1, keepdims=True) < 0, -1.0, 1.0) * np.ones(4)


def _filter_bone(channels: Channels, path: str, rotation_mode: str) -> int:
    count = 4 if rotation_mode == hand_keys.QUATERNION else 3
    curves = [channels.fcurves.find(path, index=index) for index in range(count)]
    keys = [fcurves.key_points(curve) for curve in curves if curve is not None]
    together = len(keys) == count and all(np.array_equal(item[0], keys[0][0]) for item in keys)
    if together:
        values = np.stack([item[1] for item in keys], 1)
        if count == 4:
            found, signs = filtered_signs(values)
        else:
            found, signs = filtered_angles(values, rotation_mode)
    elif count == 3:  # keys at other moments on each curve: only whole turns can be detected
        unwrapped = [np.unwrap(item[1]) for item in keys]
        for curve, values in zip([item for item in curves if item is not None], unwrapped, strict=True):
            _move_keys(curve, values, np.ones_like(values))
        return sum(int((np.abs(new - old[1]) > 1e-6).sum()) for new, old in zip(unwrapped, keys, strict=True))
    else:
        return 0
    moved = np.abs(found - values).max(1) > 1e-6
    if moved.any():
        for index, curve in enumerate(curves):
            _move_keys(curve, found[:, index], signs[:, index])
    return int(moved.sum())


def _move_keys(curve: bpy.types.FCurve, values: Floats, signs: Floats) -> None:
    """Give the keys (K,) new values and move their handles along, mirrored where the factor is negative."""
    points = curve.keyframe_points
    old: dict[str, Floats] = {}
    for name in ("co", "handle_left", "handle_right"):
        buffer = np.empty(2 * len(points), np.float32)
        points.foreach_get(name, buffer)
        old[name] = buffer.reshape(-1, 2).astype(np.float64)
    for name, places in old.items():
        heights = values + signs * (places[:, 1] - old["co"][:, 1])
        points.foreach_set(name, np.stack([places[:, 0], heights], 1).astype(np.float32).ravel())
    curve.update()
