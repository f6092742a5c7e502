# SPDX-License-Identifier: GPL-3.0-or-later
"""Export operators: FBX with presets, GLB, USD and BVH."""

from pathlib import Path
from typing import Any, Final

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty
from bpy_extras.io_utils import ExportHelper

from inference_core.shared.skeleton import LEFT, RIGHT

from ..messages import translated
from ..scene.paths import absolute
from ..scene.shot import active_shot
from ..sidebar import NeedsShot, Reports
from . import writers
from .presets import FBX_PRESETS

SIDES_ITEMS: Final = (
    ("BOTH", "Both", "Both hands in one file"),
    ("LEFT", "Left", "The left hand only"),
    ("RIGHT", "Right", "The right hand only"),
)
_SIDES: Final = {"BOTH": (LEFT, RIGHT), "LEFT": (LEFT,), "RIGHT": (RIGHT,)}


class _Export(NeedsShot, Reports, ExportHelper):
    """Base of the export operators."""

    sides: EnumProperty(name="Hands", description="Which hands are exported", items=SIDES_ITEMS)

    def run(self, context: bpy.types.Context) -> str:
        path = Path(absolute(self.filepath))
        written = self.write(context, active_shot(context), path, _SIDES[self.sides])
        return f"Wrote {', '.join(str(path) for path in written)}"

    def write(
        self, context: bpy.types.Context, shot: bpy.types.Collection, path: Path, sides: tuple[int, ...]
    ) -> list[Path]:
        return writers.WRITERS[self.filename_ext](context.scene, shot, path, sides)


class DUOHAND_OT_export_fbx(_Export, bpy.types.Operator):
    """Export the hands' rigs, skins and motion as FBX"""

    bl_idname = "duohand.export_fbx"
    bl_label = "Export FBX"
    bl_options = {"REGISTER", "PRESET"}

    filename_ext = ".fbx"
    filter_glob: StringProperty(default="*.fbx", options={"HIDDEN"})
    preset: EnumProperty(
        name="Preset",
        description="The program that the file is for",
        items=tuple((name, preset.label, preset.description) for name, preset in FBX_PRESETS.items()),
    )

    def write(
        self, context: bpy.types.Context, shot: bpy.types.Collection, path: Path, sides: tuple[int, ...]
    ) -> list[Path]:
        return writers.export_fbx(context.scene, shot, path, self.preset, sides)


class DUOHAND_OT_export_glb(_Export, bpy.types.Operator):
    """Export the hands' rigs, skins and motion as binary glTF"""

    bl_idname = "duohand.export_glb"
    bl_label = "Export GLB"
    bl_options = {"REGISTER", "PRESET"}

    filename_ext = ".glb"
    filter_glob: StringProperty(default="*.glb", options={"HIDDEN"})


class DUOHAND_OT_export_usd(_Export, bpy.types.Operator):
    """Export the hands' rigs, skins and motion as USD"""

    bl_idname = "duohand.export_usd"
    bl_label = "Export USD"
    bl_options = {"REGISTER", "PRESET"}

    filename_ext = ".usdc"
    filter_glob: StringProperty(default="*.usd*", options={"HIDDEN"})


class DUOHAND_OT_export_bvh(_Export, bpy.types.Operator):
    """Export the hands' bones and motion as BVH, one file per hand"""

    bl_idname = "duohand.export_bvh"
    bl_label = "Export BVH"
    bl_options = {"REGISTER", "PRESET"}

    filename_ext = ".bvh"
    filter_glob: StringProperty(default="*.bvh", options={"HIDDEN"})
    asks: BoolProperty(
        description="Ask before files replace others whose names the file browser did not show",
        options={"HIDDEN", "SKIP_SAVE"},
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        if not self.asks:
            return super().invoke(context, event)
        there = " and ".join(path.name for path in self._would_replace(context))
        return context.window_manager.invoke_confirm(
            self,
            event,
            title=self.bl_label,
            message=translated(f"An earlier export is there already: {there}."),
            confirm_text="Replace",
        )

    def run(self, context: bpy.types.Context) -> str:
        if self.options.is_invoke and not self.asks and self._would_replace(context):
            # The file browser asked about the chosen name, which is none of theirs.
            bpy.ops.duohand.export_bvh("INVOKE_DEFAULT", filepath=self.filepath, sides=self.sides, asks=True)
            return ""
        return super().run(context)

    def _would_replace(self, context: bpy.types.Context) -> list[Path]:
        """Files other than the chosen one that are there already."""
        path = Path(absolute(self.filepath))
        files = writers.bvh_files(active_shot(context), path, _SIDES[self.sides])
        return [file for file in files if file != path and file.exists()]


CLASSES = (DUOHAND_OT_export_fbx, DUOHAND_OT_export_glb, DUOHAND_OT_export_usd, DUOHAND_OT_export_bvh)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
