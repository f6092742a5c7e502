# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the offset between hands and body, joins them, and separates them again."""

from pathlib import Path
from typing import Any, Final

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty
from bpy_extras.io_utils import ImportHelper

from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import LEFT

from ..retarget.bone_map import BoneMap, side_of
from ..retarget.operators import OnArmature, find_map
from ..retarget.properties import PRESET_ITEMS
from ..scene.hand_curves import HandRig, hand_rigs
from ..scene.paths import absolute
from ..scene.selection import AS_SHOWN, HANDS_ITEMS, chosen_hands, range_meant
from ..scene.shot import active_shot
from ..sidebar import NeedsShot, Reports
from .join import WHAT, Joined, join, separate
from .kept_action import is_copy, keep_edited, remember
from .load_body import load_body
from .match import matched

_MOST_LINES: Final = 6


class _OnBody(OnArmature, NeedsShot):
    """Base of these operators: the body, its bones, the hands and the range."""

    preset: EnumProperty(name="Bones", description="How the armature's bones are named", items=PRESET_ITEMS)
    hands: EnumProperty(name="Hands", description="Which hands", items=HANDS_ITEMS, default="BOTH")
    first: IntProperty(name="First", description="First scene frame of the range", default=AS_SHOWN)
    last: IntProperty(name="Last", description="Last scene frame of the range", default=AS_SHOWN)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return NeedsShot.poll.__func__(cls, context) and OnArmature.poll.__func__(cls, context)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> Any:
        self.preset = context.scene.duohand_retarget.preset
        self.first, self.last = AS_SHOWN, AS_SHOWN
        return self.execute(context)

    def bones(self, context: bpy.types.Context, target: bpy.types.Object) -> BoneMap:
        """The bone map, kept for the panel as Constrain does."""
        kept: Any = context.scene.duohand_retarget
        found = find_map(target, self.preset, kept.bone_map())
        kept.target = target
        kept.set_map(found)
        return found

    def rigs(self, context: bpy.types.Context, bones: BoneMap) -> list[HandRig]:
        """The chosen hands, for sides that are in the map."""
        sides = {side_of(name) for name in bones}
        found = [rig for rig in chosen_hands(context, self.hands) if rig.side in sides]
        if not found:
            raise RequestError("The bone map has no bone of the captured hands' sides.")
        return found

    def frames(self, context: bpy.types.Context) -> range:
        first, last = range_meant(context.scene, self.first, self.last)
        return range(first, last + 1)


class DUOHAND_OT_find_offset(_OnBody, bpy.types.Operator):
    """Find the time offset at which the captured wrists move like the body's"""

    bl_idname = "duohand.find_offset"
    bl_label = "Find Offset"
    bl_options = {"REGISTER", "UNDO"}

    def work(self, context: bpy.types.Context, target: bpy.types.Object) -> str:
        bones = self.bones(context, target)
        kept: Any = context.scene.duohand_body
        found = matched(context.scene, target, bones, self.rigs(context, bones), self.frames(context))
        kept.offset = kept.found = found.frames
        kept.sure = found.sure
        return f"Offset {found.frames:.2f} frames, {found.sure:.0%} sure"


class DUOHAND_OT_join_hands(_OnBody, bpy.types.Operator):
    """Key the captured hands onto the body's wrists, on a copy of its action"""

    bl_idname = "duohand.join_hands"
    bl_label = "Join Hands"
    bl_options = {"REGISTER", "UNDO"}

    def work(self, context: bpy.types.Context, target: bpy.types.Object) -> str:
        bones = self.bones(context, target)
        kept: Any = context.scene.duohand_body
        rigs = self.rigs(context, bones)
        owners = [target, *(rig.armature for rig in rigs)]
        self.warn(keep_edited(owners))
        done = join(context.scene, target, bones, rigs, kept.settings(), self.frames(context))
        remember(owners)
        lines = _lines(done)
        kept.report = "\n".join(lines)
        text = f"{done.bones} bones of {target.name} keyed on {done.frames} frames"
        return "; ".join([text, f"wrists within {done.apart_mm:.2g} mm", *lines])


class DUOHAND_OT_separate_hands(OnArmature, bpy.types.Operator):
    """Restore the actions that the body and the captured hands had before they were joined"""

    bl_idname = "duohand.separate_hands"
    bl_label = "Separate"
    bl_options = {"REGISTER", "UNDO"}

    def work(self, context: bpy.types.Context, target: bpy.types.Object) -> str:
        if not is_copy(target, WHAT):
            raise RequestError(
                f"{target.name} has not been joined with captured hands, or has another action now."
            )
        rigs = hand_rigs(active_shot(context))
        self.warn(keep_edited([target, *(rig.armature for rig in rigs)]))
        separate(target, rigs)
        context.scene.duohand_body.report = ""
        return f"{target.name} has its own action again"


class DUOHAND_OT_load_body(Reports, bpy.types.Operator, ImportHelper):
    """Load body motion as an armature: BVH, or an .npz file of the SMPL family (AMASS, SMPL-X)"""

    bl_idname = "duohand.load_body"
    bl_label = "Load Body"
    bl_options = {"REGISTER", "UNDO"}

    filename_ext = ".bvh"
    filter_glob: StringProperty(default="*.bvh;*.npz", options={"HIDDEN"})

    def run(self, context: bpy.types.Context) -> str:
        body = load_body(context.scene, Path(absolute(self.filepath)))
        kept: Any = context.scene.duohand_retarget
        kept.target = body
        kept.preset = "SMPLX" if self.filepath.lower().endswith(".npz") else "GUESS"
        return f"{body.name} loaded and chosen as the body"

    def check(self, _context: bpy.types.Context) -> bool:
        return False  # either ending is right


def _lines(done: Joined) -> list[str]:
    """A line for each stretch of frames on which an arm is too short, the worst first."""
    worst = sorted(done.too_far, key=lambda item: -item.by_mm)
    lines = [
        f"{'Left' if item.side == LEFT else 'Right'} arm too short on {item.first}-{item.last} by {item.by_mm:.0f} mm"
        for item in worst[:_MOST_LINES]
    ]
    more = len(worst) - len(lines)
    return [*lines, f"and {more} more stretches"] if more > 0 else lines


CLASSES = (DUOHAND_OT_load_body, DUOHAND_OT_find_offset, DUOHAND_OT_join_hands, DUOHAND_OT_separate_hands)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
