# SPDX-License-Identifier: GPL-3.0-or-later
"""Saves a hand's pose as an asset, and applies one to a hand."""

from typing import Any

import bpy
import numpy as np
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from inference_core.shared.errors import RequestError

from ..scene.hand_curves import HandRig, editable_channels, locked_rows, read_track, write_tracks
from ..scene.paths import absolute
from ..scene.rest_bones import SIDE_SUFFIXES
from ..scene.selection import AS_SHOWN, HANDS_ITEMS, chosen_hands
from ..scene.track import inside
from ..sidebar import NeedsShot, Reports
from . import pose_assets
from .hand_pose import HandPose, posed


class _Pose(NeedsShot, Reports):
    """Base of the operators: the choice of hands, and the wrist."""

    bl_options = {"REGISTER", "UNDO"}

    hands: EnumProperty(name="Hands", description="Which hands to use", items=HANDS_ITEMS)
    with_wrist: BoolProperty(
        name="Wrist", description="The wrist's rotation too, not only the fingers", default=False
    )

    def run(self, context: bpy.types.Context) -> str:
        return self.work(context, chosen_hands(context, self.hands))

    def work(self, context: bpy.types.Context, rigs: list[HandRig]) -> str:
        raise NotImplementedError


class DUOHAND_OT_save_pose(_Pose, bpy.types.Operator):
    """Save the hand's pose on this frame to the pose library, as an asset in this file"""

    bl_idname = "duohand.save_pose"
    bl_label = "Save Hand as Pose Asset"

    pose_name: StringProperty(
        name="Name", description="The asset's name; that of the hand and the frame if empty"
    )

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> Any:
        fields: Any = context.scene.duohand_poses
        self.pose_name, self.with_wrist = "", fields.with_wrist
        return context.window_manager.invoke_props_dialog(self)

    def work(self, context: bpy.types.Context, rigs: list[HandRig]) -> str:
        graph = context.evaluated_depsgraph_get()
        saved = [
            pose_assets.save_pose(graph, rig, self._name(context, rig, len(rigs)), self.with_wrist)
            for rig in rigs
        ]
        fields: Any = context.scene.duohand_poses
        fields.pose = saved[0]
        names = ", ".join(action.name for action in saved)
        return f"Saved to the pose library: {names}"

    def _name(self, context: bpy.types.Context, rig: HandRig, count: int) -> str:
        if not self.pose_name:
            return f"{rig.armature.name} {context.scene.frame_current}"
        return self.pose_name + (SIDE_SUFFIXES[rig.side] if count > 1 else "")


class DUOHAND_OT_apply_pose(_Pose, bpy.types.Operator):
    """Apply a pose asset to the hand on this frame; a pose of the other hand is mirrored"""

    bl_idname = "duohand.apply_pose"
    bl_label = "Apply Pose"

    pose: StringProperty(name="Pose", description="The asset's name; the panel's if empty")
    library: StringProperty(
        name="Library", description="The file that holds it; this one if empty", subtype="FILE_PATH"
    )
    first: IntProperty(name="First", description="First scene frame with the pose", default=AS_SHOWN)
    last: IntProperty(name="Last", description="Last scene frame with the pose", default=AS_SHOWN)
    blend: IntProperty(
        name="Blend",
        description="Frames before and after this one over which the pose fades in and out",
        default=0,
        min=0,
        max=100,
    )

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> Any:
        fields: Any = context.scene.duohand_poses
        self.first, self.last = AS_SHOWN, AS_SHOWN
        self.with_wrist, self.blend = fields.with_wrist, fields.blend
        return self.execute(context)

    def work(self, context: bpy.types.Context, rigs: list[HandRig]) -> str:
        now = context.scene.frame_current
        self.first = now if self.first == AS_SHOWN else self.first
        self.last = max(self.first, now if self.last == AS_SHOWN else self.last)
        poses = [self._pose(context, rig).on_side(rig.side) for rig in rigs]
        for rig, pose in zip(rigs, poses, strict=True):
            self._check(rig, pose)
        write_tracks(
            [
                (rig, posed(read_track(rig), pose, self.first, self.last, self.blend))
                for rig, pose in zip(rigs, poses, strict=True)
            ]
        )
        return f"Applied {self.pose} to {', '.join(rig.armature.name for rig in rigs)}"

    def _pose(self, context: bpy.types.Context, rig: HandRig) -> HandPose:
        """The chosen pose, without the wrist if that is not to change."""
        fields: Any = context.scene.duohand_poses
        if not self.pose and fields.pose is None:
            raise RequestError("No pose is chosen. Choose one in the Poses panel, or save one first.")
        self.pose = self.pose or fields.pose.name
        if self.library:
            found = pose_assets.pose_from_library(absolute(self.library), self.pose, rig.rotation_mode)
        else:
            action = bpy.data.actions.get(self.pose)
            if action is None:
                raise RequestError(f"This file has no pose {self.pose}.")
            found = pose_assets.pose_of(action, rig.rotation_mode)
        if found is None:
            raise RequestError(f"{self.pose} keys no bone of a captured hand.")
        if self.with_wrist:
            return found
        return HandPose(found.side, found.rotations_wxyz, found.known & (np.arange(16) > 0))

    def _check(self, rig: HandRig, pose: HandPose) -> None:
        """RequestError if nothing of the pose would be visible."""
        editable_channels(rig)
        track = read_track(rig)
        rows = inside(track, self.first, self.last)
        where = f"frame {self.first}" if self.first == self.last else f"frames {self.first} to {self.last}"
        if not rows.any():
            raise RequestError(f"{rig.armature.name} is absent on {where}.")
        if locked_rows(rig, track)[rows].all():
            raise RequestError(f"{rig.armature.name} is locked on {where}. Unlock it to change it.")
        if not pose.known.any():
            raise RequestError(f"{self.pose} holds the wrist alone. Switch on Wrist to apply it.")


def _draw_in_asset_browser(menu: Any, context: Any) -> None:
    asset = getattr(context, "asset", None)
    if asset is None or asset.id_type != "ACTION":
        return
    menu.layout.separator()
    button = menu.layout.operator("duohand.apply_pose", text="Apply to Captured Hand")
    button.pose, button.library = asset.name, "" if asset.local_id else asset.full_library_path


CLASSES = (DUOHAND_OT_save_pose, DUOHAND_OT_apply_pose)
_register_classes, _unregister_classes = bpy.utils.register_classes_factory(CLASSES)


def register() -> None:
    _register_classes()
    types: Any = bpy.types
    types.ASSETBROWSER_MT_context_menu.append(_draw_in_asset_browser)


def unregister() -> None:
    types: Any = bpy.types
    types.ASSETBROWSER_MT_context_menu.remove(_draw_in_asset_browser)
    _unregister_classes()
