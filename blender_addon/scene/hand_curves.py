# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads and writes a hand's curves as a HandTrack, for all clean-up operators."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from inference_core.shared import quaternions
from inference_core.shared.errors import RequestError
from inference_core.shared.presence import ABSENT, FILLED, SEEN

from . import fcurves, hand_keys, shot
from .changed_keys import Part, changed, frames_apart
from .fcurves import BREAKDOWN, CONSTANT, KEYFRAME, Channels
from .hand_channels import copied_in_strips, hand_channels
from .motion import quaternions_from_eulers
from .rest_bones import bone_names
from .track import Flags, Floats, HandTrack, inside, led_to, merged, rows_of
from .unkeyed import unkeyed_kept

_MOTION = ("location", "rotation_quaternion", "rotation_euler")


@dataclass(frozen=True)
class HandRig:
    """A hand's armature in its shot: side 0 left, 1 right."""

    armature: bpy.types.Object
    shot: bpy.types.Collection
    side: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sixteen bones in MANO's order."""
        return bone_names(self.side)

    @property
    def rotation_mode(self) -> str:
        """How the bones' rotations are keyed."""
        return self.armature.pose.bones[self.names[0]].rotation_mode


@dataclass(frozen=True)
class Wrist:
    """Wrist of a hand on K frames: frames (K,), location (K, 3), rotation_wxyz (K, 4), confidence (K,), present (K,).

    If the hand is absent between two of its frames, one ABSENT frame between them has NaN for its motion.
    """

    frames: Floats
    location: Floats
    rotation_wxyz: Floats
    confidence: Floats
    present: NDArray[np.integer]


def channels_to_write(armature: bpy.types.Object, names: tuple[str, ...]) -> Channels:
    """The hand's curves, cleared of its old motion but for what will be keyed anew or is locked; the animator's own
    curves stay.

    An action that is linked, kept by a fake user or also moves something else does not change; a copy is written.
    """
    channels = hand_channels(armature)
    if channels is None:
        return fcurves.assign_new_action(armature, armature.name)
    if not channels.action.is_editable or channels.action.use_fake_user:
        channels = fcurves.assign_copy(armature, channels)
    channels = own_channels(armature, channels)
    mode = armature.pose.bones[names[0]].rotation_mode
    rewritten = {hand_keys.location_path(names[0]), *(hand_keys.rotation_path(name, mode) for name in names)}
    kept = rewritten | {curve.data_path for curve in channels.fcurves if fcurves.is_locked(curve)}
    for curve in list(channels.fcurves):
        if _moves(curve, names) and curve.data_path not in kept:
            channels.fcurves.remove(curve)
    return channels


def hand_rigs(collection: bpy.types.Collection) -> list[HandRig]:
    """The shot's hands with motion."""
    rigs = [HandRig(item, collection, side) for side, item in shot.armatures(collection).items()]
    found = [rig for rig in rigs if hand_channels(rig.armature) is not None]
    for rig in found:
        check_bones(rig.armature, rig.names)
    return found


def check_bones(armature: bpy.types.Object, names: tuple[str, ...]) -> None:
    """Raise a RequestError if bones that the take moves are gone or have other names."""
    gone = [name for name in names if name not in armature.pose.bones]
    if gone:
        raise RequestError(
            f"{armature.name} has no bone {gone[0]}. Give the bone its name back, or load the take again."
        )


def rig_of(scene: bpy.types.Scene, name: str) -> HandRig | None:
    """The hand whose armature has that name; None if the scene's shots have none."""
    rigs = (
        HandRig(item, found, side)
        for found in shot.shots(scene)
        for side, item in shot.armatures(found).items()
    )
    return next((rig for rig in rigs if rig.armature.name == name), None)


def read_track(rig: HandRig) -> HandTrack:
    """The hand's currently keyed motion, on the frames of the take; RequestError if the curves are gone."""
    channels = hand_channels(rig.armature)
    confidence = fcurves.read_keys(channels, hand_keys.CONFIDENCE, 1) if channels else None
    if channels is None or confidence is None:
        raise RequestError(
            f"{rig.armature.name} has no captured motion: its action has no confidence curve. "
            "Make the action that the take was loaded into the active one, or load the take again."
        )
    presence = channels.fcurves.find(hand_keys.PRESENCE)
    frames = confidence.frames
    return _track(rig, channels, frames, confidence.values[:, 0], presence)


