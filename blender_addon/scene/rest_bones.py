# SPDX-License-Identifier: GPL-3.0-or-later
"""The sixteen bones of a hand at rest: names, positions and rolls. No bpy here.

Every bone's local X is its flexion axis, on both sides: rotating about +X bends towards the palm. Local Y runs along
the bone. The wrist's bone ends at the middle knuckle; the last phalanges end at the fingertips.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.skeleton import JOINTS_16, JOINTS_21_FROM_16_AND_TIPS, PARENTS_16, SIDES
from inference_core.shared.take import Take

from .axes import ARMATURE_FROM_REST, PALM_AT_REST, Floats, points_from_rest

SIDE_SUFFIXES: Final = (".L", ".R")
_MIDDLE_KNUCKLE = JOINTS_16.index("middle_01")
_PINKY_KNUCKLE = JOINTS_16.index("pinky_01")
_MIN_BONE_LENGTH_M = 1e-4  # Blender deletes bones without length


@dataclass(frozen=True)
class RestBones:
    """Bones in MANO's order, in the armature's axes and Blender units; the wrist is the origin.

    heads, tails (16, 3); palmward (16, 3): the direction of each bone's local Z; parents (16,), -1 for the wrist.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    heads: Floats
    tails: Floats
    palmward: Floats


def bone_names(side: int) -> tuple[str, ...]:
    """Names of a side's bones in MANO's order: hand.L, index_01.L, ..."""
    return tuple(f"{'hand' if name == 'wrist' else name}{SIDE_SUFFIXES[side]}" for name in JOINTS_16)


def side_name(side: int) -> str:
    """The side's name: "Left" or "Right"."""
    return SIDES[side].capitalize()


def rest_bones(take: Take, side: int, scale: float) -> RestBones:
    """The bones of the take's hand of that side; `scale` is Blender units per metre."""
    joints_m = np.asarray(take.rest_joints_m[side], np.float64)
    tips_m = np.asarray(take.rest_vertices_m[side], np.float64)[take.tip_vertices[side]]
    heads = points_from_rest(joints_m, joints_m[0], scale)
    tails = points_from_rest(_bone_ends(joints_m, tips_m), joints_m[0], scale)
    short = np.linalg.norm(tails - heads, axis=1) < _MIN_BONE_LENGTH_M * scale
    tails[short] = heads[short] + [0, 0, _MIN_BONE_LENGTH_M * scale]
    return RestBones(
        bone_names(side),
        tuple(int(parent) for parent in PARENTS_16),
        heads,
        tails,
        _palmward(take.joint_axes[side] if take.joint_axes is not None else None, heads, tails),
    )


def _bone_ends(joints_m: Floats, tips_m: Floats) -> Floats:
    """Where each bone (16, 3) ends: at its child, at the middle knuckle, or at its fingertip (tips thumb to pinky)."""
    joints21_m = np.concatenate([joints_m, tips_m])[JOINTS_21_FROM_16_AND_TIPS]
    order21 = list(JOINTS_21_FROM_16_AND_TIPS[:21])
    ends = [joints_m[_MIDDLE_KNUCKLE]]
    ends += [joints21_m[order21.index(joint) + 1] for joint in range(1, len(joints_m))]
    return np.array(ends)


def _palmward(joint_axes: NDArray[np.floating] | None, heads: Floats, tails: Floats) -> Floats:
    """Direction (16, 3) of each bone's local Z, perpendicular to the bone."""
    along = (tails - heads) / np.linalg.norm(tails - heads, axis=1, keepdims=True)
    if joint_axes is not None:
        flexion = np.asarray(joint_axes, np.float64)[:, :, 0] @ ARMATURE_FROM_REST.T
        palmward = np.concatenate([PALM_AT_REST[None], np.cross(flexion, along[1:])])
    else:
        palmward = np.tile(PALM_AT_REST, (len(heads), 1))
        thumb = [index for index, name in enumerate(JOINTS_16) if name.startswith("thumb")]
        # Without axes from the take, the thumb is assumed to flex towards the little
        # finger's knuckle and the palm.
        across = heads[_PINKY_KNUCKLE] - heads[thumb[0]]
        palmward[thumb] = across / np.linalg.norm(across) + PALM_AT_REST
    palmward -= (palmward * along).sum(1, keepdims=True) * along
    return palmward / np.linalg.norm(palmward, axis=1, keepdims=True)
