# SPDX-License-Identifier: GPL-3.0-or-later
"""Adds and removes grips, keys them, and clears them."""

from collections.abc import Iterable
from typing import Any

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import LEFT, RIGHT

from ..body.kept_action import keep_edited, remember
from ..scene.hand_curves import hand_rigs
from ..scene.selection import AS_SHOWN, range_meant
from ..scene.shot import active_shot
from ..scene.unkeyed import unkeyed_kept
from ..sidebar import NeedsShot, Reports
from .bake import bake, is_keyed, released
from .grips import Grip
from .properties import LEAD_ITEMS, SIDE_ITEMS


class _OnProp(NeedsShot, Reports):
    """Base of these operators: an object."""

    bl_options = {"REGISTER", "UNDO"}

    prop: StringProperty(name="Object", description="Name of the object; the panel's if empty")

    def run(self, context: bpy.types.Context) -> str:
        with unkeyed_kept(context.scene):
            return self.work(context, self._prop(context))

    def work(self, context: bpy.types.Context, prop: bpy.types.Object) -> str:
        raise NotImplementedError

    def keep_edited(self, context: bpy.types.Context, props: Iterable[bpy.types.Object]) -> None:
        """Keep what was edited on the copies of actions of these objects and of the hands, and say so."""
        self.warn(keep_edited([*props, *(rig.armature for rig in hand_rigs(active_shot(context)))]))

    def _prop(self, context: bpy.types.Context) -> bpy.types.Object:
        chosen: Any = context.scene.duohand_props.prop
        found = context.scene.objects.get(self.prop) if self.prop else chosen
        if found is None:
            raise RequestError(f"There is no object {self.prop or 'chosen'}. Choose one in the Props panel.")
        return found


class DUOHAND_OT_add_grip(_OnProp, bpy.types.Operator):
    """Let the hand hold the object throughout the range, as it does on the first frame"""

    bl_idname = "duohand.add_grip"
    bl_label = "Add Grip"

    hand: EnumProperty(name="Hand", description="Which hand holds it", items=SIDE_ITEMS)
    lead: EnumProperty(name="Lead", description="Who follows whom", items=LEAD_ITEMS)
    first: IntProperty(name="First", description="First scene frame of the range", default=AS_SHOWN)
    last: IntProperty(name="Last", description="Last scene frame of the range", default=AS_SHOWN)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> Any:
        kept: Any = context.scene.duohand_props
        self.hand, self.lead, self.first, self.last = kept.hand, kept.lead, AS_SHOWN, AS_SHOWN
        return self.execute(context)

    def work(self, context: bpy.types.Context, prop: bpy.types.Object) -> str:
        kept: Any = context.scene.duohand_props
        first, last = range_meant(context.scene, self.first, self.last)
        grip = kept.grips.add()
        grip.prop, grip.hand, grip.lead, grip.first, grip.last = prop, self.hand, self.lead, first, last
        kept.prop = prop
        return f"{prop.name}: frames {first} to {last}"


class DUOHAND_OT_remove_grip(Reports, bpy.types.Operator):
    """Remove this grip from the list; its keys stay until grips are keyed again"""

    bl_idname = "duohand.remove_grip"
    bl_label = "Remove Grip"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    index: IntProperty(description="Which one", default=0, min=0)

    def run(self, context: bpy.types.Context) -> str:
        kept: Any = context.scene.duohand_props
        if self.index >= len(kept.grips):
            raise RequestError("There is no such grip.")
        kept.grips.remove(self.index)
        return ""


class DUOHAND_OT_bake_grips(_OnProp, bpy.types.Operator):
    """Key all objects that hands hold, and the hands on them, over the scene's range, on copies of their actions"""

    bl_idname = "duohand.bake_grips"
    bl_label = "Key Grips"

    def work(self, context: bpy.types.Context, prop: bpy.types.Object) -> str:
        grips_of = _grips_of(context)
        if prop not in grips_of:
            raise RequestError(f"No hand holds {prop.name}. Add a grip first.")
        self.keep_edited(context, grips_of)
        return _keyed(context, grips_of)


class DUOHAND_OT_release_grips(_OnProp, bpy.types.Operator):
    """Restore the actions that the object and the hands had before grips were keyed"""

    bl_idname = "duohand.release_grips"
    bl_label = "Clear Grips"

    def work(self, context: bpy.types.Context, prop: bpy.types.Object) -> str:
        if not is_keyed(prop):
            raise RequestError(f"{prop.name} has no keyed grips, or has another action now.")
        others = {
            other: grips for other, grips in _grips_of(context).items() if other != prop and is_keyed(other)
        }
        self.keep_edited(context, [prop, *others])
        released([prop, *others], hand_rigs(active_shot(context)))
        text = f"{prop.name} has its own motion again"
        return f"{text}; {_keyed(context, others)}" if others else text


def _grips_of(context: bpy.types.Context) -> dict[bpy.types.Object, list[Grip]]:
    """The grips of every object that is still in the scene."""
    kept: Any = context.scene.duohand_props
    found: dict[bpy.types.Object, list[Grip]] = {}
    for item in kept.grips:
        if item.prop is not None and item.prop.name in context.scene.objects:
            side = LEFT if item.hand == "LEFT" else RIGHT
            found.setdefault(item.prop, []).append(Grip(side, item.first, item.last, item.lead == "HAND"))
    return found


def _keyed(context: bpy.types.Context, grips_of: dict[bpy.types.Object, list[Grip]]) -> str:
    scene = context.scene
    kept: Any = scene.duohand_props
    frames = range(scene.frame_start, scene.frame_end + 1)
    rigs = hand_rigs(active_shot(context))
    count = bake(scene, grips_of, rigs, kept.blend, frames)
    remember([*grips_of, *(rig.armature for rig in rigs)])
    names = ", ".join(prop.name for prop in grips_of)
    return f"{count} grips of {names} keyed on {len(frames)} frames"


CLASSES = (DUOHAND_OT_add_grip, DUOHAND_OT_remove_grip, DUOHAND_OT_bake_grips, DUOHAND_OT_release_grips)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
