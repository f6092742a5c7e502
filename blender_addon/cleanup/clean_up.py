# SPDX-License-Identifier: GPL-3.0-or-later
"""The clean-up edits on a shot's hands: plain functions behind the operators, for scripts too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np

from inference_core.shared import quaternions
from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import MANO_FINGERS
from inference_core.shared.take import Take

from ..scene import hand_keys, shot
from ..scene.axes import Floats
from ..scene.camera import camera_places
from ..scene.hand_curves import HandRig, check_writable, locked_rows, read_raw_track, read_track, write_tracks
from ..scene.track import HandTrack
from . import edits, smoothing, soft_ends, tracks_of_takes
from .key_reduction import Reduction, reduce_within_angle, reduce_within_distance
from .reduced_keys import bone_rest, write_reduction

# Parts that can be redone on their own, as bones in MANO's order.
PARTS: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "HAND": tuple(range(16)),
        "WRIST": (0,),
        **{name.upper(): tuple(range(3 * k + 1, 3 * k + 4)) for k, name in enumerate(MANO_FINGERS)},
    }
)


@dataclass(frozen=True)
class Reduced:
    """The result of a key reduction: number of keys before and after, the largest error in mm and degrees."""

    before: int
    after: int
    largest_mm: float
    largest_deg: float


def hold(rigs: Sequence[HandRig], first: int, last: int, blend: int = 0) -> None:
    """Keep the pose of the range's first frame through the range, blending into the motion over `blend` frames."""
    found: list[tuple[HandRig, HandTrack]] = []
    for rig in rigs:
        now = read_track(rig)
        share = soft_ends.weights(now, edits.inside(now, first, last), blend, at_start=False)
        found.append((rig, soft_ends.mixed(now, edits.held(now, first, last), share)))
    write_tracks(found)


def delete(rigs: Sequence[HandRig], first: int, last: int) -> None:
    """Mark the hands as absent through the range."""
    found: list[tuple[HandRig, HandTrack]] = []
    for rig in rigs:
        track = edits.deleted(read_track(rig), first, last)
        if not len(track.frames):
            raise RequestError(
                f"The range holds all motion of {rig.armature.name}. Delete the armature instead."
            )
        found.append((rig, track))
    write_tracks(found)


def refill(rigs: Sequence[HandRig], first: int, last: int, blend: int = 0) -> None:
    """Fill the range from the motion on both sides of it, blending over `blend` frames."""
    found: list[tuple[HandRig, HandTrack]] = []
    for rig in rigs:
        track = read_track(rig)
        filled = edits.refilled(track, first, last)
        if filled is track:
            raise RequestError(
                f"{rig.armature.name} has no motion on both sides of frames {first} to {last}, "
                "or the footage is cut there. Choose a range inside."
            )
        if np.array_equal(filled.frames, track.frames):
            share = soft_ends.weights(track, edits.inside(track, first, last), blend)
            filled = soft_ends.mixed(
                replace(filled, location=track.location, rotations_wxyz=track.rotations_wxyz), filled, share
            )
        found.append((rig, filled))
    write_tracks(found)


def smooth(rigs: Sequence[HandRig], fps: float, strength: float, first: int, last: int) -> None:
    """Change the range's smoothing to that strength, 0 to 1; edits are kept."""
    check_writable(rigs)
    for rig in rigs:
        smoothing.smooth(rig, fps, strength, first, last)


def locked_frames(rigs: Sequence[HandRig], first: int, last: int) -> int:
    """How many frames of the range are locked; a RequestError if all of them are."""
    locked = total = 0
    for rig in rigs:
        track = read_track(rig)
        rows = edits.inside(track, first, last)
        total += int(rows.sum())
        locked += int((rows & locked_rows(rig, track)).sum())
    if total and locked == total:
        raise RequestError(f"Frames {first} to {last} are locked. Unlock them to change them.")
    return locked


def bake(rigs: Sequence[HandRig]) -> None:
    """Key every frame of the take again, with the current motion."""
    write_tracks([(rig, read_track(rig)) for rig in rigs], everywhere=True)


