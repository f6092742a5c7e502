# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of an installation, for this run of Blender only."""

import bpy
from bpy.props import BoolProperty, FloatProperty, PointerProperty, StringProperty


class DUOHAND_PG_install(bpy.types.PropertyGroup):
    """The installation of an engine that runs now; no text where none does."""

    text: StringProperty(description="What is being installed")
    factor: FloatProperty(description="How far it is", min=0.0, max=1.0)
    stop: BoolProperty(description="Whether it has been asked to stop")
    problem: StringProperty(description="Why the last installation or check failed")

    def clear(self) -> None:
        """Nothing runs any more."""
        self.text, self.factor, self.stop = "", 0.0, False


CLASSES = (DUOHAND_PG_install,)
_register_classes, _unregister_classes = bpy.utils.register_classes_factory(CLASSES)


def register() -> None:
    _register_classes()
    bpy.types.WindowManager.duohand_install = PointerProperty(type=DUOHAND_PG_install, options={"SKIP_SAVE"})


def unregister() -> None:
    del bpy.types.WindowManager.duohand_install
    _unregister_classes()
