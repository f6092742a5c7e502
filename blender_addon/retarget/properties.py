# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene's retargeting settings: the other armature and its bone map."""

from typing import Any

import bpy
from bpy.props import BoolProperty, CollectionProperty, EnumProperty, PointerProperty, StringProperty

from .bone_map import BoneMap

PRESET_ITEMS = (
    ("GUESS", "By Name", "Guess from the bones' names"),
    ("RIGIFY", "Rigify", "The control rig that Rigify generates"),
    ("MIXAMO", "Mixamo", "Characters from Mixamo"),
    ("METAHUMAN", "MetaHuman", "MetaHuman bodies"),
    ("VRM1", "VRM 1.0", "VRM 1.0 and Godot humanoids"),
    ("AUTORIG", "Auto-Rig Pro", "The control rig of Auto-Rig Pro"),
    ("BIPED", "3ds Max Biped", "Bip01 and Bip001 skeletons"),
    ("VALVE", "ValveBiped", "Source Engine skeletons"),
    ("MPFB", "MPFB / MakeHuman", "MakeHuman's default rig"),
    ("MBLAB", "MB-Lab", "MB-Lab and ManuelBastioni characters"),
    ("MMD", "MMD", "MikuMikuDance models as imported by mmd_tools"),
    ("ROKOKO", "Rokoko", "Rokoko's skeleton"),
    ("UNREAL", "Unreal Mannequin", "Unreal's mannequins and characters with the same skeleton"),
    ("VRM", "VRM 0.x", "VRoid and other VRM characters"),
    ("SMPLX", "SMPL-X", "Bodies of the SMPL-X family"),
    ("MAP", "Edited Map", "The map in the panel"),
)


SIDES_SHOWN = (("LEFT", "Left", "The left hand's bones"), ("RIGHT", "Right", "The right hand's bones"))


def _is_other_armature(_retarget: Any, thing: bpy.types.Object) -> bool:
    return thing.type == "ARMATURE" and thing.duohand.side == "NONE"


class DUOHAND_PG_bone_pair(bpy.types.PropertyGroup):
    """One bone of a hand and the other armature's bone."""

    name: StringProperty(name="Hand's Bone", description="Bone of the captured hand")
    bone: StringProperty(name="Bone", description="Bone of the other armature; none if empty")


class DUOHAND_PG_retarget(bpy.types.PropertyGroup):
    """The Retarget panel's values."""

    target: PointerProperty(
        name="Armature",
        description="The armature whose hands follow",
        type=bpy.types.Object,
        poll=_is_other_armature,
    )
    preset: EnumProperty(name="Bones", description="How its bones are named", items=PRESET_ITEMS)
    with_hand: BoolProperty(
        name="Turn the Hands",
        description="Drive the hands' rotation too, not only the fingers",
        default=True,
    )
    with_location: BoolProperty(
        name="Move the Hands",
        description="Drive the hands' location too, for hand controls that may move",
        default=False,
    )
    pairs: CollectionProperty(type=DUOHAND_PG_bone_pair)
    side: EnumProperty(name="Side", description="The side whose bones are listed", items=SIDES_SHOWN)

    def set_map(self, bones: BoneMap) -> None:
        """Show this map in the panel."""
        self.pairs.clear()
        for name, bone in bones.items():
            pair = self.pairs.add()
            pair.name, pair.bone = name, bone

    def bone_map(self) -> BoneMap:
        """The map as shown in the panel."""
        return {pair.name: pair.bone for pair in self.pairs if pair.bone}


CLASSES = (DUOHAND_PG_bone_pair, DUOHAND_PG_retarget)
_register_classes, _unregister_classes = bpy.utils.register_classes_factory(CLASSES)


def register() -> None:
    _register_classes()
    bpy.types.Scene.duohand_retarget = PointerProperty(type=DUOHAND_PG_retarget)


def unregister() -> None:
    del bpy.types.Scene.duohand_retarget
    _unregister_classes()
