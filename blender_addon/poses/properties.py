# SPDX-License-Identifier: GPL-3.0-or-later
"""The Poses panel's values: the pose to apply, and how it fades in and out."""

from typing import Any

import bpy
from bpy.props import BoolProperty, IntProperty, PointerProperty

from .pose_assets import holds_hand


def _is_pose_of_hand(_settings: Any, action: bpy.types.Action) -> bool:
    return action.asset_data is not None and holds_hand(action)


class DUOHAND_PG_poses(bpy.types.PropertyGroup):
    """Fields of the Poses panel."""

    pose: PointerProperty(
        name="Pose",
        description="A pose asset of this file; those of other files are in the Asset Browser's context menu",
        type=bpy.types.Action,
        poll=_is_pose_of_hand,
    )
    with_wrist: BoolProperty(
        name="Wrist", description="The wrist's rotation too, not only the fingers", default=False
    )
    blend: IntProperty(
        name="Blend",
        description="Frames before and after this one over which the pose fades in and out",
        default=4,
        min=0,
        max=100,
    )


_register_classes, _unregister_classes = bpy.utils.register_classes_factory((DUOHAND_PG_poses,))


def register() -> None:
    _register_classes()
    bpy.types.Scene.duohand_poses = PointerProperty(type=DUOHAND_PG_poses)


def unregister() -> None:
    del bpy.types.Scene.duohand_poses
    _unregister_classes()
