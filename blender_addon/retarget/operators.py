# SPDX-License-Identifier: GPL-3.0-or-later
"""Retarget operators: constrain another armature's hands to the captured ones, bake; and the bone map."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy
from bpy.props import EnumProperty, StringProperty
from bpy_extras.io_utils import ExportHelper, ImportHelper

from inference_core.shared.errors import RequestError

from ..messages import report
from ..scene.hand_curves import HandRig, hand_rigs
from ..scene.paths import absolute
from ..scene.selection import HANDS_ITEMS, chosen_hands
from ..scene.shot import active_shot
from ..scene.unkeyed import unkeyed_kept
from ..sidebar import Reports
from . import arms, bone_map, live
from .bone_map import BoneMap, preset_map
from .name_guess import guessed_map
from .properties import PRESET_ITEMS


def find_map(target: bpy.types.Object, preset: str, edited: BoneMap) -> BoneMap:
    """The preset's bone map for the armature, for the sides that it has."""
    names = [bone.name for bone in target.pose.bones]
    if preset == "MAP":
        if not edited:
            raise RequestError("The bone map is empty. Guess it by name or take a preset first.")
        return edited
    if preset == "GUESS":
        bones = target.data.bones
        parents = {bone.name: bone.parent.name for bone in bones if bone.parent}
        heads = {bone.name: tuple(float(part) for part in bone.head_local) for bone in bones}
        found = guessed_map(names, parents, heads)
        if not any(f"index_01{side}" in found and f"pinky_01{side}" in found for side in bone_map.SUFFIXES):
            guessed = ", ".join(f"{name}: {bone}" for name, bone in sorted(found.items())[:6]) or "nothing"
            raise RequestError(
                f"The names of {target.name}'s bones do not identify an index and a little finger of three bones each "
                f"(found: {guessed}). Choose a preset, or fill in the Bone Map by hand."
            )
        return live.with_hands_in_use(found, target)
    sides: list[BoneMap] = []
    problem: RequestError | None = None
    for side in (0, 1):
        try:
            sides.append(preset_map(preset, side, names))
        except RequestError as error:
            problem = error
    if not sides and problem is not None:
        raise problem
    found = {name: bone for side in sides for name, bone in side.items()}
    return live.with_hands_in_use(found, target) if preset == "RIGIFY" else found


class OnArmature(Reports):
    """Base of these operators: the armature to work on."""

    target: StringProperty(name="Armature", description="Name of the armature; the panel's if empty")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not any(item.type == "ARMATURE" and item.duohand.side == "NONE" for item in context.scene.objects):
            cls.poll_message_set("There is no other armature in this scene to retarget to")
            return False
        return True

    def run(self, context: bpy.types.Context) -> str:
        with unkeyed_kept(context.scene):
            return self.work(context, self._armature(context))

    def _armature(self, context: bpy.types.Context) -> bpy.types.Object:
        chosen: Any = context.scene.duohand_retarget.target
        found = context.scene.objects.get(self.target) if self.target else chosen
        if found is None or found.type != "ARMATURE":
            raise RequestError(
                f"There is no armature {self.target or 'chosen'}. Choose one in the Retarget panel."
            )
        return found


class DUOHAND_OT_retarget(OnArmature, bpy.types.Operator):
    """Constrain the armature's hands to the captured ones, live"""

    bl_idname = "duohand.retarget"
    bl_label = "Constrain"
    bl_options = {"REGISTER", "UNDO"}

    preset: EnumProperty(name="Bones", description="How the armature's bones are named", items=PRESET_ITEMS)
    hands: EnumProperty(
        name="Hands", description="Which hands are followed", items=HANDS_ITEMS, default="BOTH"
    )

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> Any:
        self.preset = context.scene.duohand_retarget.preset
        return self.execute(context)

    def work(self, context: bpy.types.Context, target: bpy.types.Object) -> str:
        kept: Any = context.scene.duohand_retarget
        bones = find_map(target, self.preset, kept.bone_map())
        kept.target = target
        kept.set_map(bones)
        settings = live.RetargetSettings(kept.with_hand, kept.with_hand and kept.with_location)
        sides = {bone_map.side_of(name) for name in bones}
        rigs = [rig for rig in chosen_hands(context, self.hands) if rig.side in sides]
        if not rigs:
            raise RequestError("The bone map has no bone of the captured hands' sides.")
        count = sum(live.follow(rig, target, bones, settings) for rig in rigs)
        return f"{count} bones of {target.name} follow" + self._reach(target, bones, rigs, settings)

    def _reach(
        self,
        target: bpy.types.Object,
        bones: BoneMap,
        rigs: Sequence[HandRig],
        settings: live.RetargetSettings,
    ) -> str:
        """A note about frames in which the arms are too short."""
        found = [
            (rig, arms.arm_of(target, bones.get(f"hand{bone_map.SUFFIXES[rig.side]}", ""))) for rig in rigs
        ]
        far = sum(arms.out_of_reach(rig, arm) for rig, arm in found if arm is not None)
        if not settings.with_location or not far:
            return ""
        return f"; out of the arms' reach {far} times: place the shot nearer"


