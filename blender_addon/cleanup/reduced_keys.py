# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes reduced keys as Bezier keys on the hand's curves, and reads the hand's bones at rest."""

import bpy
import numpy as np

from ..scene import fcurves, hand_keys
from ..scene.fcurves import BEZIER, BREAKDOWN, CONSTANT, KEYFRAME, Channels, Keys
from ..scene.hand_curves import HandRig, editable_channels
from ..scene.track import HandTrack
from ..scene.unkeyed import unkeyed_kept
from .key_reduction import BoneRest, ReducedCurve, Reduction

_HANDLE = 1 / 3  # with handles at a third of the span, time is linear


def bone_rest(rig: HandRig) -> BoneRest:
    """The hand's bones at rest."""
    bones = [rig.armature.data.bones[name] for name in rig.names]
    return BoneRest(
        tuple(rig.names.index(bone.parent.name) if bone.parent else -1 for bone in bones),
        np.array([bone.head_local for bone in bones], np.float64),
        np.array([bone.tail_local for bone in bones], np.float64),
        np.array([np.array(bone.matrix_local)[:3, :3] for bone in bones], np.float64),
    )


def write_reduction(rig: HandRig, track: HandTrack, reductions: list[tuple[slice, Reduction]]) -> None:
    """Key the reduced track: one reduction per stretch (rows) in which the hand is present throughout."""
    channels = editable_channels(rig)
    paths = [hand_keys.location_path(rig.names[0])]
    paths += [hand_keys.rotation_path(name, rig.rotation_mode) for name in rig.names]
    with unkeyed_kept(bpy.context.scene, [rig.armature]):
        for index, (path, name) in enumerate(zip(paths, (rig.names[0], *rig.names), strict=True)):
            curves = [
                (rows, found.location if index == 0 else found.rotations[index - 1])
                for rows, found in reductions
            ]
            _write_bezier(channels, path, name, track, curves)


def _write_bezier(
    channels: Channels, path: str, group: str, track: HandTrack, curves: list[tuple[slice, ReducedCurve]]
) -> None:
    """Give one path's curves keys whose handles are at a third of their spans."""
    rows = np.concatenate([np.arange(part.start, part.stop)[curve.rows] for part, curve in curves])
    values = np.concatenate([curve.values for _, curve in curves])
    slopes = np.concatenate([curve.slopes for _, curve in curves])
    frames = track.frames[rows]
    interpolation = np.full(len(rows), BEZIER, np.int32)
    ends = np.cumsum([len(curve.rows) for _, curve in curves])[:-1] - 1
    interpolation[ends] = CONSTANT
    kinds = np.where(track.filled[rows], BREAKDOWN, KEYFRAME).astype(np.int32)
    keys = Keys(frames, values, kinds, interpolation)
    fcurves.write_keys(channels, path, group, keys, (float(track.frames[0]), float(track.frames[-1])))
    before = np.diff(frames, prepend=frames[:1] - 3.0) * _HANDLE
    after = np.diff(frames, append=frames[-1:] + 3.0) * _HANDLE
    for index in range(values.shape[1]):
        fcurves.set_handles(channels.fcurves.find(path, index=index), frames, before, after, slopes[:, index])
