# SPDX-License-Identifier: GPL-3.0-or-later
"""FBX, GLB, USD and BVH files of a shot's hands. Each function returns the files that it wrote."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bpy

from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import LEFT, RIGHT, SIDES

from ..scene.shot import armatures, units_per_metre
from .bvh import bvh_text
from .glb_file import mend_glb
from .presets import FBX_PRESETS
from .stage import hands_on_stage
from .usd_file import is_whole_usd
from .whole import written_whole

BOTH = (LEFT, RIGHT)
USD_SUFFIXES = (".usdc", ".usda", ".usd", ".usdz")


def export_fbx(
    scene: bpy.types.Scene,
    shot: bpy.types.Collection,
    path: Path,
    preset: str = "BLENDER",
    sides: Sequence[int] = BOTH,
) -> list[Path]:
    """One FBX file of the hands' rigs, skins and motion over the scene's range."""
    wanted = FBX_PRESETS[preset]
    with hands_on_stage(scene, shot, sides), written_whole(path, ".fbx") as file:
        _run(
            bpy.ops.export_scene.fbx,
            file,
            use_selection=True,
            object_types={"ARMATURE", "MESH"},
            axis_forward=wanted.axis_forward,
            axis_up=wanted.axis_up,
            apply_scale_options=wanted.scale_options,
            primary_bone_axis=wanted.primary_bone_axis,
            secondary_bone_axis=wanted.secondary_bone_axis,
            mesh_smooth_type=wanted.smoothing,
            add_leaf_bones=False,
            bake_anim=True,
            bake_anim_use_all_bones=True,
            bake_anim_use_nla_strips=False,
            bake_anim_use_all_actions=False,
            bake_anim_force_startend_keying=True,
            bake_anim_simplify_factor=0.0,
        )
    return [path]


def export_glb(
    scene: bpy.types.Scene, shot: bpy.types.Collection, path: Path, sides: Sequence[int] = BOTH
) -> list[Path]:
    """One binary glTF file with a key on every frame of the scene's range."""
    with hands_on_stage(scene, shot, sides), written_whole(path, ".glb") as file:
        _run(
            bpy.ops.export_scene.gltf,
            file,
            export_format="GLB",
            use_selection=True,
            use_active_scene=True,
            export_animations=True,
            export_animation_mode="SCENE",
            export_force_sampling=True,
            export_frame_range=True,
            export_anim_scene_split_object=False,
            export_optimize_animation_size=False,
            export_morph=True,
            export_morph_animation=True,
        )
        mend_glb(file, scene.render.fps_base / scene.render.fps, 1 / units_per_metre(scene))
    return [path]


def export_usd(
    scene: bpy.types.Scene, shot: bpy.types.Collection, path: Path, sides: Sequence[int] = BOTH
) -> list[Path]:
    """One USD file (.usdc, .usda or .usd) with skeletons and their motion."""
    if units_per_metre(scene) != 1.0:  # Blender's exporter treats every unit as a metre
        raise RequestError(
            "Blender cannot write true sizes to USD in a scene whose unit scale is not 1. Set Unit Scale to 1 in the "
            "scene's Units, load the take as a new shot, and export that."
        )
    with hands_on_stage(scene, shot, sides), written_whole(path, *USD_SUFFIXES) as file:
        _run(
            bpy.ops.wm.usd_export,
            file,
            selected_objects_only=True,
            export_animation=True,
            export_armatures=True,
            export_shapekeys=True,
            only_deform_bones=False,
            export_materials=True,
        )
        if not is_whole_usd(file):
            raise RuntimeError("Blender's exporter wrote only a part of it")
    return [path]


def export_bvh(
    scene: bpy.types.Scene, shot: bpy.types.Collection, path: Path, sides: Sequence[int] = BOTH
) -> list[Path]:
    """One BVH file per hand (the format holds one skeleton), named by `bvh_files`."""
    written: list[Path] = []
    with hands_on_stage(scene, shot, sides) as hands:
        for hand, file in zip(hands, bvh_files(shot, path, sides), strict=True):
            stage: Any = bpy.context.scene
            text = bvh_text(
                stage, hand, range(scene.frame_start, scene.frame_end + 1), 1 / units_per_metre(scene)
            )
            with written_whole(file, ".bvh") as whole:
                whole.write_text(text, encoding="utf-8")
            written.append(file)
    return written


def bvh_files(shot: bpy.types.Collection, path: Path, sides: Sequence[int] = BOTH) -> list[Path]:
    """The files of the sides that the shot has: `path` NAME.bvh, or NAME_left.bvh and NAME_right.bvh for two."""
    there = [side for side in sides if side in armatures(shot)]
    if len(there) == 1:
        return [path]
    return [path.with_name(f"{path.stem}_{SIDES[side]}{path.suffix}") for side in there]


def _run(exporter: Any, path: Path, **options: Any) -> None:
    """Call one of Blender's exporters with those options that this version supports."""
    try:
        known = exporter.get_rna_type().properties.keys()
    except KeyError as error:
        raise RequestError(
            f"Blender's exporter for {path.suffix} files is disabled. Enable it in Preferences, Add-ons."
        ) from error
    exporter(filepath=str(path), **{name: value for name, value in options.items() if name in known})


Writer = Callable[[bpy.types.Scene, bpy.types.Collection, Path, Sequence[int]], list[Path]]
WRITERS: dict[str, Writer] = {".glb": export_glb, ".usdc": export_usd, ".bvh": export_bvh}
