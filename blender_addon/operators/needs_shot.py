# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators share that work on a take in the scene."""

import bpy

from ..scene.shot import shots


class NeedsShot:
    """Can be pressed where the scene has a take, and says so where it has none."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not shots(context.scene):
            cls.poll_message_set("There is no take in this scene")
            return False
        return True
