# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panels of the Duohand tab share."""

from typing import Final

import bpy

from ..scene.shot import shots

CATEGORY: Final = "Duohand"


class SidebarPanel:
    """Where every panel of the tab stands."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = CATEGORY


def shows_no_shot(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> bool:
    """Whether the scene has no take; the layout then says what to do first."""
    if shots(scene):
        return False
    layout.label(text="Capture or load a take first", icon="INFO")
    return True