def swap_sides(left: HandRig, right: HandRig, first: int, last: int) -> None:
    """Give each hand the other's motion in the range, except where one of them is locked: wrists are exchanged, fingers
    mirrored.
    """
    rigs, tracks = (left, right), [read_track(rig) for rig in (left, right)]
    free = [~(locked_rows(left, track) | locked_rows(right, track)) for track in tracks]
    swapped = [edits.inside(track, first, last) & rows for track, rows in zip(tracks, free, strict=True)]
    if not any(rows.any() for rows in swapped):
        raise RequestError(f"Frames {first} to {last} are locked. Unlock them to change them.")
    carriers = [_wrist_carrier(rig) for rig in rigs]
    found: list[tuple[HandRig, HandTrack]] = []
    for own, other in ((0, 1), (1, 0)):
        chosen, kept = swapped[other], ~swapped[own]
        parts: list[HandTrack] = []
        if chosen.any():
            moved = edits.rows_of(tracks[other], chosen)
            parts.append(_on_other_hand(moved, carriers[other], carriers[own]))
        if kept.any():
            parts.append(edits.rows_of(tracks[own], kept))
        if not parts:
            raise RequestError("The range holds one hand's only motion; swapped, it would have none.")
        found.append((rigs[own], parts[0] if len(parts) == 1 else edits.merged(*parts)))
    write_tracks(found)


@dataclass(frozen=True)
class Offset:
    """Shift (3,) in world units, turn (4,) in the wrist's own axes, and world units away from the camera."""

    location: Floats
    turn_wxyz: Floats
    along_ray: float = 0.0


def offset_wrist(rigs: Sequence[HandRig], offset: Offset, first: int, last: int, blend: int = 0) -> None:
    """Move and rotate the wrists through the range, blending over `blend` frames."""
    found: list[tuple[HandRig, HandTrack]] = []
    for rig in rigs:
        track = read_track(rig)
        share = soft_ends.weights(track, edits.inside(track, first, last), blend)
        frame, _ = _wrist_carrier(rig)
        shift = np.linalg.solve(frame, offset.location) + offset.along_ray * _rays(rig, track)
        turned = track.rotations_wxyz.copy()
        turned[:, 0] = quaternions.multiply(turned[:, 0], offset.turn_wxyz)
        target = replace(track, location=track.location + shift, rotations_wxyz=turned)
        found.append((rig, soft_ends.mixed(track, target, share)))
    write_tracks(found)


def redo(
    rigs: Sequence[HandRig], part: str, source: Take | None, first: int, last: int, blend: int = 0
) -> None:
    """Give the range of a part (PARTS) the raw motion, or that of another take of the same footage."""
    found: list[tuple[HandRig, HandTrack]] = []
    for rig in rigs:
        track = read_track(rig)
        other = read_raw_track(rig, track) if source is None else tracks_of_takes.track_of(source, rig, track)
        rows = edits.inside(track, first, last) & np.isin(track.frames, other.frames)
        if not rows.any():
            raise RequestError(
                f"There is no other motion of {rig.armature.name} in frames {first} to {last}."
            )
        target = edits.filled_from(track, other)
        share = soft_ends.weights(track, rows, blend)[:, None] * np.isin(np.arange(16), PARTS[part])
        found.append((rig, soft_ends.mixed(track, target, share)))
    write_tracks(found)


def reduce_keys(
    rigs: Sequence[HandRig], max_error_mm: float | None = None, max_error_deg: float | None = None
) -> Reduced:
    """Fewest keys found within a distance (of every bone's ends) or an angle (of every bone's turn)."""
    before = after = 0
    largest_units = largest_deg = 0.0
    unit_mm = 1.0
    check_writable(rigs)
    for rig in rigs:
        if rig.rotation_mode != hand_keys.QUATERNION:
            raise RequestError(
                f"{rig.armature.name} is keyed in {rig.rotation_mode} angles. Load its take with quaternions first."
            )
    for rig in rigs:
        unit_mm = 1000.0 / rig.shot.duohand.scale
        track, rest = read_track(rig), bone_rest(rig)
        found: list[tuple[slice, Reduction]] = []
        for rows in edits.runs(track):
            motion = (track.frames[rows], track.location[rows], track.rotations_wxyz[rows], rest)
            if max_error_deg is not None:
                bound = (max_error_mm if max_error_mm is not None else 0.5) / unit_mm
                found.append((rows, reduce_within_angle(*motion, max_error_deg, bound)))
            else:
                found.append((rows, reduce_within_distance(*motion, (max_error_mm or 0.0) / unit_mm)))
        write_reduction(rig, track, found)
        before += sum(item.keys_before for _, item in found)
        after += sum(item.keys_after for _, item in found)
        largest_units = max([largest_units, *(item.largest_error_units for _, item in found)])
        largest_deg = max([largest_deg, *(item.largest_error_deg for _, item in found)])
    return Reduced(before, after, largest_units * unit_mm, largest_deg)