def read_wrist(rig: HandRig, around: float | None = None, reach: int = 0) -> Wrist | None:
    """The keys of the hand's wrist, or those within some frames of `around`; None if it has no take's motion."""
    channels = hand_channels(rig.armature)
    confidence = fcurves.read_keys(channels, hand_keys.CONFIDENCE, 1) if channels else None
    presence = channels.fcurves.find(hand_keys.PRESENCE) if channels else None
    if channels is None or confidence is None or presence is None:
        return None
    rows = slice(None)
    if around is not None:
        nearest = int(np.searchsorted(confidence.frames, around))
        rows = slice(max(nearest - reach, 0), nearest + reach + 1)
    frames = confidence.frames[rows]
    location = _values(channels, hand_keys.location_path(rig.names[0]), 3, frames)
    turns = _rotations(rig, channels, rig.armature.pose.bones[rig.names[0]], frames)
    present = np.round(fcurves.sample([presence], frames + 1e-3)[:, 0]).astype(int)
    found = Wrist(frames, location, turns, confidence.values[rows, 0], present)
    between = np.round(fcurves.sample([presence], (frames[:-1] + frames[1:]) / 2)[:, 0])
    away = np.flatnonzero(between == ABSENT) + 1
    return _with_absences(found, away) if len(away) else found


def read_raw_track(rig: HandRig, solved: HandTrack) -> HandTrack:
    """The hand's motion before the solve, on the frames of `solved`; the solved motion where there is none."""
    action = rig.armature.duohand.raw_action
    if action is None:
        raise RequestError(f"{rig.armature.name} has no raw motion. Load its take again.")
    channels = fcurves.channels_of(action, rig.armature)
    location = fcurves.read_keys(channels, hand_keys.location_path(rig.names[0]), 3)
    if location is None:
        raise RequestError(f"{rig.armature.name} has no raw motion. Load its take again.")
    known = np.isin(solved.frames, location.frames)
    if not known.any():
        return solved
    raw = _track(rig, channels, solved.frames[known], solved.confidence[known], None)
    return merged(raw, solved)


def write_tracks(tracks: Sequence[tuple[HandRig, HandTrack]], everywhere: bool = False) -> None:
    """Key each hand's track where it differs from the hand's motion, except in locked ranges.

    Other keys stay as they are. everywhere: key every frame of the track; keys beside its frames stay. RequestError if
    the curves of one hand are linked or locked: then none changes.
    """
    check_writable([rig for rig, _ in tracks])
    with unkeyed_kept(bpy.context.scene, [rig.armature for rig, _ in tracks]):
        for rig, track in tracks:
            wanted = _with(rig, track, locked_motion(rig))
            _key(rig, editable_channels(rig), wanted, None if everywhere else read_track(rig))


def locked_motion(rig: HandRig) -> HandTrack | None:
    """The current motion in the ranges that the user locked; None if nothing is locked."""
    if not rig.armature.duohand.locked or hand_channels(rig.armature) is None:
        return None
    now = read_track(rig)
    rows = locked_rows(rig, now)
    return rows_of(now, rows) if rows.any() else None


def locked_rows(rig: HandRig, track: HandTrack) -> Flags:
    """(K,) which of the track's frames are in locked ranges."""
    rows = np.zeros(len(track.frames), bool)
    for item in rig.armature.duohand.locked:
        rows |= inside(track, item.first, item.last)
    return rows


def put_back(rig: HandRig, kept: HandTrack) -> None:
    """Key motion that was locked again, over what has been keyed since; locked curves stay as they are."""
    channels = hand_channels(rig.armature)
    if channels is not None:
        now = read_track(rig)
        _key(rig, channels, _with(rig, now, kept), now)


def check_writable(rigs: Sequence[HandRig]) -> None:
    """Raise a RequestError if the curves of one of the hands are missing, linked or locked."""
    for rig in rigs:
        _writable_channels(rig)


