# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepares a range of a shot for the engine to solve again, and keys the result.

The engine gets the current motion: locked ranges stay exactly, edited frames stay close to the edits. The result is
keyed like any other edit; locked ranges keep their keys.
"""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from inference_core.shared import quaternions
from inference_core.shared.corrections import CONTEXT_FRAMES, Correction, corrections_text
from inference_core.shared.errors import RequestError, TakeError
from inference_core.shared.flag_runs import flag_runs
from inference_core.shared.messages import SolveRequest
from inference_core.shared.presence import ABSENT, SEEN
from inference_core.shared.skeleton import SIDES
from inference_core.shared.take import Take, load_take, part_of_take, save_take

from ..scene import hand_rig, motion, orphans, paths, shot
from ..scene.absences import without_raw_of_absent
from ..scene.axes import Floats
from ..scene.hand_curves import HandRig, hand_rigs, locked_rows, read_track, write_tracks
from ..scene.track import Flags, HandTrack, inside, merged, rows_of, same_motion

# Keys closer than this to the solved motion do not count as edits.
_UNEDITED_M, _UNEDITED_RAD = 2e-4, 4e-3
_SAME_FRAME = 0.02


@dataclass(frozen=True)
class Touch:
    """A statement about scene frames first..last: that parts left and right "touch"
    or stay "apart" (shared.corrections).
    """

    kind: str
    first: int
    last: int
    left: str
    right: str
    falloff: int


@dataclass(frozen=True)
class RangeSolve:
    """One request to the engine.

    frames (T,): scene frame of each row of the part of the take that the engine gets. rows: those to be solved again.
    folder: holds the request's files. touch: stored in the shot once the solve is done. before: the motion of each side
    that the engine got.
    """

    request: SolveRequest
    shot_uid: int
    frames: Floats
    rows: range
    folder: Path
    touch: Touch | None
    before: dict[int, HandTrack]

    def shot(self) -> bpy.types.Collection | None:
        """The shot, None if it is gone."""
        return next((item for item in bpy.data.collections if item.session_uid == self.shot_uid), None)

    def forget_files(self) -> None:
        """Remove the files written for the engine."""
        shutil.rmtree(self.folder, ignore_errors=True)


def prepared(collection: bpy.types.Collection, touch: Touch, mano: str | None) -> RangeSolve:
    """The request for a range; RequestError if the shot's take or motion does not allow it."""
    rigs = hand_rigs(collection)
    if len(rigs) < 2:
        raise RequestError("The shot has only one hand; there is nothing for it to touch.")
    take = _take_of(collection)
    frames = shot.shot_timing(collection).scene_frames(take.time_s, take.frame)
    chosen = np.flatnonzero((frames >= touch.first - 0.5) & (frames <= touch.last + 0.5))
    if not len(chosen):
        raise RequestError(
            f"The take has no frames {touch.first} to {touch.last}. Choose a range inside the shot."
        )
    begin, end = take.pieces_around(int(chosen[0]), int(chosen[-1]))
    rows = range(max(chosen[0] - touch.falloff, begin), min(chosen[-1] + touch.falloff + 1, end))
    part = range(max(rows.start - CONTEXT_FRAMES, 0), min(rows.stop + CONTEXT_FRAMES, take.frame_count))
    span = slice(part.start, part.stop)
    given, corrections = _with_current_motion(
        part_of_take(take, part.start, part.stop), rigs, frames[span], collection.duohand.scale
    )
    _check_free(rigs, touch)
    corrections += _touch_corrections([*_known_touches(collection), touch], frames, take.frame)
    folder = Path(tempfile.mkdtemp(prefix="duohand-solve-"))
    source, said = folder / "shot.npz", folder / "corrections.json"
    try:
        save_take(given, source)
        said.write_text(corrections_text(corrections), "utf-8")
    except (OSError, TakeError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise RequestError(f"The range cannot be handed to the engine: {error}") from error
    first, last = int(take.frame[rows.start]), int(take.frame[rows.stop - 1])
    out = str(folder / "solved.npz")
    request = SolveRequest(str(source), out, first, last, str(said), mano, touch.falloff)
    inner = range(rows.start - part.start, rows.stop - part.start)
    before = {rig.side: read_track(rig) for rig in rigs}
    return RangeSolve(request, collection.session_uid, frames[span], inner, folder, touch, before)


def brought_back(solve: RangeSolve) -> str:
    """Key the engine's result; returns a line for the user. RequestError if the shot is gone."""
    collection = solve.shot()
    if collection is None:
        raise RequestError("The shot was deleted while it was being solved.")
    take = load_take(solve.request.out)
    first, last = float(solve.frames[solve.rows.start]), float(solve.frames[solve.rows.stop - 1])
    rigs = hand_rigs(collection)
    tracks = {rig.side: read_track(rig) for rig in rigs}
    if not all(
        same_motion(track, solve.before[side], first, last)
        for side, track in tracks.items()
        if side in solve.before
    ):
        raise RequestError(
            f"The hands were changed on frames {first:g} to {last:g} while these were being solved, so nothing was "
            "keyed. Press the button again."
        )
    found: list[tuple[HandRig, HandTrack]] = []
    for rig in rigs:
        now = tracks[rig.side]
        solved = _solved_track(take, rig, solve, now)
        if solved is None:
            continue
        outside = ~inside(now, first, last)
        found.append((rig, merged(solved, rows_of(now, outside)) if outside.any() else solved))
    write_tracks(found)
    if solve.touch is not None:
        _remember(collection, solve.touch)
    return f"Solved frames {first:g} to {last:g} again"


def _take_of(collection: bpy.types.Collection) -> Take:
    path = Path(paths.take_file(collection))
    take = load_take(path)
    if take.evidence_present is None:
        raise RequestError(
            f"{path.name} was made by an older Duohand and cannot be solved again. Capture it again."
        )
    return take


def _with_current_motion(
    take: Take, rigs: Sequence[HandRig], frames: Floats, scale: float
) -> tuple[Take, list[Correction]]:
    """The take with the current motion, and the corrections that keep it."""
    arrays = {
        name: getattr(take, name).copy() for name in ("root_wxyz", "pose_wxyz", "wrist_cam_m", "joints_cam_m")
    }
    present, confidence = take.present.copy(), take.confidence.copy()
    said: list[Correction] = []
    for rig in rigs:
        track = read_track(rig)
        keys, rows = _matched(track, frames)
        rest = _rest_frames(rig)
        there = np.zeros(len(frames), bool)
        there[rows] = True
        locked, edited = np.zeros(len(frames), bool), np.zeros(len(frames), bool)
        locked[rows] = locked_rows(rig, track)[keys]
        edited[rows] = _edited(take, rig.side, track, keys, rows, rest, scale)
        now = motion.BoneMotion(
            rows,
            track.location[keys],
            track.rotations_wxyz[keys],
            track.filled[keys],
            track.apart_after[keys],
        )
        poses = motion.poses_of(now, take.T_world_cam[rows], rest, scale)
        away = ~there & (present[:, rig.side] != ABSENT)
        for name, values in vars(poses).items():
            arrays[name][rows, rig.side] = values
            arrays[name][away, rig.side] = np.nan
        arrays["joints_cam_m"][away, rig.side] = np.nan
        returned = there & (present[:, rig.side] == ABSENT)
        arrays["joints_cam_m"][returned, rig.side] = arrays["wrist_cam_m"][returned, rig.side][:, None]
        present[returned, rig.side], present[away, rig.side] = SEEN, ABSENT
        confidence[away, rig.side] = 0
        said += _spans("keep", (there & locked) | away, take.frame, rig.side)
        said += _spans("follow", (there & edited & ~locked) | returned, take.frame, rig.side)
    given = replace(take, **arrays, present=present, confidence=confidence)
    return without_raw_of_absent(given, take), said


def _rest_frames(rig: HandRig) -> Floats:
    data: Any = rig.armature.data
    return hand_rig.rest_frames(data, rig.names)


def _matched(track: HandTrack, frames: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys of the track and rows of the take (M,) that share scene frames (T,)."""
    rows = np.rint(np.interp(track.frames, frames, np.arange(len(frames)))).astype(np.int64)
    keys = np.flatnonzero(np.abs(track.frames - frames[rows]) < _SAME_FRAME)
    return keys, rows[keys]


def _edited(
    take: Take,
    side: int,
    track: HandTrack,
    keys: NDArray[np.int64],
    rows: NDArray[np.int64],
    rest: Floats,
    scale: float,
) -> Flags:
    """(M,) which keys differ from their rows' solved motion."""
    solved = motion.solved_motion(take, side, rest, scale)
    at = np.full(take.frame_count, -1)
    at[solved.rows] = np.arange(len(solved.rows))
    known = at[rows] >= 0
    place = at[rows].clip(0)
    if not len(solved.rows):
        return np.ones(len(keys), bool)
    moved = np.linalg.norm(track.location[keys] - solved.location[place], axis=-1) > _UNEDITED_M * scale
    turned = (
        quaternions.angle_between(track.rotations_wxyz[keys], solved.rotations_wxyz[place]) > _UNEDITED_RAD
    )
    return ~known | moved | turned.any(-1)


def _spans(kind: Any, flags: Flags, numbers: NDArray[np.int64], side: int) -> list[Correction]:
    hand: Any = SIDES[side]
    return [
        Correction(kind, int(numbers[start]), int(numbers[stop - 1]), hand=hand)
        for start, stop in flag_runs(flags)
    ]


def _touch_corrections(
    touches: Sequence[Touch], frames: Floats, numbers: NDArray[np.int64]
) -> list[Correction]:
    found: list[Correction] = []
    for touch in touches:
        rows = np.flatnonzero((frames >= touch.first - 0.5) & (frames <= touch.last + 0.5))
        if len(rows):
            kind, left, right = (_name(text) for text in (touch.kind, touch.left, touch.right))
            found.append(
                Correction(
                    kind,
                    int(numbers[rows[0]]),
                    int(numbers[rows[-1]]),
                    left=left,
                    right=right,
                    falloff=touch.falloff,
                )
            )
    return found


def _name(text: str) -> Any:
    """A name from a Blender enumeration, which the corrections' own check looks at."""
    return text


def _known_touches(collection: bpy.types.Collection) -> list[Touch]:
    return [
        Touch(item.kind, item.first, item.last, item.left, item.right, item.falloff)
        for item in collection.duohand.touches
    ]


def _remember(collection: bpy.types.Collection, touch: Touch) -> None:
    """Store it for later solves, replacing an earlier one of the same parts within its range."""
    kept = collection.duohand.touches
    for index in reversed(range(len(kept))):
        item = kept[index]
        same = (item.left, item.right) == (touch.left, touch.right) or touch.kind == "apart"
        if same and item.first >= touch.first and item.last <= touch.last:
            kept.remove(index)
    item = kept.add()
    for name, value in vars(touch).items():
        setattr(item, name, value)
    orphans.remember(collection)


def _check_free(rigs: Sequence[HandRig], touch: Touch) -> None:
    """RequestError if both hands are locked throughout: neither could move."""
    free = False
    for rig in rigs:
        track = read_track(rig)
        free |= bool((inside(track, touch.first, touch.last) & ~locked_rows(rig, track)).any())
    if not free:
        raise RequestError(
            f"Both hands are locked in frames {touch.first} to {touch.last}. Unlock one of them."
        )


def _solved_track(take: Take, rig: HandRig, solve: RangeSolve, now: HandTrack) -> HandTrack | None:
    rest = _rest_frames(rig)
    solved = motion.solved_motion(take, rig.side, rest, rig.shot.duohand.scale)
    chosen = (solved.rows >= solve.rows.start) & (solved.rows < solve.rows.stop)
    if not chosen.any():
        return None
    rows = solved.rows[chosen]
    return replace(
        now,
        frames=solve.frames[rows],
        location=solved.location[chosen],
        rotations_wxyz=solved.rotations_wxyz[chosen],
        filled=solved.filled[chosen],
        confidence=take.confidence[rows, rig.side].astype(np.float64),
        absent_after=np.append(np.diff(rows) > 1, False),
    )
