# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to this machine rather than to a file."""

import bpy


class DUOHAND_AP_preferences(bpy.types.AddonPreferences):
    """Settings of this machine."""

    bl_idname = __package__

    def draw(self, context: bpy.types.Context) -> None:
        self.layout.label(text="Duohand has nothing to set up yet.")


CLASSES = (DUOHAND_AP_preferences,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