def editable_channels(rig: HandRig) -> Channels:
    """The hand's own curves, copied first if they also move something else; RequestError if there are none, or they
    are linked or locked.
    """
    return own_channels(rig.armature, _writable_channels(rig))


def _writable_channels(rig: HandRig) -> Channels:
    channels = hand_channels(rig.armature)
    if channels is None:
        raise RequestError(f"{rig.armature.name} has no action to key. Load its take again.")
    if not channels.action.is_editable or not rig.armature.is_editable:
        raise RequestError(
            f"The motion of {rig.armature.name} is linked from another file. Change it there, or make it local."
        )
    check_unlocked(rig)
    return channels


def check_unlocked(rig: HandRig) -> None:
    """Raise a RequestError if a curve that captured motion is keyed on is locked in the Graph Editor."""
    channels = hand_channels(rig.armature)
    if channels is not None:
        fcurves.check_unlocked(rig.armature, channels, moving_paths(channels, rig.names))


def own_channels(armature: bpy.types.Object, channels: Channels) -> Channels:
    """The hand's curves, as a copy if they also move something else, which then stays as it is."""
    data: Any = armature.animation_data
    if data.use_tweak_mode or not fcurves.moves_others(channels, (armature,)):
        return channels
    if data.action == channels.action:
        return fcurves.assign_copy(armature, channels)
    return copied_in_strips(armature, channels)


def moving_paths(channels: Channels, names: tuple[str, ...]) -> set[str]:
    """Paths of the hand's curves that captured motion is keyed on."""
    return {curve.data_path for curve in channels.fcurves if _moves(curve, names)}


def _moves(curve: bpy.types.FCurve, names: tuple[str, ...]) -> bool:
    """Whether the curve is one that captured motion is keyed on."""
    bone = next((name for name in names if curve.data_path.startswith(f'pose.bones["{name}"].')), None)
    return bone is not None and curve.data_path.rpartition(".")[2] in _MOTION


def _with_absences(wrist: Wrist, at: NDArray[np.integer]) -> Wrist:
    """The wrist with an absent frame inserted before each of the rows `at`."""
    return Wrist(
        np.insert(wrist.frames, at, (wrist.frames[at - 1] + wrist.frames[at]) / 2),
        np.insert(wrist.location, at, np.nan, axis=0),
        np.insert(wrist.rotation_wxyz, at, np.nan, axis=0),
        np.insert(wrist.confidence, at, 0.0),
        np.insert(wrist.present, at, ABSENT),
    )


def key_track(rig: HandRig, track: HandTrack) -> None:
    """Key the track on every one of its frames; RequestError if the curves are linked or locked."""
    _key(rig, editable_channels(rig), track, None)


def _key(rig: HandRig, channels: Channels, track: HandTrack, before: HandTrack | None) -> None:
    """Key the track where it differs from the one `before`; None: everywhere."""
    kinds = np.where(track.filled, BREAKDOWN, KEYFRAME).astype(np.int32)
    keys = fcurves.dense_keys(track.frames, track.location, kinds)
    keys.interpolation[:-1][track.apart_after[:-1]] = CONSTANT
    turns = hand_keys.rotation_keys(keys, track.rotations_wxyz, rig.rotation_mode)
    paths = [hand_keys.rotation_path(name, rig.rotation_mode) for name in rig.names]
    wanted = [
        (hand_keys.location_path(rig.names[0]), rig.names[0], keys),
        *zip(paths, rig.names, turns, strict=True),
    ]
    whole, apart = _span(channels, track), None if before is None else frames_apart(before, track)
    for path, name, values in wanted:
        part = Part(values, whole) if apart is None else changed(channels, path, values, apart)
        if part is not None:
            fcurves.write_keys(channels, path, name, part.keys, part.span)
    _write_presence(rig, channels, track)


def _span(channels: Channels, track: HandTrack) -> tuple[float, float]:
    """First and last frame of the take's motion, as it was keyed and as it will be."""
    before = fcurves.read_keys(channels, hand_keys.CONFIDENCE, 1)
    frames = track.frames if before is None else np.concatenate([track.frames, before.frames])
    return float(frames.min()), float(frames.max())


