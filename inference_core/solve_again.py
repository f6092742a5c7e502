# SPDX-License-Identifier: GPL-3.0-or-later
"""Solves a range of a take again with the user's corrections, without the footage.

The take holds the evidence of its solve (take_evidence). From the take's motion, what was corrected and what depends on
it is solved; the frames around the range are held, and it is blended into them: nothing changes outside it.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inference_core.fitting.contact_constraints import PART_CAPSULES
from inference_core.fitting.corrected_evidence import CorrectedEvidence, corrected_evidence
from inference_core.fitting.corrected_shot import Stated, corrected_shot
from inference_core.fitting.observations import usable_presence
from inference_core.fitting.parameterisation import make_parameterisation
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.shot import Evidence, frame_times
from inference_core.fitting.single_frame import ShotShape
from inference_core.fitting.solve_constraints import (
    HARD_PIN,
    SOFT_PIN,
    Apart,
    Poses,
    SolveConstraints,
    Touch,
    with_unfree_turns,
)
from inference_core.geometry.camera import Camera
from inference_core.hand_model.hand import HandModel
from inference_core.pauses import Pauses, pauses_at
from inference_core.shared.corrections import CONTEXT_FRAMES, Correction, corrections_from, corrections_text
from inference_core.shared.errors import RequestError
from inference_core.shared.messages import Progress, SolveRequest
from inference_core.shared.presence import SEEN
from inference_core.shared.take import Take, timed_arrays
from inference_core.take_blend import (
    PinnedPoses,
    blended,
    solved_rows,
    with_corrected_evidence,
)
from inference_core.take_evidence import evidence_of
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.two_hand.predictions import TwoHandPredictions

BLEND_FRAMES: Final = SolveRequest.blend
# Corrections that later solves of the same take need again; the others are already
# part of its evidence or motion.
_REMEMBERED = ("touch", "apart", "pose")
# Corrections that say that a hand is right where it is.
_AS_IT_IS = ("keep", "follow")
_CORRECTIONS = "corrections"
_SAME_HAND_M = 1e-4
_DOUBT_POWER = 4  # A tenth of the observations beside a pinned pose would still outweigh the motion.


def solved_again(
    take: Take,
    corrections: Sequence[Correction],
    rows: range,
    hand_model: HandModel,
    progress: Progress | None = None,
    blend: int = BLEND_FRAMES,
) -> Take:
    """The take with the rows solved again, blended over `blend` frames at their ends; other rows are unchanged.

    Without corrections the result equals the take up to rounding.
    """
    _check_model(take, hand_model)
    pauses = pauses_at(take.cuts, take.time_s)
    paused, rows = _with_pauses(take, pauses), range(pauses.row[rows.start], pauses.row[rows.stop - 1] + 1)
    result = _solved_again(paused, corrections, rows, hand_model, progress, blend)
    return _without_pauses(result, pauses, take)


def _solved_again(
    take: Take,
    corrections: Sequence[Correction],
    rows: range,
    hand_model: HandModel,
    progress: Progress | None,
    blend: int,
) -> Take:
    """`solved_again` for a take with pauses at its cuts."""
    shape = _shape(take, hand_model)
    earlier = _remembered(take)
    everything = (*earlier, *corrections)
    tracks, predictions = evidence_of(take)
    corrected = corrected_evidence(tracks, predictions, take.frame, corrections)
    poses = _pinned_poses(take, everything)
    part = range(max(rows.start - CONTEXT_FRAMES, 0), min(rows.stop + CONTEXT_FRAMES, take.frame_count))
    as_it_is = (*earlier, *(item for item in corrections if item.kind in _AS_IT_IS))
    uncorrected = CorrectedEvidence(tracks, predictions, np.zeros_like(corrected.changed))
    before = _stated(take, uncorrected, as_it_is, len(earlier), part)
    after = _stated(take, corrected, everything, len(earlier), part)
    inner = range(rows.start - part.start, rows.stop - part.start)
    solution = corrected_shot(hand_model, shape, before, after, inner, _settings(take), progress)
    solved = solved_rows(solution, rows, part)
    span = slice(rows.start, rows.stop)
    turns = with_unfree_turns(shape.parameterisation, poses.poses.pose_wxyz[span], solved["pose_wxyz"])
    follows = (poses.trust[span] == SOFT_PIN)[..., None, None]
    solved["pose_wxyz"] = np.where(follows, turns, solved["pose_wxyz"])
    continues = (
        rows.start > 0 and take.frame[rows.start - 1] >= 0,
        rows.stop < take.frame_count and take.frame[rows.stop] >= 0,
    )
    mixed = blended(take, solved, poses, rows, hand_model, blend, continues)
    result = with_corrected_evidence(mixed, take, corrected, solved, rows)
    kept = [item for item in corrections if item.kind in _REMEMBERED]
    return replace(result, meta=_with_corrections(take.meta, [*earlier, *kept]))


def _with_pauses(take: Take, pauses: Pauses) -> Take:
    """The take with rows of frame -1, without hands, at its cuts."""
    if pauses.count == take.frame_count:
        return take
    arrays = {name: pauses.spread(values) for name, values in timed_arrays(take).items()}
    arrays["frame"][pauses.frame < 0] = -1
    arrays["time_s"] = pauses.times(take.time_s)
    for name in {"K", "T_world_cam"} & set(arrays):
        arrays[name] = getattr(take, name)[pauses.last_frame]
    return replace(take, **arrays)


def _without_pauses(solved: Take, pauses: Pauses, take: Take) -> Take:
    """The solved take without its pauses. take: before they were added."""
    arrays = {name: values[pauses.row] for name, values in timed_arrays(solved).items()}
    return replace(solved, **{**arrays, "time_s": take.time_s})


def _pinned_poses(take: Take, corrections: Sequence[Correction]) -> PinnedPoses:
    root, fingers, wrist_m = take.root_wxyz.copy(), take.pose_wxyz.copy(), take.wrist_cam_m.copy()
    trust, doubt, present = np.zeros(take.present.shape), np.zeros(take.present.shape), take.present.copy()
    for item in corrections:
        rows = item.rows(take.frame)
        for side in item.sides:
            if item.kind in ("keep", "follow"):
                trust[rows, side] = (
                    HARD_PIN if item.kind == "keep" else np.maximum(trust[rows, side], SOFT_PIN)
                )
            elif item.kind == "pose":
                root[rows, side], fingers[rows, side] = item.root_wxyz, item.pose_wxyz
                wrist_m[rows, side] = item.wrist_cam_m
                trust[rows, side], present[rows, side] = HARD_PIN, SEEN
                beside = _falling_off(rows, item.falloff, len(doubt))
                doubt[:, side] = np.maximum(doubt[:, side], 1 - (1 - beside) ** _DOUBT_POWER)
    return PinnedPoses(Poses(root, fingers, wrist_m), trust, doubt, present)


def _touches(
    take: Take, corrections: Sequence[Correction]
) -> tuple[list[tuple[int, Touch]], tuple[Apart, ...]]:
    """What touches, by the index of the correction, and what does not; of two that contradict each other, the later
    one counts.
    """
    touches: list[tuple[int, Touch]] = []
    aparts: list[Apart] = []
    for index, item in enumerate(corrections):
        rows = item.rows(take.frame)
        left, right = PART_CAPSULES[item.left], PART_CAPSULES[item.right]
        if item.kind == "apart":
            aparts.append(Apart(np.isin(np.arange(take.frame_count), rows), left, right))
            kept = 1 - _falling_off(rows, item.falloff, take.frame_count)
            touches = [
                (at, replace(one, weight=one.weight * kept) if _denies(aparts[-1], one) else one)
                for at, one in touches
            ]
        elif item.kind == "touch" and len(rows):
            touches.append((index, Touch(_falling_off(rows, item.falloff, take.frame_count), left, right)))
    return touches, tuple(aparts)


def _denies(apart: Apart, touch: Touch) -> bool:
    """Whether the touch is only of parts that the correction keeps apart."""
    pairs = ((apart.left, touch.left), (apart.right, touch.right))
    return all(denied is None or (told is not None and set(told) <= set(denied)) for denied, told in pairs)


def _falling_off(rows: NDArray[np.int64], falloff: int, count: int) -> NDArray[np.float64]:
    """(T,) 1 in the rows, falling to 0 over the given number of frames beyond their ends."""
    if not len(rows):
        return np.zeros(count)
    at = np.arange(count)
    near = np.clip(1 - np.maximum(rows[0] - at, at - rows[-1]) / (falloff + 1), 0, 1)
    return near**2 * (3 - 2 * near)


def _stated(
    take: Take, corrected: CorrectedEvidence, corrections: Sequence[Correction], met: int, part: range
) -> Stated:
    """What is known of part of the take with the evidence and the corrections, of which the take meets the first."""
    rows = slice(part.start, part.stop)
    poses = _pinned_poses(take, corrections)
    present = usable_presence(corrected.tracks, corrected.predictions)
    present = np.where(poses.trust > 0, poses.present, present).astype(np.uint8)
    raw = Poses(
        *(
            np.where(corrected.changed[rows].reshape(-1, 2, *[1] * (values.ndim - 2)), np.nan, values[rows])
            for values in (take.raw_root_wxyz, take.raw_pose_wxyz, take.raw_wrist_cam_m)
        )
    )
    held = Poses(*(values[rows] for values in vars(poses.poses).values()))
    told, aparts = _touches(take, corrections)
    touches = [(index < met, replace(touch, weight=touch.weight[rows])) for index, touch in told]
    constraints = SolveConstraints(
        raw,
        held,
        poses.trust[rows],
        poses.doubt[rows],
        tuple(touch for is_met, touch in touches if is_met),
        tuple(touch for is_met, touch in touches if not is_met),
        tuple(replace(item, frames=item.frames[rows]) for item in aparts),
    )
    evidence = Evidence(
        HandTracks(*(values[rows] for values in vars(corrected.tracks).values())),
        None
        if corrected.predictions is None
        else TwoHandPredictions(*(values[rows] for values in vars(corrected.predictions).values())),
        present[rows],
        _camera(take, rows),
        frame_times(take.time_s, take.frame_count)[rows],
    )
    return Stated(evidence, constraints)


def _shape(take: Take, model: HandModel) -> ShotShape:
    parameterisation = make_parameterisation(model, take.betas.astype(np.float64))
    scale = np.ones(2) if take.evidence_world_scale is None else take.evidence_world_scale
    return ShotShape(parameterisation, scale)


def _camera(take: Take, rows: slice) -> Camera:
    width, height = take.size_px.tolist()
    return Camera(take.K if take.K.ndim == 2 else take.K[rows], (width, height), take.T_world_cam[rows])


def _settings(take: Take) -> SolveSettings:
    smooth = (take.meta.get("settings") or {}).get("smooth")
    usual = SolveSettings()
    return replace(usual, smooth=float(smooth)) if isinstance(smooth, int | float) else usual


def _check_model(take: Take, model: HandModel) -> None:
    rest_m = model.with_shape(take.betas.astype(np.float64)).rest_joints_m
    if np.abs(rest_m - take.rest_joints_m).max() > _SAME_HAND_M:
        name = (take.meta.get("hand_model") or {}).get("name", "another one")
        raise RequestError(
            f"The take was made with another hand model ({name}). Give the same one: --mano with its folder, or none."
        )


def _remembered(take: Take) -> tuple[Correction, ...]:
    said = take.meta.get(_CORRECTIONS)
    return corrections_from(json.dumps({_CORRECTIONS: said})) if said else ()


def _with_corrections(meta: Any, corrections: Sequence[Correction]) -> dict[str, Any]:
    return {**meta, _CORRECTIONS: json.loads(corrections_text(corrections))[_CORRECTIONS]}
