# SPDX-License-Identifier: GPL-3.0-or-later
"""Save Take: the edited motion back into a take."""

import bpy
from bpy.props import StringProperty
from bpy_extras.io_utils import ExportHelper

from inference_core.shared.errors import DuohandError
from inference_core.shared.take import load_take, save_take

from ..scene.apply_take import absolute
from ..scene.read_take import read_take
from ..scene.shot import active_shot
from .needs_shot import NeedsShot


class DUOHAND_OT_save_take(NeedsShot, bpy.types.Operator, ExportHelper):
    """Write the hands' motion, as it is seen now, to a take file"""

    bl_idname = "duohand.save_take"
    bl_label = "Save Take"
    bl_options = {"REGISTER"}

    filename_ext = ".npz"
    filter_glob: StringProperty(default="*.npz", options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        path = absolute(self.filepath)
        try:
            shot = active_shot(context)
            base = load_take(absolute(shot.duohand.take_path))
            save_take(read_take(context.scene, shot, base), path)
        except DuohandError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, f"{shot.name} saved to {path}")
        return {"FINISHED"}


CLASSES = (DUOHAND_OT_save_take,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
