# SPDX-License-Identifier: GPL-3.0-or-later
"""The Retarget panel: the armature that follows, its bone map, constrain and bake."""

from typing import Any

import bpy

from ..sidebar import ShotPanel, SidebarPanel
from .bone_map import HAND, SUFFIXES


class DUOHAND_PT_retarget(ShotPanel, bpy.types.Panel):
    """Transfer the motion to another armature's hands"""

    bl_idname = "DUOHAND_PT_retarget"
    bl_label = "Retarget"
    bl_order = 50
    bl_options = {"DEFAULT_CLOSED"}

    @staticmethod
    def draw_shots(layout: Any, context: bpy.types.Context) -> None:
        kept: Any = context.scene.duohand_retarget
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(kept, "target")
        column.prop(kept, "preset")
        column.prop(kept, "with_hand")
        if kept.with_hand:
            column.prop(kept, "with_location")
        if kept.target is None:
            return
        layout.operator("duohand.place_at_armature")
        column = layout.column(align=True)
        row = column.row(align=True)
        row.operator("duohand.retarget", icon="LINKED")
        row.operator("duohand.bake_retarget", icon="KEYINGSET")
        column.operator("duohand.release_retarget", icon="UNLINKED")


class DUOHAND_PT_bone_map(SidebarPanel, bpy.types.Panel):
    """Which bone is which"""

    bl_idname = "DUOHAND_PT_bone_map"
    bl_label = "Bone Map"
    bl_parent_id = "DUOHAND_PT_retarget"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.scene.duohand_retarget.target is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout: Any = self.layout
        kept: Any = context.scene.duohand_retarget
        row = layout.row(align=True)
        row.operator("duohand.find_bones")
        row.operator("duohand.load_bone_map", text="", icon="FILE_FOLDER")
        row.operator("duohand.save_bone_map", text="", icon="FILE_TICK")
        used = [pair.bone for pair in kept.pairs if pair.bone]
        doubtful = {
            pair.name
            for pair in kept.pairs
            if pair.bone not in kept.target.pose.bones or used.count(pair.bone) > 1
        }
        sides = layout.row(align=True)
        for side, suffix in zip(("LEFT", "RIGHT"), SUFFIXES, strict=True):
            choice = sides.row(align=True)
            choice.alert = any(name.endswith(suffix) for name in doubtful)
            choice.prop_enum(kept, "side", side)
        column = layout.column(align=True)
        for pair in kept.pairs:
            if pair.name.endswith(SUFFIXES[kept.side == "RIGHT"]):
                row = column.row(align=True)
                row.alert = pair.name in doubtful
                parts = row.split(factor=0.12, align=True)
                parts.label(text=_short(pair.name), translate=False)
                parts.prop_search(pair, "bone", kept.target.pose, "bones", text="")


def _short(name: str) -> str:
    """A short bone name for a narrow column: I2 for the index finger's second."""
    stem = name[:-2]
    return "H" if stem == HAND else f"{stem[0].upper()}{stem[-1]}"


CLASSES = (DUOHAND_PT_retarget, DUOHAND_PT_bone_map)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
