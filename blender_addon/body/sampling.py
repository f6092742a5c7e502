# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples an armature frame by frame, whatever makes it move: keys, layers, constraints, drivers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from inference_core.shared.errors import RequestError

from ..scene.axes import Floats
from ..scene.unkeyed import frame_kept


@dataclass(frozen=True)
class Shown:
    """Bones on F frames: positions (F, 3) of their heads and rotations (F, 3, 3) in the world, and, as for keys,
    locations (F, 3) and rotations (F, 4) from rest.
    """

    places: dict[str, Floats]
    turns: dict[str, Floats]
    locations: dict[str, Floats]
    rotations: dict[str, Floats]

    def matrices(self, bone: str) -> Floats:
        """The bone's frame (F, 4, 4) in the world, without scale."""
        found = np.tile(np.eye(4), (len(self.places[bone]), 1, 1))
        found[:, :3, :3], found[:, :3, 3] = self.turns[bone], self.places[bone]
        return found


def shown_bones(
    scene: bpy.types.Scene, armature: bpy.types.Object, bones: Sequence[str], frames: range
) -> Shown:
    """The bones on the frames. RequestError if Blender does not evaluate the armature."""
    if not armature.visible_get():
        raise RequestError(
            f"{armature.name} is hidden or in no collection of this view layer. Show it, then try again."
        )
    count = len(frames)
    found = Shown(
        {bone: np.empty((count, 3)) for bone in bones},
        {bone: np.empty((count, 3, 3)) for bone in bones},
        {bone: np.empty((count, 3)) for bone in bones},
        {bone: np.empty((count, 4)) for bone in bones},
    )
    with frame_kept(scene):
        for row, frame in enumerate(frames):
            scene.frame_set(frame)
            shown: Any = armature.evaluated_get(bpy.context.evaluated_depsgraph_get())
            for bone in bones:
                _note(found, row, shown, shown.pose.bones[bone])
    return found


def _note(found: Shown, row: int, shown: Any, bone: Any) -> None:
    world: Matrix = shown.matrix_world @ bone.matrix
    found.places[bone.name][row] = world.to_translation()
    found.turns[bone.name][row] = world.to_quaternion().to_matrix()
    basis = shown.convert_space(pose_bone=bone, matrix=bone.matrix, from_space="POSE", to_space="LOCAL")
    found.locations[bone.name][row] = basis.to_translation()
    found.rotations[bone.name][row] = basis.to_quaternion()
