# SPDX-License-Identifier: GPL-3.0-or-later
"""Every frame on its own: a start from the world landmarks, then damped Gauss-Newton on all frames at once.

Also the shape: one for the whole shot, from its most confident frames, before anything else is solved.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference_core.fitting.arrays import Floats, Indices
from inference_core.fitting.landmark_terms import landmark_normal
from inference_core.fitting.normal_equations import NormalEquations, diagonal
from inference_core.fitting.observations import Observations
from inference_core.fitting.parameterisation import (
    JOINTS,
    LANDMARKS,
    HandParameterisation,
    HandState,
    image_depth_of,
    make_parameterisation,
    pose_points,
)
from inference_core.fitting.residuals import add_pose_terms, frame_cost, frame_normal
from inference_core.geometry.projection import pixel_rays
from inference_core.geometry.rigid import fit_similarity
from inference_core.hand_model.hand import HandModel
from inference_core.shared.presence import ABSENT, SEEN
from inference_core.tracking.hand_tracks import HandTracks

# Starting poses: all fingers' flexion as multiples of the relaxed hand's, from flat to fist.
_START_BENDS = (0.0, 1.0, 2.2, 3.5)
# A hand frame has converged when a step lowers its cost by less than this share; a few never do.
_STEPS, _SETTLED = 19, 1e-4
# This many steps with the mean shape precede its estimation.
_FIRST_STEPS = 7
_SHAPE_STEPS = 8
SHAPE_FRAMES = 60
# A hand in a shot counts as this many independent observations of its shape, however many frames it has:
# landmark errors depend on the pose and do not average out.
_SHAPE_READINGS = 4.0
_SIDES_DIFFER = 0.3  # betas, standard deviations
# The relative error of a hand length given by the user.
_LENGTH_M = 0.001
_MIDDLE_TIP = JOINTS.start + 12


@dataclass(frozen=True)
class ShotShape:
    """What is constant in the shot: the hands at its betas, and world_scale (S,), the model's
    size over the world landmarks'.
    """

    parameterisation: HandParameterisation
    world_scale: Floats


def well_seen(tracks: HandTracks, most: int = SHAPE_FRAMES) -> NDArray[np.uint8]:
    """(T, S) presence of up to `most` hand frames a side, as `best_scored` chooses them."""
    score = np.nan_to_num(tracks.landmarks_px[..., 2])
    return best_scored(np.where((tracks.present == SEEN)[..., None], score, 0), most)


def best_scored(score: NDArray[np.floating], most: int = SHAPE_FRAMES) -> NDArray[np.uint8]:
    """(T, S) presence of up to `most` hand frames a side: the best scored of as many equal stretches. score (T, S, 21)
    of the landmarks: 0 if the hand is not seen.
    """
    quality = score.mean(-1)
    chosen = np.full(quality.shape, ABSENT, np.uint8)
    for side in (0, 1):
        frames = quality[:, side].nonzero()[0]
        for stretch in np.array_split(frames, max(1, min(len(frames), most))):
            if len(stretch):
                chosen[stretch[quality[stretch, side].argmax()], side] = SEEN
    return chosen


def estimate_shape(model: HandModel, seen: Observations, hand_length_mm: float | None = None) -> ShotShape:
    """One shape per hand, from well-seen hand frames spread over the shot (well_seen), with
    the given length if there is one.

    Left and right are softly coupled, because a person's hands are alike. A side without landmarks follows the other;
    without any, both are the model's mean.
    """
    parameterisation = make_parameterisation(model, np.zeros((2, 10)))
    shape = ShotShape(parameterisation, np.ones(2))
    if not len(seen):
        return shape if hand_length_mm is None else _of_length(model, shape, hand_length_mm)
    shape = replace(shape, world_scale=_start_scale(parameterisation, seen))
    state = fit_frames(shape, seen, start_state(shape, seen), _FIRST_STEPS)
    return fit_shape(model, seen, shape, state, _SHAPE_STEPS, hand_length_mm)[0]


def fit_shape(
    model: HandModel,
    seen: Observations,
    shape: ShotShape,
    state: HandState,
    steps: int,
    hand_length_mm: float | None = None,
) -> tuple[ShotShape, HandState]:
    """The shape and the poses of these hand frames after some steps from a first guess of both."""
    for _ in range(steps):
        shape, state = _shape_step(model, shape, seen, state, hand_length_mm)
    return shape, state


def hand_length_m(parameterisation: HandParameterisation) -> Floats:
    """(S,) from the wrist to the middle fingertip, of flat hands."""
    return np.linalg.norm(parameterisation.points_m[:, _MIDDLE_TIP], axis=-1)


def _of_length(model: HandModel, shape: ShotShape, hand_length_mm: float) -> ShotShape:
    """Hands of which only the length is known."""
    nothing = np.zeros((2, 11, 11)), np.zeros((2, 11))
    parameterisation = shape.parameterisation
    for _ in range(_SHAPE_STEPS):
        change = _solve_shapes(
            *_with_length(*nothing, parameterisation, hand_length_mm), parameterisation.betas
        )
        parameterisation = make_parameterisation(model, parameterisation.betas + change[:, :10])
    return replace(shape, parameterisation=parameterisation)


def _with_length(
    hessian: Floats, slope: Floats, parameterisation: HandParameterisation, hand_length_mm: float | None
) -> tuple[Floats, Floats]:
    """Normal equations (S, 11, 11), (S, 11) of the shapes, with the length if it is given."""
    if hand_length_mm is None:
        return hessian, slope
    tip, length_m = parameterisation.points_m[:, _MIDDLE_TIP], hand_length_m(parameterisation)
    along = (tip / length_m[:, None])[:, None] @ parameterisation.point_dirs_m[:, _MIDDLE_TIP]
    row = np.pad(along[:, 0], ((0, 0), (0, 1))) / _LENGTH_M
    error = (length_m - hand_length_mm / 1000) / _LENGTH_M
    return hessian + row[:, :, None] * row[:, None], slope + error[:, None] * row


def start_state(shape: ShotShape, seen: Observations) -> HandState:
    """A hand in one of a few simple poses, rotated to its world landmarks and moved to its place in the picture.

    Hand frames without landmarks take the network's estimate, or a hand at half a metre that later steps replace.
    """
    parameterisation, sides = shape.parameterisation, np.arange(2)
    target = seen.world_m * shape.world_scale[seen.side][:, None, None]
    best = _resting(parameterisation, sides, 1.0).take(seen.side)
    best_error = np.full(len(seen), np.inf)
    for bend in _START_BENDS:
        both = _resting(parameterisation, sides, bend)
        points = pose_points(parameterisation, sides, both).points_m[seen.side, LANDMARKS]
        state = both.take(seen.side)
        aligned = fit_similarity(points, target)
        error = ((aligned.apply(points) - target) ** 2).sum((1, 2))
        state = HandState(state.image_depth, aligned.rotation, state.angles_rad)
        best, best_error = state.where(error < best_error, best), np.minimum(error, best_error)
    best = _placed(parameterisation, seen, best)
    if seen.network is None:
        return best
    network = seen.network
    theirs = HandState(
        image_depth_of(network.wrist_m), network.root, network.angles_rad * parameterisation.is_free
    )
    return best.where(seen.seen | (network.confidence == 0), theirs)


def fit_frames(shape: ShotShape, seen: Observations, state: HandState, steps: int = _STEPS) -> HandState:
    """Each hand frame at its own optimum: Levenberg-Marquardt with separate damping for every frame."""
    parameterisation, scale = shape.parameterisation, shape.world_scale
    todo, damping = np.arange(len(seen)), np.full(len(seen), 1e-2)
    posed = pose_points(parameterisation, seen.side, state)
    cost = frame_cost(seen, posed, scale)
    for _ in range(steps):
        step = _damped_step(frame_normal(parameterisation, seen, posed, scale), damping)
        trial = pose_points(parameterisation, seen.side, posed.state.moved(step, parameterisation))
        trial_cost = frame_cost(seen, trial, scale)
        better = trial_cost < cost
        settled = better & (cost - trial_cost < _SETTLED * cost)
        posed, cost = trial.where(better, posed), np.where(better, trial_cost, cost)
        damping = np.clip(np.where(better, damping * 0.2, damping * 8), 1e-6, 1e6)
        if not settled.any():
            continue
        done, left = np.flatnonzero(settled), np.flatnonzero(~settled)
        state = state.put(todo[done], posed.state.take(done))
        todo, seen, posed, cost, damping = (
            todo[left],
            seen.take(left),
            posed.take(left),
            cost[left],
            damping[left],
        )
        if not len(left):
            break
    return state.put(todo, posed.state)


def _damped_step(normal: NormalEquations, damping: Floats) -> Floats:
    """(N, D) increments of the unknowns for damping (N,), a share of the diagonal."""
    damped = _damped(normal.hessian, damping[:, None])
    return limited(-np.linalg.solve(damped, normal.gradient[..., None])[..., 0])


def _damped(hessian: Floats, damping: Floats | float) -> Floats:
    """Hessians (N, D, D) with a share of their diagonals (N, 1) added."""
    damped = hessian.copy()
    own = diagonal(damped)
    own += own * damping + 1e-6
    return damped


def limited(step: Floats) -> Floats:
    """Increments (N, D), shortened if one number would change by more than 0.5."""
    return step * (0.5 / np.maximum(np.abs(step).max(-1, keepdims=True), 0.5))


def _start_scale(parameterisation: HandParameterisation, seen: Observations) -> Floats:
    """(S,) median ratio of the relaxed model's size to the world landmarks', wrist to knuckles."""
    palm = [0, 5, 9, 13, 17]
    own, theirs = (
        np.linalg.norm(points[:, palm].std(1, ddof=1), axis=-1)
        for points in (parameterisation.points_m, seen.world_m)
    )
    ratio = own[seen.side] / theirs
    whole = _lower_median(ratio)
    return np.stack(
        [_lower_median(ratio[seen.side == s]) if (seen.side == s).any() else whole for s in (0, 1)]
    )


def _lower_median(values: Floats) -> np.float64:
    """The median; of an even number of values, the smaller one of the middle two."""
    return np.sort(values)[(len(values) - 1) // 2]


def _resting(parameterisation: HandParameterisation, side: Indices, bend: float) -> HandState:
    count = len(side)
    angles = parameterisation.mean_rad[side]
    angles[..., 0] *= bend
    low, high = parameterisation.limits_rad[..., 0], parameterisation.limits_rad[..., 1]
    return HandState(
        np.tile([0.0, 0.0, -0.7], (count, 1)),
        np.tile(np.eye(3), (count, 1, 1)),
        np.clip(angles, low, high) * parameterisation.is_free,
    )


def _placed(parameterisation: HandParameterisation, seen: Observations, state: HandState) -> HandState:
    """The state moved to the wrist position that best explains the landmarks seen (linear least squares)."""
    points = pose_points(parameterisation, seen.side, state)
    arms = points.points_m[:, LANDMARKS] - points.state.wrist_m[:, None]
    rays = pixel_rays(seen.pixels, seen.K)[..., :2]
    weight = seen.score[..., None]
    # arms.xy + t.xy = ray.xy (arms.z + t.z): linear in t
    known = ((rays * arms[..., 2:] - arms[..., :2]) * weight).reshape(len(seen), 42, 1)
    rows = np.zeros((len(seen), 21, 2, 3))
    rows[..., 0, 0] = rows[..., 1, 1] = seen.score
    rows[..., 2] = -rays * weight
    across = np.swapaxes(rows.reshape(len(seen), 42, 3), -1, -2)
    square = across @ np.swapaxes(across, -1, -2) + 1e-9 * np.eye(3)
    wrist_m = np.linalg.solve(square, across @ known)[..., 0]
    depth_m = np.clip(wrist_m[:, 2:], 0.05, 20.0)
    image_depth = np.concatenate([wrist_m[:, :2] / depth_m, np.log(depth_m)], -1)
    return HandState(
        np.where(seen.seen[:, None], image_depth, state.image_depth), state.root, state.angles_rad
    )


def _shape_step(
    model: HandModel, shape: ShotShape, seen: Observations, state: HandState, hand_length_mm: float | None
) -> tuple[ShotShape, HandState]:
    """One Gauss-Newton step of all poses, both shapes and world scales together, with the poses eliminated."""
    parameterisation = shape.parameterisation
    posed = pose_points(parameterisation, seen.side, state)
    own = parameterisation.size
    derivatives = [posed.jacobian(LANDMARKS), posed.shape_jacobian(seen.side, LANDMARKS)]
    derivatives = np.concatenate(derivatives, -1)
    whole = landmark_normal(seen, posed, derivatives, shape.world_scale, by_scale=True)
    normal = NormalEquations(whole.hessian[:, :own, :own], whole.gradient[:, :own], whole.cost)
    add_pose_terms(normal, parameterisation, seen, posed)
    cross = whole.hessian[:, :own, own:]
    right = np.concatenate([cross, normal.gradient[..., None]], -1)
    eliminated = np.linalg.solve(_damped(normal.hessian, 1e-3), right)
    reduced = np.swapaxes(cross, -1, -2) @ eliminated
    # A hand's many frames count as few readings of its shape.
    share = np.minimum(_SHAPE_READINGS / np.maximum(np.bincount(seen.side, minlength=2), 1), 1.0)
    hessian, slope = np.zeros((2, 11, 11)), np.zeros((2, 11))
    for side in (0, 1):
        mine = seen.side == side
        hessian[side] = share[side] * (whole.hessian[mine, own:, own:] - reduced[mine, :, :-1]).sum(0)
        slope[side] = share[side] * (whole.gradient[mine, own:] - reduced[mine, :, -1]).sum(0)
    hessian, slope = _with_length(hessian, slope, parameterisation, hand_length_mm)
    change = _solve_shapes(hessian, slope, parameterisation.betas)
    step = -(eliminated[..., -1] + (eliminated[..., :-1] @ change[seen.side][..., None])[..., 0])
    betas = parameterisation.betas + change[:, :10]
    world_scale = shape.world_scale * np.exp(+change[:, 10])
    return ShotShape(make_parameterisation(model, betas), world_scale), state.moved(
        limited(step), parameterisation
    )


def _solve_shapes(hessian: Floats, slope: Floats, betas: Floats) -> Floats:
    """Change (S, 11) of the betas and of the logarithm of the world scale.

    From the data, a unit normal prior on the betas, and the similarity of the two sides.
    """
    alike = np.diag([1.0] * 10 + [0.0]) / _SIDES_DIFFER**2
    prior = np.diag([1.0] * 10 + [1e-3])
    both = np.block([[hessian[0] + prior + alike, -alike], [-alike, hessian[1] + prior + alike]])
    apart = (betas[0] - betas[1]) / _SIDES_DIFFER**2
    slope = slope + np.pad([betas[0] + apart, betas[1] - apart], ((0, 0), (0, 1)))
    return np.clip(-np.linalg.solve(both, slope.ravel()).reshape(2, 11), -1.0, 1.0)