def lock(rigs: Sequence[HandRig], first: int, last: int, blend: int = 0) -> None:
    """Keep the range's motion when the shot is smoothed, loaded or captured again; adjacent changes are
    blended into it over `blend` frames.
    """
    _check_own(rigs)
    for rig in rigs:
        item = rig.armature.duohand.locked.add()
        item.first, item.last, item.blend = first, last, blend


def unlock(rigs: Sequence[HandRig], first: int, last: int) -> int:
    """Remove the locks that overlap the range; returns how many there were."""
    count = 0
    _check_own(rigs)
    for rig in rigs:
        locked = rig.armature.duohand.locked
        for index in reversed(range(len(locked))):
            if locked[index].first <= last and locked[index].last >= first:
                locked.remove(index)
                count += 1
    return count


def _check_own(rigs: Sequence[HandRig]) -> None:
    """RequestError if a hand is another file's, be it overridden here: its list of locks cannot change."""
    for rig in rigs:
        if not rig.armature.is_editable or rig.armature.override_library is not None:
            raise RequestError(f"{rig.armature.name} is linked from another file. Lock ranges there.")


def scene_fps(rig: HandRig) -> float:
    """The scene's frames per second when the shot was loaded."""
    return shot.shot_timing(rig.shot).scene_fps


def _wrist_carrier(rig: HandRig) -> tuple[Floats, Floats]:
    """Frame (3, 3) and origin (3,) in the world for the wrist bone's location and rotation."""
    world = np.array(rig.armature.matrix_world, np.float64)
    rest = np.array(rig.armature.data.bones[rig.names[0]].matrix_local, np.float64)
    carrier = world @ rest
    if not abs(np.linalg.det(carrier[:3, :3])) > 0:
        raise RequestError(f"{rig.armature.name} is scaled to nothing. Give it its scale back.")
    return carrier[:3, :3], carrier[:3, 3]


def _rays(rig: HandRig, track: HandTrack) -> Floats:
    """(K, 3) unit vectors from the shot's camera to the wrist, in the wrist bone's axes."""
    frame, origin = _wrist_carrier(rig)
    wrists = track.location @ frame.T + origin
    away = wrists - camera_places(rig.shot, track.frames)
    away /= np.maximum(np.linalg.norm(away, axis=-1, keepdims=True), 1e-9)
    return np.linalg.solve(frame, away.T).T


def _on_other_hand(
    track: HandTrack, carrier: tuple[Floats, Floats], other: tuple[Floats, Floats]
) -> HandTrack:
    """The track on the other hand's bones, with the wrist bone at the same place and orientation in the world.

    On both sides a wrist bone's Y points to the knuckles and its Z to the palm, so the same frame in the world is the
    same orientation of the other hand.
    """
    frame, origin = carrier
    other_frame, other_origin = other
    change = np.linalg.solve(other_frame, frame)
    location = np.linalg.solve(other_frame, (track.location @ frame.T + origin - other_origin).T).T
    scale = np.cbrt(np.linalg.det(change))
    turns = edits.turned_over(track.rotations_wxyz)
    turn = quaternions.from_matrix(change / scale)
    turns[:, 0] = quaternions.multiply(turn, track.rotations_wxyz[:, 0])
    return replace(track, location=location, rotations_wxyz=quaternions.continuous(turns))
