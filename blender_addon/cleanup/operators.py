# SPDX-License-Identifier: GPL-3.0-or-later
"""Clean-up operators: hold, delete and refill ranges, swap sides, smooth, reduce and bake keys, lock ranges."""

from collections.abc import Callable, Sequence
from typing import Any

import bpy
import numpy as np
from bpy.props import EnumProperty, FloatProperty, IntProperty, StringProperty

from inference_core.shared import quaternions
from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.shared.take import load_take

from ..messages import translated
from ..scene.hand_curves import HandRig, check_writable, hand_rigs
from ..scene.selection import AS_SHOWN, HANDS_ITEMS, chosen_hands, range_meant
from ..scene.shot import active_shot
from ..sidebar import NeedsShot, Reports
from . import clean_up
from .euler_filter import filter_rotations
from .properties import PART_ITEMS, WristOffset


class _CleanUp(NeedsShot, Reports):
    """Base of the operators: the choice of hands."""

    bl_options = {"REGISTER", "UNDO"}

    hands: EnumProperty(name="Hands", description="Which hands are changed", items=HANDS_ITEMS)

    def run(self, context: bpy.types.Context) -> str:
        return self.change(context, chosen_hands(context, self.hands))


class _RangeCleanUp(_CleanUp):
    """Base of the operators on a range of frames; most are a single edit."""

    edit: Callable[..., None]
    done: str

    first: IntProperty(name="First", description="First scene frame of the range", default=AS_SHOWN)
    last: IntProperty(name="Last", description="Last scene frame of the range", default=AS_SHOWN)

    asks: bool = False  # shown before one click changes the whole shot

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        self.first, self.last = AS_SHOWN, AS_SHOWN
        self.take_fields(context.scene.duohand_clean_up)
        if self.asks and not context.scene.use_preview_range and not bpy.app.background:
            message = translated("No preview range is set: this changes all frames of the scene.")
            return context.window_manager.invoke_confirm(
                self, event, title=self.bl_label, message=message, confirm_text="Change All"
            )
        return self.execute(context)

    def change(self, context: bpy.types.Context, rigs: Sequence[HandRig]) -> str:
        first, last = self.frames(context.scene)
        locked = clean_up.locked_frames(rigs, first, last)
        self.edit(rigs, first, last, *self.softness())
        but = f", but for {locked} locked ones" if locked else ""
        return f"{self.done} frames {first} to {last}{but}"

    def take_fields(self, fields: Any) -> None:
        """Copy the panel's fields to the operator's fields of the same name."""

    def softness(self) -> tuple[int, ...]:
        """The edit's further arguments: how softly it fades, if it does."""
        return ()

    def frames(self, scene: bpy.types.Scene) -> tuple[int, int]:
        """The given range, by default the scene's preview range, else its whole range."""
        self.first, self.last = range_meant(scene, self.first, self.last)
        return self.first, self.last


class _SoftCleanUp(_RangeCleanUp):
    """Base of the operators whose edit fades in and out over a few frames."""

    blend: IntProperty(
        name="Blend",
        description="Frames at the ends of the range over which it fades in and out",
        default=0,
        min=0,
        max=100,
    )

    def take_fields(self, fields: Any) -> None:
        self.blend = fields.blend

    def softness(self) -> tuple[int, ...]:
        return (self.blend,)


class DUOHAND_OT_hold_range(_SoftCleanUp, bpy.types.Operator):
    """Keep the pose of the range's first frame through the range"""

    bl_idname = "duohand.hold_range"
    bl_label = "Hold"

    edit, done = staticmethod(clean_up.hold), "Held"


class DUOHAND_OT_delete_range(_RangeCleanUp, bpy.types.Operator):
    """Mark the hand as absent through the range: no keys, the skin hidden"""

    bl_idname = "duohand.delete_range"
    bl_label = "Mark Absent"

    edit, done, asks = staticmethod(clean_up.delete), "Marked absent:", True


class DUOHAND_OT_refill_range(_SoftCleanUp, bpy.types.Operator):
    """Fill the range from the motion on both sides of it"""

    bl_idname = "duohand.refill_range"
    bl_label = "Fill Gap"

    edit, done = staticmethod(clean_up.refill), "Filled"


class DUOHAND_OT_swap_sides(_RangeCleanUp, bpy.types.Operator):
    """Give each hand the other's motion through the range"""

    bl_idname = "duohand.swap_sides"
    bl_label = "Swap Sides"
    asks = True

    def change(self, context: bpy.types.Context, rigs: Sequence[HandRig]) -> str:
        first, last = self.frames(context.scene)
        both = {rig.side: rig for rig in hand_rigs(active_shot(context))}
        if len(both) < 2:
            raise RequestError("The shot has only one hand; there is nothing to swap it with.")
        locked = clean_up.locked_frames(list(both.values()), first, last)
        clean_up.swap_sides(both[LEFT], both[RIGHT], first, last)
        if locked:
            return f"Swapped sides in frames {first} to {last}, but for {locked} locked ones"
        return f"Swapped sides in frames {first} to {last}"


class DUOHAND_OT_offset_wrist(WristOffset, _SoftCleanUp, bpy.types.Operator):
    """Move and rotate the wrist through the range"""

    bl_idname = "duohand.offset_wrist"
    bl_label = "Offset Wrist"

    def take_fields(self, fields: Any) -> None:
        self.blend = fields.blend
        self.location, self.turn, self.along_ray = fields.location, fields.turn, fields.along_ray

    def change(self, context: bpy.types.Context, rigs: Sequence[HandRig]) -> str:
        first, last = self.frames(context.scene)
        turn = np.array([1.0, 0.0, 0.0, 0.0])
        for axis, angle in enumerate(self.turn):
            turn = quaternions.multiply(quaternions.exp(angle * np.eye(3)[axis]), turn)
        clean_up.locked_frames(rigs, first, last)
        offset = clean_up.Offset(np.array(self.location), turn, self.along_ray)
        clean_up.offset_wrist(rigs, offset, first, last, self.blend)
        return f"Moved the wrist in frames {first} to {last}"


