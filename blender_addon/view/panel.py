# SPDX-License-Identifier: GPL-3.0-or-later
"""The View panel: through the camera, skin against plate, rendered over the footage."""

from typing import Any

import bpy

from ..scene.plate import background
from ..scene.shot import shots
from ..sidebar import ShotPanel


class DUOHAND_PT_view(ShotPanel, bpy.types.Panel):
    """How the hands and their footage are displayed"""

    bl_idname = "DUOHAND_PT_view"
    bl_label = "View"
    bl_order = 25

    @staticmethod
    def draw_shots(layout: Any, context: bpy.types.Context) -> None:
        layout.operator("duohand.view_through_camera", icon="VIEW_CAMERA")
        found = shots(context.scene)
        for shot in found:
            if len(found) > 1:
                layout.label(text=shot.name, icon="VIEW_PAN", translate=False)
            _draw_look(layout.column(align=True), shot)
        layout.operator("duohand.render_over_footage", icon="RENDER_STILL")


def _draw_look(layout: Any, shot: Any) -> None:
    layout.prop(shot.duohand_look, "opacity", slider=True)
    behind = background(shot.duohand.camera) if shot.duohand.camera is not None else None
    if behind is not None:
        layout.prop(behind, "alpha", text="Plate Opacity", slider=True)
    row = layout.row(align=True)
    row.prop(shot.duohand_look, "wire", toggle=True)
    row.prop(shot.duohand_look, "tints", toggle=True)


CLASSES = (DUOHAND_PT_view,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
