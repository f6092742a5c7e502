# SPDX-License-Identifier: GPL-3.0-or-later
"""FBX, GLB, USD and BVH files of a shot's hands. Each function returns the files that it wrote."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bpy

from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import LEFT, RIGHT, SIDES

from ..scene.shot import units_per_metre
from .bvh import bvh_text
from .glb_file import mend_glb
from .presets import FBX_PRESETS
from .stage import hands_on_stage

BOTH = (LEFT, RIGHT)


def export_fbx(
    scene: bpy.types.Scene,
    shot: bpy.types.Collection,
    path: Path,
    preset: str = "BLENDER",
    sides: Sequence[int] = BOTH,
) -> list[Path]:
    """One FBX file of the hands' rigs, skins and motion over the scene's range."""
    wanted = FBX_PRESETS[preset]
    with hands_on_stage(scene, shot, sides):
        _run(
            bpy.ops.export_scene.fbx,
            path,
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
    with hands_on_stage(scene, shot, sides):
        _run(
            bpy.ops.export_scene.gltf,
            path,
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
    mend_glb(path, scene.render.fps_base / scene.render.fps, 1 / units_per_metre(scene))
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
    with hands_on_stage(scene, shot, sides):
        _run(
            bpy.ops.wm.usd_export,
            path,
            selected_objects_only=True,
            export_animation=True,
            export_armatures=True,
            export_shapekeys=True,
            only_deform_bones=False,
            export_materials=True,
        )
    return [path]


def export_bvh(
    scene: bpy.types.Scene, shot: bpy.types.Collection, path: Path, sides: Sequence[int] = BOTH
) -> list[Path]:
    """One BVH file per hand (the format holds one skeleton): NAME.bvh, or NAME_left.bvh and NAME_right.bvh for two."""
    written: list[Path] = []
    with hands_on_stage(scene, shot, sides) as hands:
        for hand in hands:
            side = hand.duohand.side.lower()
            file = (
                path
                if len(hands) == 1
                else path.with_name(f"{path.stem}_{SIDES[SIDES.index(side)]}{path.suffix}")
            )
            _check_folder(file)
            stage: Any = bpy.context.scene
            text = bvh_text(
                stage, hand, range(scene.frame_start, scene.frame_end + 1), 1 / units_per_metre(scene)
            )
            try:
                file.write_text(text, encoding="utf-8")
            except OSError as error:
                raise RequestError(f"{file} could not be written ({error.strerror}).") from error
            written.append(file)
    return written


def _run(exporter: Any, path: Path, **options: Any) -> None:
    """Call one of Blender's exporters with those options that this version supports."""
    try:
        known = exporter.get_rna_type().properties.keys()
    except KeyError as error:
        raise RequestError(
            f"Blender's exporter for {path.suffix} files is disabled. Enable it in Preferences, Add-ons."
        ) from error
    _check_folder(path)
    try:
        exporter(filepath=str(path), **{name: value for name, value in options.items() if name in known})
    except RuntimeError as error:
        raise RequestError(f"{path} could not be written: {str(error).strip()}") from error
    if not path.is_file():
        raise RequestError(f"{path} was not written; Blender's exporter gave no reason.")


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise RequestError(f"There is no folder {path.parent} to write {path.name} into.")


Writer = Callable[[bpy.types.Scene, bpy.types.Collection, Path, Sequence[int]], list[Path]]
WRITERS: dict[str, Writer] = {".glb": export_glb, ".usdc": export_usd, ".bvh": export_bvh}
