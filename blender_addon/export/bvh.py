# SPDX-License-Identifier: GPL-3.0-or-later
"""One hand as BVH text: y up, metres, at the shot's place in the world.

Blender's own exporter writes in the armature's axes, z up, and ignores the object's transform, so that other programs
show hands lying on their side at the origin.
"""

from collections.abc import Sequence
from typing import Any, Final

import bpy
import numpy as np

from inference_core.shared import quaternions
from inference_core.shared.errors import RequestError

from ..scene.axes import Y_UP_FROM_WORLD, Floats, unscaled
from ..scene.motion import eulers_from_quaternions

# Channels in the file's order; the last rotation is applied first, which Blender calls YXZ.
_CHANNELS: Final = "Zrotation Xrotation Yrotation"
_ORDER: Final = "YXZ"
_COLUMNS: Final = (2, 0, 1)


def bvh_text(
    scene: bpy.types.Scene, hand: bpy.types.Object, frames: Sequence[int], metres_per_unit: float
) -> str:
    """The hand's bones and their motion on the scene's frames; RequestError if it has none.

    Changes the scene's current frame.
    """
    data: Any = hand.data
    if not data.bones:
        raise RequestError(f"{hand.name} has no bones. Load its take again.")
    bones = _in_order(data)
    parents = [bones.index(bone.parent) if bone.parent is not None else -1 for bone in bones]
    worlds = _world_matrices(scene, hand, bones, frames)
    rest = np.array([np.array(bone.matrix_local)[:3, :3] for bone in bones], np.float64)
    scale = float(np.cbrt(np.linalg.det(np.array(hand.matrix_world, np.float64)[:3, :3])))
    turned = Y_UP_FROM_WORLD @ unscaled(worlds[:, :, :3, :3]) @ rest.transpose(0, 2, 1) @ Y_UP_FROM_WORLD.T
    local = turned.copy()
    for index, parent in enumerate(parents):
        if parent >= 0:
            local[:, index] = turned[:, parent].transpose(0, 2, 1) @ turned[:, index]
    angles = np.degrees(eulers_from_quaternions(quaternions.from_matrix(local), _ORDER))
    places = worlds[:, 0, :3, 3] @ Y_UP_FROM_WORLD.T * metres_per_unit
    rows = np.concatenate([places, angles[:, :, _COLUMNS].reshape(len(places), -1)], 1)
    seconds = scene.render.fps_base / scene.render.fps
    motion = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in rows)
    hierarchy = "\n".join(_joint(bones, parents, 0, scale * metres_per_unit, ""))
    return f"HIERARCHY\n{hierarchy}\nMOTION\nFrames: {len(rows)}\nFrame Time: {seconds:.8f}\n{motion}\n"


def _in_order(data: Any) -> list[Any]:
    """The bones, parents before children, siblings together: the order of a BVH file's channels."""
    found: list[Any] = []

    def visit(bone: Any) -> None:
        found.append(bone)
        for child in bone.children:
            visit(child)

    visit(next(bone for bone in data.bones if bone.parent is None))
    return found


def _world_matrices(
    scene: bpy.types.Scene, hand: bpy.types.Object, bones: Sequence[Any], frames: Sequence[int]
) -> Floats:
    """(F, N, 4, 4) world matrices of the bones as displayed."""
    graph: Any = scene.view_layers[0].depsgraph
    found = np.empty((len(frames), len(bones), 4, 4))
    for row, frame in enumerate(frames):
        scene.frame_set(frame)
        shown: Any = hand.evaluated_get(graph)
        for index, bone in enumerate(bones):
            found[row, index] = np.array(shown.matrix_world @ shown.pose.bones[bone.name].matrix)
    return found


def _joint(bones: Sequence[Any], parents: Sequence[int], index: int, scale: float, indent: str) -> list[str]:
    bone, parent = bones[index], parents[index]
    offset = np.zeros(3) if parent < 0 else np.array(bone.head_local - bones[parent].head_local)
    kind = "ROOT" if parent < 0 else "JOINT"
    channels = f"6 Xposition Yposition Zposition {_CHANNELS}" if parent < 0 else f"3 {_CHANNELS}"
    inner = f"{indent}\t"
    lines = [
        f"{indent}{kind} {bone.name}",
        f"{indent}{{",
        f"{inner}OFFSET {_point(offset * scale)}",
        f"{inner}CHANNELS {channels}",
    ]
    children = [child for child, above in enumerate(parents) if above == index]
    for child in children:
        lines += _joint(bones, parents, child, scale, inner)
    if not children:
        end = _point(np.array(bone.tail_local - bone.head_local) * scale)
        lines += [f"{inner}End Site", f"{inner}{{", f"{inner}\tOFFSET {end}", f"{inner}}}"]
    return [*lines, f"{indent}}}"]


def _point(vector: Floats) -> str:
    return " ".join(f"{value:.8f}" for value in Y_UP_FROM_WORLD @ vector)
