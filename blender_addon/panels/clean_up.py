# SPDX-License-Identifier: GPL-3.0-or-later
"""The Clean-up panel: ranges, smoothing, keys."""

from typing import Any

import bpy
from bpy.props import FloatProperty

from inference_core.errors import DuohandError

from ..cleanup import clean_up
from ..cleanup.hand_curves import hand_rigs
from ..scene.shot import active_shot, shots
from .sidebar import SidebarPanel


def _strength_moved(scene: Any, context: bpy.types.Context) -> None:
    try:
        rigs = hand_rigs(active_shot(context))
        if rigs:
            clean_up.smooth(rigs, clean_up.scene_fps(rigs[0]), scene.duohand_smoothing)
    except DuohandError as error:
        # A property's update has no report of its own; the panel's other buttons say the same in words.
        print(f"Duohand: {error}")


class DUOHAND_PT_clean_up(SidebarPanel, bpy.types.Panel):
    """Put right what the capture got wrong"""

    bl_idname = "DUOHAND_PT_clean_up"
    bl_label = "Clean-up"
    bl_order = 40
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        if not shots(context.scene):
            layout.label(text="Capture or load a take first", icon="INFO")
            return
        layout.prop(context.scene, "duohand_smoothing", slider=True)
        scene = context.scene
        preview = scene.use_preview_range
        start = scene.frame_preview_start if preview else scene.frame_start
        end = scene.frame_preview_end if preview else scene.frame_end
        layout.label(text=f"Range: {start} to {end}{'' if preview else ' (all; P sets a preview range)'}")
        grid = layout.grid_flow(columns=3, align=True, even_columns=True)
        for name in (
            "hold_range",
            "delete_range",
            "refill_range",
            "swap_sides",
            "lock_range",
            "unlock_range",
        ):
            grid.operator(f"duohand.{name}")
        layout.operator("duohand.offset_wrist")
        row = layout.row(align=True)
        row.operator("duohand.reduce_keys")
        row.operator("duohand.bake_keys")
        layout.operator("duohand.euler_filter")


CLASSES = (DUOHAND_PT_clean_up,)
_register_classes, _unregister_classes = bpy.utils.register_classes_factory(CLASSES)


def register() -> None:
    _register_classes()
    bpy.types.Scene.duohand_smoothing = FloatProperty(
        name="Smoothing",
        description="Smooths anew from the raw motion; locked ranges stay",
        default=0.4,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        update=_strength_moved,
    )


def unregister() -> None:
    del bpy.types.Scene.duohand_smoothing
    _unregister_classes()
