# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the scene back into a take, as displayed: edits, constraints and layers included."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import bpy
import numpy as np

from inference_core.shared.presence import ABSENT
from inference_core.shared.take import Take

from ..scene import fcurves, hand_keys, motion, shot
from ..scene.absences import without_raw_of_absent
from ..scene.axes import CAMERA_FROM_BLENDER_CAMERA, Floats, poses_from_camera_matrices
from ..scene.hand_channels import hand_channels
from ..scene.hand_curves import check_bones
from ..scene.rest_bones import bone_names
from ..scene.stage import stage


def read_take(scene: bpy.types.Scene, collection: bpy.types.Collection, base: Take) -> Take:
    """The take `base` with the shot's displayed motion, at the base's own times.

    The base is the take that the shot was loaded from: its landmarks, shape and raw motion stay. Presence is read
    from the hand's presence curve, confidence from its confidence curve.
    """
    frames = shot.shot_timing(collection).scene_frames(base.time_s, base.frame)
    hands = shot.armatures(collection)
    for side, hand in hands.items():
        check_bones(hand, bone_names(side))
    cameras, bones = _sampled(scene, collection.duohand.camera, hands, frames)
    scale = collection.duohand.scale
    arrays = {
        name: getattr(base, name).copy()
        for name in ("present", "confidence", "root_wxyz", "pose_wxyz", "wrist_cam_m", "joints_cam_m")
    }
    for side, seen_m in bones.items():
        poses, joints_m = _hand(base, side, hands[side], _in_camera(cameras, seen_m, scale))
        present, confidence = _presence(hands[side], frames, base, side)
        there = present != ABSENT
        arrays["present"][:, side], arrays["confidence"][:, side] = present, confidence
        for name, value in (
            ("root_wxyz", poses.root_wxyz),
            ("pose_wxyz", poses.pose_wxyz),
            ("wrist_cam_m", poses.wrist_cam_m),
            ("joints_cam_m", joints_m),
        ):
            shape = (-1,) + (1,) * (value.ndim - 1)
            arrays[name][:, side] = np.where(there.reshape(shape), value, np.nan)
    for side in {0, 1} - set(bones):
        _forget(arrays, side)
    if not collection.duohand.own_camera and collection.duohand.camera is not None:
        carrier = collection.duohand.place
        place = np.eye(4) if carrier is None else np.array(carrier.matrix_world)  # deleted, the hands stay
        arrays["T_world_cam"] = poses_from_camera_matrices(np.linalg.inv(place) @ cameras, scale)
    return without_raw_of_absent(replace(base, **arrays), base)


def _sampled(
    scene: bpy.types.Scene, camera: Any, hands: Mapping[int, Any], frames: Floats
) -> tuple[Floats, dict[int, Floats]]:
    """World matrices at the frames: of the camera (T, 4, 4), and of each side's bones (T, 16, 4, 4)."""
    cameras = np.tile(np.eye(4), (len(frames), 1, 1))
    bones = {side: np.empty((len(frames), 16, 4, 4)) for side in hands}
    things = [*hands.values(), *([camera] if camera is not None else [])]
    if not things:
        return cameras, bones
    order = {side: [hand.pose.bones.find(name) for name in bone_names(side)] for side, hand in hands.items()}
    with stage(scene, "Duohand", things) as alone:
        graph = alone.view_layers[0].depsgraph
        for row, frame in enumerate(frames):
            whole = int(np.floor(frame))
            alone.frame_set(whole, subframe=float(frame) - whole)
            if camera is not None:
                cameras[row] = camera.evaluated_get(graph).matrix_world
            for side, hand in hands.items():
                shown = hand.evaluated_get(graph)
                in_armature = _pose_matrices(shown.pose.bones)[order[side]]
                bones[side][row] = np.array(shown.matrix_world) @ in_armature
    return cameras, bones


def _pose_matrices(pose_bones: Any) -> Floats:
    """(N, 4, 4) of all pose bones; Blender stores matrices by column."""
    flat = np.empty(16 * len(pose_bones), np.float32)
    pose_bones.foreach_get("matrix", flat)
    return flat.reshape(-1, 4, 4).transpose(0, 2, 1).astype(np.float64)


def _in_camera(cameras: Floats, bones: Floats, scale: float) -> Floats:
    """Bones (T, 16, 4, 4) from Blender's world into OpenCV's camera axes and metres."""
    seen = np.linalg.inv(cameras)[:, None] @ bones
    seen[..., :3, :] = CAMERA_FROM_BLENDER_CAMERA @ seen[..., :3, :]
    seen[..., :3, 3] /= scale
    return seen


def _hand(
    base: Take, side: int, armature: bpy.types.Object, bones_cam: Floats
) -> tuple[motion.HandPoses, Floats]:
    rest = np.array([np.array(armature.data.bones[name].matrix_local)[:3, :3] for name in bone_names(side)])
    poses = motion.hand_poses(bones_cam, rest)
    return poses, motion.joints_21(base, side, bones_cam, poses)


def _presence(
    armature: bpy.types.Object, frames: Floats, base: Take, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """presence (T,) and confidence (T,) from their curves; the base's own if the curves are gone."""
    channels = hand_channels(armature)
    curves = (
        [channels.fcurves.find(path) for path in (hand_keys.PRESENCE, hand_keys.CONFIDENCE)]
        if channels
        else []
    )
    if len(curves) < 2 or None in curves:
        return base.present[:, side], base.confidence[:, side]
    # A constant curve steps at its key: rounding must not fall short of it.
    present = np.round(fcurves.sample(curves[:1], frames + 1e-3)[:, 0]).astype(np.uint8)
    confidence = np.clip(fcurves.sample(curves[1:], frames)[:, 0], 0, 1)
    return present, np.where(present == ABSENT, 0, confidence)


def _forget(arrays: dict[str, np.ndarray], side: int) -> None:
    """Mark the side absent throughout: its armature has been deleted."""
    arrays["present"][:, side], arrays["confidence"][:, side] = ABSENT, 0
    for name in ("root_wxyz", "pose_wxyz", "wrist_cam_m", "joints_cam_m"):
        arrays[name][:, side] = np.nan