class DUOHAND_OT_place_at_armature(OnArmature, bpy.types.Operator):
    """Put the shot in front of the character's chest, facing the same way, scaled to its arms"""

    bl_idname = "duohand.place_at_armature"
    bl_label = "Place Shot at Armature"

    def work(self, context: bpy.types.Context, target: bpy.types.Object) -> str:
        kept: Any = context.scene.duohand_retarget
        shot = active_shot(context)
        if shot.duohand.own_camera:
            raise RequestError("The shot is parented to the scene's camera and moves only with it.")
        scale = arms.place_at(shot, hand_rigs(shot), target, find_map(target, kept.preset, kept.bone_map()))
        return f"Placed before {target.name} at scale {scale:.2f}"


class DUOHAND_OT_bake_retarget(OnArmature, bpy.types.Operator):
    """Key the constrained bones on every frame of the scene's range, and remove the constraints"""

    bl_idname = "duohand.bake_retarget"
    bl_label = "Bake"
    bl_options = {"REGISTER", "UNDO"}

    def work(self, context: bpy.types.Context, target: bpy.types.Object) -> str:
        scene = context.scene
        frames = range(scene.frame_start, scene.frame_end + 1)
        baked = live.bake(scene, target, frames)
        text = f"{baked.bones} bones of {target.name} keyed on {len(frames)} frames"
        if not baked.off:
            return text
        bone, reason = next(iter(baked.off.items()))
        off = f"{len(baked.off)} bones show another motion than was keyed: {reason} changes {bone}."
        report(self, "INFO", text)
        report(self, "WARNING", off)  # last, because the status bar shows the last one
        return ""


class DUOHAND_OT_release_retarget(OnArmature, bpy.types.Operator):
    """Remove the constraints from the armature's bones, without keys"""

    bl_idname = "duohand.release_retarget"
    bl_label = "Clear Constraints"
    bl_options = {"REGISTER", "UNDO"}

    def work(self, _context: bpy.types.Context, target: bpy.types.Object) -> str:
        bones = live.following(target)
        live.release(target, bones)
        return f"{len(bones)} bones of {target.name} are free again"


class DUOHAND_OT_find_bones(OnArmature, bpy.types.Operator):
    """Fill the bone map from the chosen preset, to check and correct it"""

    bl_idname = "duohand.find_bones"
    bl_label = "Find Bones"
    bl_options = {"REGISTER", "UNDO"}

    def work(self, context: bpy.types.Context, target: bpy.types.Object) -> str:
        kept: Any = context.scene.duohand_retarget
        found = find_map(target, kept.preset, kept.bone_map())
        kept.set_map(found)
        return f"{len(found)} bones found"


class DUOHAND_OT_save_bone_map(OnArmature, bpy.types.Operator, ExportHelper):
    """Save the bone map to a file"""

    bl_idname = "duohand.save_bone_map"
    bl_label = "Save Map"
    bl_options = {"REGISTER"}

    filename_ext = ".json"

    def work(self, context: bpy.types.Context, _target: bpy.types.Object) -> str:
        path = Path(absolute(self.filepath))
        bone_map.save_map(path, context.scene.duohand_retarget.bone_map())
        return f"Wrote {path}"


class DUOHAND_OT_load_bone_map(OnArmature, bpy.types.Operator, ImportHelper):
    """Load a bone map from a file"""

    bl_idname = "duohand.load_bone_map"
    bl_label = "Load Map"
    bl_options = {"REGISTER", "UNDO"}

    filename_ext = ".json"

    def work(self, context: bpy.types.Context, _target: bpy.types.Object) -> str:
        kept: Any = context.scene.duohand_retarget
        kept.set_map(bone_map.load_map(Path(absolute(self.filepath))))
        kept.preset = "MAP"
        return f"{len(kept.pairs)} bones mapped"


CLASSES = (
    DUOHAND_OT_retarget,
    DUOHAND_OT_place_at_armature,
    DUOHAND_OT_bake_retarget,
    DUOHAND_OT_release_retarget,
    DUOHAND_OT_find_bones,
    DUOHAND_OT_save_bone_map,
    DUOHAND_OT_load_bone_map,
)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