class DUOHAND_OT_redo_part(_SoftCleanUp, bpy.types.Operator):
    """Restore a finger, the wrist or the whole hand to the raw motion, or to that of another take, through the range"""

    bl_idname = "duohand.redo_part"
    bl_label = "Redo"

    part: EnumProperty(name="Part", description="The part to redo", items=PART_ITEMS)
    take: StringProperty(
        name="Take", description="A take of the same footage; empty for the raw motion", subtype="FILE_PATH"
    )

    def take_fields(self, fields: Any) -> None:
        self.blend, self.part = fields.blend, fields.part
        self.take = fields.take if fields.source == "TAKE" else ""

    def change(self, context: bpy.types.Context, rigs: Sequence[HandRig]) -> str:
        first, last = self.frames(context.scene)
        clean_up.locked_frames(rigs, first, last)
        source = load_take(bpy.path.abspath(self.take)) if self.take else None
        clean_up.redo(rigs, self.part, source, first, last, self.blend)
        return f"Did frames {first} to {last} again"


class DUOHAND_OT_lock_range(_SoftCleanUp, bpy.types.Operator):
    """Keep this range's motion when the shot is smoothed, loaded or captured again"""

    bl_idname = "duohand.lock_range"
    bl_label = "Lock"

    def change(self, context: bpy.types.Context, rigs: Sequence[HandRig]) -> str:
        first, last = self.frames(context.scene)
        clean_up.lock(rigs, first, last, self.blend)
        return f"Locked frames {first} to {last}"


class DUOHAND_OT_unlock_range(_RangeCleanUp, bpy.types.Operator):
    """Remove the locks that overlap this range"""

    bl_idname = "duohand.unlock_range"
    bl_label = "Unlock"

    def change(self, context: bpy.types.Context, rigs: Sequence[HandRig]) -> str:
        first, last = self.frames(context.scene)
        return f"{clean_up.unlock(rigs, first, last)} locks removed"


class DUOHAND_OT_smooth(_RangeCleanUp, bpy.types.Operator):
    """Smooth the range more, or bring back the raw motion's jitter; edits stay"""

    bl_idname = "duohand.smooth"
    bl_label = "Smooth"

    strength: FloatProperty(
        name="Strength",
        description="How much jitter is removed",
        default=0.5,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )

    def change(self, context: bpy.types.Context, rigs: Sequence[HandRig]) -> str:
        first, last = self.frames(context.scene)
        clean_up.smooth(rigs, clean_up.scene_fps(rigs[0]), self.strength, first, last)
        return f"Smoothed by {self.strength:.0%}"


class DUOHAND_OT_reduce_keys(_CleanUp, bpy.types.Operator):
    """Remove keys while the motion stays within an error"""

    bl_idname = "duohand.reduce_keys"
    bl_label = "Decimate"

    measure: EnumProperty(
        name="Measure",
        description="What the error measures",
        items=(
            ("DISTANCE", "Distance", "How far the end of any bone may move"),
            ("ANGLE", "Angle", "How far any bone may rotate away from the motion"),
        ),
    )
    max_error_mm: FloatProperty(
        name="Largest Error (mm)", description="In millimetres", default=0.5, min=0.0, max=100.0
    )
    max_error_deg: FloatProperty(
        name="Largest Error (degrees)", description="In degrees", default=0.5, min=0.0, max=90.0
    )

    def change(self, _context: bpy.types.Context, rigs: Sequence[HandRig]) -> str:
        angle = self.max_error_deg if self.measure == "ANGLE" else None
        done = clean_up.reduce_keys(rigs, self.max_error_mm, angle)
        return (
            f"{done.before} keys became {done.after}; largest error {done.largest_mm:.3f} mm, "
            f"{done.largest_deg:.3f} degrees"
        )


class DUOHAND_OT_bake_keys(_CleanUp, bpy.types.Operator):
    """Put a key on every captured frame again, with the current motion"""

    bl_idname = "duohand.bake_keys"
    bl_label = "Bake Keys"

    def change(self, _context: bpy.types.Context, rigs: Sequence[HandRig]) -> str:
        clean_up.bake(rigs)
        return "Every captured frame has a key"


class DUOHAND_OT_euler_filter(_CleanUp, bpy.types.Operator):
    """Remove jumps from the rotation curves: the same rotations with continuous angles (or signs)"""

    bl_idname = "duohand.euler_filter"
    bl_label = "Euler Filter"

    def change(self, _context: bpy.types.Context, rigs: Sequence[HandRig]) -> str:
        check_writable(rigs)
        changed = sum(filter_rotations(rig) for rig in rigs)
        return f"{changed} keys changed" if changed else "No rotation curve jumps"


CLASSES = (
    DUOHAND_OT_hold_range,
    DUOHAND_OT_delete_range,
    DUOHAND_OT_refill_range,
    DUOHAND_OT_swap_sides,
    DUOHAND_OT_offset_wrist,
    DUOHAND_OT_redo_part,
    DUOHAND_OT_lock_range,
    DUOHAND_OT_unlock_range,
    DUOHAND_OT_smooth,
    DUOHAND_OT_reduce_keys,
    DUOHAND_OT_bake_keys,
    DUOHAND_OT_euler_filter,
)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
