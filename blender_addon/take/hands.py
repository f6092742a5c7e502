# SPDX-License-Identifier: GPL-3.0-or-later
"""A take's hand in its shot: armature, keys and skin."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final

import bpy
import numpy as np

from inference_core.shared.take import Take

from ..scene import (
    fcurves,
    hand_curves,
    hand_keys,
    hand_mesh,
    hand_rig,
    loaded_motion,
    loaded_skin,
    motion,
    shot,
)
from ..scene.axes import Floats
from ..scene.rest_bones import bone_names, rest_bones, side_name
from .settings import Layout

_USUAL_SMOOTHING: Final = 0.5


@dataclass(frozen=True)
class _Hand:
    """A take's hand on its armature, whose bones have those names and, at rest, those axes (16, 3, 3).

    frames (T,): the scene frame of each of the take's.
    """

    take: Take
    side: int
    armature: Any
    frames: Floats
    layout: Layout
    names: tuple[str, ...]
    rest_frames: Floats


def set_hand(
    collection: bpy.types.Collection, take: Take, side: int, frames: Floats, layout: Layout
) -> Generator[None, None, bpy.types.Object]:
    """The hand's armature, made or brought up to date step by step; its locked ranges keep their motion.

    frames (T,): the scene frame of each of the take's.
    """
    bones = rest_bones(take, side, layout.scale)
    armature: Any = shot.hand_armature(collection, side)
    armature.duohand.smoothing.clear()
    armature.duohand.solved_smoothing = _solved_smoothing(take)
    rig = hand_curves.HandRig(armature, collection, side)
    kept = hand_curves.locked_motion(rig)
    if not hand_rig.fits(armature.data, bones):
        old = armature.data
        armature.data = hand_rig.refitted(old, bones, side)
        fcurves.remove_if_unused(old)
        armature.data.name = armature.name
        yield
    rest_frames = hand_rig.rest_frames(armature.data, bones.names)
    for name in bones.names:
        armature.pose.bones[name].rotation_mode = layout.rotation_mode
    yield
    hand = _Hand(take, side, armature, frames, layout, bones.names, rest_frames)
    yield from _set_keys(hand)
    yield from _set_raw_keys(hand)
    skin = yield from _set_skin(hand, collection)
    hand_keys.write_visibility(skin, take.present[:, side], frames)
    if kept is not None:
        hand_curves.put_back(rig, kept)
    loaded_motion.remember(armature, side)
    loaded_motion.remember_raw(armature)
    return armature


def order_advice(take: Take, rigs: dict[int, bpy.types.Object], layout: Layout) -> list[str]:
    """A line for each hand that another rotation order could represent with far fewer keys."""
    said: list[str] = []
    for side, armature in rigs.items():
        names = bone_names(side)
        data: Any = armature.data
        turns = motion.solved_motion(
            take, side, hand_rig.rest_frames(data, names), layout.scale
        ).rotations_wxyz
        better = motion.better_order(turns, layout.rotation_mode)
        if better is not None:
            order, fewest, strays = better
            said.append(
                f"{armature.name}: {strays} spans between frames need keys of their own in {layout.rotation_mode}; in "
                f"{order} only {fewest}. Load the take with Rotation {order} Euler."
            )
    return said


def _solved_smoothing(take: Take) -> float:
    """The smoothing that the take was solved with, 0..1; the default if it does not say."""
    settings = take.meta.get("settings")
    strength = settings.get("smooth") if isinstance(settings, dict) else None
    return float(strength) if isinstance(strength, (int, float)) else _USUAL_SMOOTHING


def _set_keys(hand: _Hand) -> Generator[None]:
    take, side = hand.take, hand.side
    channels = hand_curves.channels_to_write(hand.armature, hand.names)
    solved = motion.solved_motion(take, side, hand.rest_frames, hand.layout.scale)
    yield
    yield from hand_keys.motion_steps(channels, hand.names, solved, hand.frames, hand.layout.rotation_mode)
    confidence, present = take.confidence[:, side], take.present[:, side]
    hand_keys.write_confidence(channels, hand.armature, confidence, present, hand.frames)
    hand_keys.write_probabilities(channels, hand.armature, take, side, hand.frames)


def _set_raw_keys(hand: _Hand) -> Generator[None]:
    kept, name = hand.armature.duohand, f"{hand.armature.name} raw"
    old = kept.raw_action
    raw = motion.raw_motion(hand.take, hand.side, hand.rest_frames, hand.layout.scale)
    if len(raw.rows) == 0:
        return
    channels = fcurves.new_action(hand.armature, name)
    yield
    yield from hand_keys.motion_steps(channels, hand.names, raw, hand.frames, hand.layout.rotation_mode)
    fcurves.play_in_strips(hand.armature, channels, old, hand_keys.RAW_TRACK)
    kept.raw_action = channels.action
    fcurves.remove_if_unused(old)
    channels.action.name = name


def _set_skin(hand: _Hand, collection: bpy.types.Collection) -> Generator[None, None, bpy.types.Object]:
    take, side, scale, kept = hand.take, hand.side, hand.layout.scale, hand.armature.duohand
    name = f"{collection.name} {side_name(side)} skin"
    skin = kept.skin or _left_skin(collection, hand.names)
    is_new = skin is None or not hand_mesh.fits(skin.data, take, side)
    if is_new:
        mesh = hand_mesh.mesh_from_take(name, take, side, scale)
    elif skin.data.users > 1 or not skin.data.is_editable:
        mesh = skin.data.copy()
        mesh.use_fake_user, mesh.name = False, name
    else:
        mesh = skin.data
    if skin is None:
        skin = bpy.data.objects.new(name, mesh)
        collection.objects.link(skin)
    elif skin.data != mesh:
        old = skin.data
        if is_new:
            hand_mesh.take_over(mesh, old)
        skin.data = mesh
        fcurves.remove_if_unused(old)
        mesh.name = name
    kept.skin = skin
    if not is_new:
        hand_mesh.move_to(mesh, take, side, scale)
    yield
    hand_mesh.bind(skin, hand.armature, hand.names, np.asarray(take.skin_weights[side]))
    yield
    keys = hand_mesh.take_correctives(take, side, hand.rest_frames, scale) if hand.layout.correctives else []
    yield
    hand_mesh.set_correctives(skin, hand.armature, hand.names, keys)
    yield
    loaded_skin.remember(skin, hand.names, is_new)
    return skin


def _left_skin(collection: bpy.types.Collection, names: tuple[str, ...]) -> Any:
    """The skin that a deleted armature with those bones left in the shot; None if there is none."""
    for thing in collection.objects:
        deformers = [item.object for item in thing.modifiers if item.type == "ARMATURE"]
        if thing.type == "MESH" and deformers == [None] and names[0] in thing.vertex_groups:
            return thing
    return None