def _track(
    rig: HandRig, channels: Channels, frames: Floats, confidence: Floats, presence: bpy.types.FCurve | None
) -> HandTrack:
    location = _values(channels, hand_keys.location_path(rig.names[0]), 3, frames)
    turns = np.stack(
        [_rotations(rig, channels, rig.armature.pose.bones[name], frames) for name in rig.names], 1
    )
    filled, away = np.zeros(len(frames), bool), np.zeros(len(frames), bool)
    if presence is not None and len(frames):
        state = np.round(fcurves.sample([presence], frames + 1e-3)[:, 0])
        filled = state == FILLED
        between = (frames[:-1] + frames[1:]) / 2
        away[:-1] = np.round(fcurves.sample([presence], between)[:, 0]) == ABSENT
    cuts = shot.cut_frames(rig.shot) + shot.later(channels.action)
    return HandTrack(frames, location, quaternions.continuous(turns), filled, confidence, away, cuts)


def _rotations(rig: HandRig, channels: Channels, bone: bpy.types.PoseBone, frames: Floats) -> Floats:
    """Rotations (K, 4) of a bone, however they are keyed."""
    path = hand_keys.rotation_path(bone.name, rig.rotation_mode)
    if rig.rotation_mode == hand_keys.QUATERNION:
        return quaternions.normalized(_values(channels, path, 4, frames))
    angles = _values(channels, path, 3, frames)
    return quaternions_from_eulers(angles, rig.rotation_mode)


def _values(channels: Channels, path: str, count: int, frames: Floats) -> Floats:
    """Values (K, count) of a path's curves at the frames, read in bulk if these are its keys."""
    keys = fcurves.read_keys(channels, path, count)
    if keys is None:
        raise RequestError(f"The curve {path} is gone from {channels.action.name}. Load the take again.")
    rows = np.searchsorted(keys.frames, frames).clip(max=len(keys.frames) - 1)
    if np.array_equal(keys.frames[rows], frames):
        return keys.values[rows]
    return fcurves.sample_keys([channels.fcurves.find(path, index=index) for index in range(count)], frames)


def _with(rig: HandRig, track: HandTrack, kept: HandTrack | None) -> HandTrack:
    """The track with `kept` in the ranges that the user locked."""
    if kept is None:
        return track
    free = ~locked_rows(rig, track)
    track = led_to(track, kept, max((item.blend for item in rig.armature.duohand.locked), default=0))
    return merged(kept, rows_of(track, free)) if free.any() else kept


def show_where_present(rig: HandRig) -> None:
    """Let the hand's skin be seen where its motion is there, and nowhere else."""
    if rig.armature.duohand.skin is not None:
        at, present, _ = _presence(rig, read_track(rig))
        hand_keys.write_visibility(rig.armature.duohand.skin, present, at)


def _write_presence(rig: HandRig, channels: Channels, track: HandTrack) -> None:
    """Write the track's confidence, presence and skin visibility; the hand is absent
    before, between and after its frames.
    """
    at, present, confidence = _presence(rig, track)
    hand_keys.write_confidence(channels, rig.armature, confidence, present, at)
    if rig.armature.duohand.skin is not None:
        hand_keys.write_visibility(rig.armature.duohand.skin, present, at)


def _presence(rig: HandRig, track: HandTrack) -> tuple[Floats, NDArray[np.integer], Floats]:
    """Frames (N,), what the hand is from each of them on (N,), and its confidence (N,)."""
    start = shot.shot_timing(rig.shot).start_frame
    frames, states = [float(start)], [ABSENT]
    for row, frame in enumerate(track.frames):
        frames.append(float(frame))
        states.append(FILLED if track.filled[row] else SEEN)
        if track.absent_after[row]:
            frames.append(float(frame) + track.spacing)
            states.append(ABSENT)
    at, last = np.unique(frames[::-1], return_index=True)
    present = np.array(states[::-1], np.uint8)[last]
    return at, present, np.interp(at, track.frames, track.confidence)
