# SPDX-License-Identifier: GPL-3.0-or-later
"""The Take panel: load a take, facts about the existing shots, and the paths of their files."""

from typing import Any

import bpy
from bpy.app.translations import pgettext_iface as iface_

from inference_core.shared.skeleton import RIGHT

from ..scene.shot import armatures, rate, shot_timing, shots
from ..sidebar import ShotPanel, SidebarPanel
from .files import missing
from .rate import is_left_behind


class DUOHAND_PT_take(ShotPanel, bpy.types.Panel):
    """Takes in this scene"""

    bl_idname = "DUOHAND_PT_take"
    bl_label = "Take"
    bl_order = 20

    def draw(self, context: bpy.types.Context) -> None:
        self.layout.operator("duohand.load_take", icon="IMPORT")
        ShotPanel.draw(self, context)

    @staticmethod
    def draw_shots(layout: Any, context: bpy.types.Context) -> None:
        for shot in shots(context.scene):
            layout.label(text=f"{shot.name}: {_hands(shot)}", icon="VIEW_PAN", translate=False)
            _draw_lost_files(layout, shot)
            if is_left_behind(context.scene, shot):
                _draw_rate(layout, context.scene, shot)
        layout.operator("duohand.save_take", icon="EXPORT")


class DUOHAND_PT_files(SidebarPanel, bpy.types.Panel):
    """Paths of the shots' takes and footage"""

    bl_idname = "DUOHAND_PT_files"
    bl_label = "Files"
    bl_parent_id = "DUOHAND_PT_take"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(shots(context.scene))

    def draw(self, context: bpy.types.Context) -> None:
        layout: Any = self.layout
        for shot in shots(context.scene):
            layout.label(text=shot.name)
            layout.prop(shot.duohand, "take_path", text="Take")
            layout.prop(shot.duohand, "footage", text="Footage")


def _hands(shot: Any) -> str:
    """Which hands the shot has, in words."""
    match list(armatures(shot)):
        case [side]:
            return iface_("right") if side == RIGHT else iface_("left")
        case []:
            return iface_("no hand")
        case _:
            return iface_("left and right")


def _draw_rate(layout: Any, scene: bpy.types.Scene, shot: Any) -> None:
    """A notice that the shot plays at another speed than its footage, and the button that corrects it."""
    column = layout.column()
    column.alert = True
    text = iface_("Laid out at {then:.6g} frames a second; the scene has {now:.6g}")
    column.label(
        text=text.format(then=shot_timing(shot).scene_fps, now=rate(scene)), icon="ERROR", translate=False
    )
    column.operator("duohand.follow_rate").shot = shot.name


def _draw_lost_files(layout: Any, shot: Any) -> None:
    """Fields for the shot's missing files."""
    for name, label in (("take_path", "Take"), ("footage", "Footage")):
        if missing(shot, name):
            column = layout.column()
            column.alert = True
            column.label(text=iface_("{label} not found; choose it:").format(label=iface_(label)))
            column.prop(shot.duohand, name, text="")


CLASSES = (DUOHAND_PT_take, DUOHAND_PT_files)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
