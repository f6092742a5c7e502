# SPDX-License-Identifier: GPL-3.0-or-later
"""Common parts of the tests in Blender: generated takes, empty scenes, and what a scene shows on a frame."""

import os
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import bpy
import numpy as np

from inference_core.shared.take import Take, load_take

ROOT = Path(__file__).parents[2]

# Blender's world of a point of the take's world, written out here a second time on purpose.
WORLD_FROM_TAKE = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


@lru_cache(maxsize=1)
def takes_folder() -> Path:
    """Folder of the takes that the engine's Python makes for this run."""
    folder = Path(tempfile.mkdtemp(prefix="duohand-takes-"))
    engine = Path(os.environ.get("DUOHAND_ENGINE_PYTHON", ROOT / ".venv" / "bin" / "python"))
    assert engine.exists(), f"There is no engine Python at {engine}; set DUOHAND_ENGINE_PYTHON."
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run(
        [str(engine), "-m", "tests.blender_addon.made_takes", str(folder)], cwd=ROOT, env=clean, check=True
    )
    return folder


def take_file(name: str) -> Path:
    """Path of the made take of that name (made_takes.TAKES)."""
    return takes_folder() / f"{name}.npz"


def made(name: str) -> Take:
    """The made take of that name."""
    return load_take(take_file(name))


def empty_scene() -> bpy.types.Scene:
    """The context's scene after everything in the file was dropped."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    return bpy.context.scene


def load(name: str, **options: object) -> bpy.types.Collection:
    """The shot that Load Take makes of the made take."""
    chosen = {"place": "ORIGIN", **options}
    assert bpy.ops.duohand.load_take(filepath=str(take_file(name)), **chosen) == {"FINISHED"}
    return next(item for item in bpy.context.scene.collection.children if item.duohand.is_shot)


def hand(shot: bpy.types.Collection, side: int) -> bpy.types.Object:
    """The shot's armature of that side."""
    wanted = ("LEFT", "RIGHT")[side]
    return next(item for item in shot.objects if item.type == "ARMATURE" and item.duohand.side == wanted)


def go_to(frame: float) -> None:
    """Show the scene at a frame that need not be whole."""
    whole = int(np.floor(frame))
    bpy.context.scene.frame_set(whole, subframe=frame - whole)


def bone_heads(armature: bpy.types.Object) -> np.ndarray:
    """(16, 3) world places of the bones' heads, MANO's order, as they are shown."""
    world = np.array(armature.matrix_world)
    suffix = ".L" if armature.duohand.side == "LEFT" else ".R"
    names = [
        "hand",
        *(f"{finger}_0{k}" for finger in ("index", "middle", "pinky", "ring", "thumb") for k in (1, 2, 3)),
    ]
    heads = np.array([armature.pose.bones[name + suffix].head for name in names])
    return heads @ world[:3, :3].T + world[:3, 3]


def skin_vertices(armature: bpy.types.Object) -> np.ndarray:
    """(V, 3) world places of the skin's vertices, as they are shown."""
    graph = bpy.context.evaluated_depsgraph_get()
    shown = armature.duohand.skin.evaluated_get(graph)
    mesh = shown.to_mesh()
    points = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", points)
    shown.to_mesh_clear()
    world = np.array(shown.matrix_world)
    return points.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]


def expected(take: Take, row: int, points_cam_m: np.ndarray) -> np.ndarray:
    """Blender's world places of points (..., 3) in the take's camera at that row."""
    matrix = WORLD_FROM_TAKE @ take.T_world_cam[row]
    return points_cam_m @ matrix[:3, :3].T + matrix[:3, 3]


def row_frames(take: Take, mode: str = "SECONDS", start: int = 1) -> np.ndarray:
    """Scene frame of each row, by the scene's present rate."""
    render = bpy.context.scene.render
    if mode == "FRAMES":
        return start + (take.frame - take.frame[0]).astype(float)
    return start + (take.time_s - take.time_s[0]) * render.fps / render.fps_base
