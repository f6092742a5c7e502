# SPDX-License-Identifier: GPL-3.0-or-later
"""Every frame on its own: a start from the world landmarks, then damped Gauss-Newton on all frames at once.

Also the shape: one for the whole shot, from its most confident frames, before anything else is solved.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.fitting.observations import Observations
from inference_core.fitting.parameterisation import (
    HandParameterisation,
    HandState,
    make_parameterisation,
    pose_points,
)
from inference_core.fitting.residuals import (
    JOINTS,
    LANDMARKS,
    NormalEquations,
    add_pose_terms,
    frame_cost,
    frame_normal,
    landmark_normal,
)
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
    world_scale: Tensor


def well_seen(tracks: HandTracks, most: int = SHAPE_FRAMES) -> NDArray[np.uint8]:
    """(T, S) presence of up to `most` hand frames a side: the best scored of as many equal stretches."""
    quality = np.where(tracks.present == SEEN, np.nan_to_num(tracks.landmarks_px[..., 2]).mean(-1), 0)
    chosen = np.full_like(tracks.present, ABSENT)
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
    parameterisation = make_parameterisation(model, torch.zeros(2, 10).double())
    shape = ShotShape(parameterisation, torch.ones(2).double())
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


def hand_length_m(parameterisation: HandParameterisation) -> Tensor:
    """(S,) from the wrist to the middle fingertip, of flat hands."""
    return parameterisation.points_m[:, _MIDDLE_TIP].norm(dim=-1)


def _of_length(model: HandModel, shape: ShotShape, hand_length_mm: float) -> ShotShape:
    """Hands of which only the length is known."""
    nothing = torch.zeros(2, 11, 11).double(), torch.zeros(2, 11).double()
    parameterisation = shape.parameterisation
    for _ in range(_SHAPE_STEPS):
        change = _solve_shapes(
            *_with_length(*nothing, parameterisation, hand_length_mm), parameterisation.betas
        )
        parameterisation = make_parameterisation(model, parameterisation.betas + change[:, :10])
    return replace(shape, parameterisation=parameterisation)


def _with_length(
    hessian: Tensor, slope: Tensor, parameterisation: HandParameterisation, hand_length_mm: float | None
) -> tuple[Tensor, Tensor]:
    """Normal equations (S, 11, 11), (S, 11) of the shapes, with the length if it is given."""
    if hand_length_mm is None:
        return hessian, slope
    tip, length_m = parameterisation.points_m[:, _MIDDLE_TIP], hand_length_m(parameterisation)
    along = (tip / length_m[:, None])[:, None] @ parameterisation.point_dirs_m[:, _MIDDLE_TIP]
    row = torch.nn.functional.pad(along[:, 0], (0, 1)) / _LENGTH_M
    error = (length_m - hand_length_mm / 1000) / _LENGTH_M
    return hessian + row[:, :, None] * row[:, None], slope + error[:, None] * row


def start_state(shape: ShotShape, seen: Observations) -> HandState:
    """A hand in one of a few simple poses, rotated to its world landmarks and moved to its place in the picture.

    Hand frames without landmarks take the network's estimate, or a hand at half a metre that later steps replace.
    """
    parameterisation, target = (
        shape.parameterisation,
        seen.world_m * shape.world_scale[seen.side][:, None, None],
    )
    sides, best_error = torch.arange(2), torch.full((len(seen),), torch.inf).double()
    best = _resting(parameterisation, sides, 1.0).take(seen.side)
    for bend in _START_BENDS:
        both = _resting(parameterisation, sides, bend)
        points = pose_points(parameterisation, sides, both).points_m[seen.side, LANDMARKS]
        state = both.take(seen.side)
        aligned = fit_similarity(points, target)
        error = (aligned.apply(points) - target).square().sum((1, 2))
        state = HandState(state.image_depth, aligned.rotation, state.angles_rad)
        best, best_error = state.where(error < best_error, best), torch.minimum(error, best_error)
    best = _placed(parameterisation, seen, best)
    if seen.network is None:
        return best
    network = seen.network
    depth_m = network.wrist_m[:, 2:].clamp(min=0.05)
    image_depth = torch.cat([network.wrist_m[:, :2] / depth_m, depth_m.log()], -1)
    theirs = HandState(image_depth, network.root, network.angles_rad * parameterisation.is_free)
    return best.where(seen.seen | (network.confidence == 0), theirs)


def fit_frames(shape: ShotShape, seen: Observations, state: HandState, steps: int = _STEPS) -> HandState:
    """Each hand frame at its own optimum: Levenberg-Marquardt with separate damping for every frame."""
    parameterisation, scale = shape.parameterisation, shape.world_scale
    todo, damping = torch.arange(len(seen)), torch.full((len(seen),), 1e-2).double()
    posed = pose_points(parameterisation, seen.side, state)
    cost = frame_cost(seen, posed, scale)
    for _ in range(steps):
        step = _damped_step(frame_normal(parameterisation, seen, posed, scale), damping)
        trial = pose_points(parameterisation, seen.side, posed.state.moved(step, parameterisation))
        trial_cost = frame_cost(seen, trial, scale)
        better = trial_cost < cost
        settled = better & (cost - trial_cost < _SETTLED * cost)
        posed, cost = trial.where(better, posed), torch.where(better, trial_cost, cost)
        damping = torch.where(better, damping * 0.2, damping * 8).clamp(1e-6, 1e6)
        if not bool(settled.any()):
            continue
        done, left = settled.nonzero()[:, 0], (~settled).nonzero()[:, 0]
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


def _damped_step(normal: NormalEquations, damping: Tensor) -> Tensor:
    """(N, D) increments of the unknowns for damping (N,), a share of the diagonal."""
    damped = _damped(normal.hessian, damping[:, None])
    return limited(-torch.cholesky_solve(normal.gradient[..., None], torch.linalg.cholesky(damped))[..., 0])


def _damped(hessian: Tensor, damping: Tensor | float) -> Tensor:
    """Hessians (N, D, D) with a share of their diagonals (N, 1) added."""
    damped = hessian.clone()
    diagonal = damped.diagonal(dim1=-2, dim2=-1)
    diagonal.add_(diagonal * damping + 1e-6)
    return damped


def limited(step: Tensor) -> Tensor:
    """Increments (N, D), shortened if one number would change by more than 0.5."""
    return step * (0.5 / step.abs().amax(-1, keepdim=True).clamp(min=0.5))


def _start_scale(parameterisation: HandParameterisation, seen: Observations) -> Tensor:
    """(S,) median ratio of the relaxed model's size to the world landmarks', wrist to knuckles."""
    palm = [0, 5, 9, 13, 17]
    own = parameterisation.points_m[:, palm].std(1).norm(dim=-1)
    ratio = own[seen.side] / seen.world_m[:, palm].std(1).norm(dim=-1)
    whole = ratio.median()
    return torch.stack([ratio[seen.side == s].median() if (seen.side == s).any() else whole for s in (0, 1)])


def _resting(parameterisation: HandParameterisation, side: Tensor, bend: float) -> HandState:
    count = len(side)
    angles = parameterisation.mean_rad[side].clone()
    angles[..., 0] *= bend
    low, high = parameterisation.limits_rad.unbind(-1)
    image_depth = torch.tensor([0.0, 0.0, -0.7]).double().expand(count, 3)
    return HandState(
        image_depth,
        torch.eye(3).double().expand(count, 3, 3),
        angles.clamp(low, high) * parameterisation.is_free,
    )


def _placed(parameterisation: HandParameterisation, seen: Observations, state: HandState) -> HandState:
    """The state moved to the wrist position that best explains the landmarks seen (linear least squares)."""
    points = pose_points(parameterisation, seen.side, state)
    arms = points.points_m[:, LANDMARKS] - points.state.wrist_m[:, None]
    rays = pixel_rays(seen.pixels, seen.K)[..., :2]
    weight = seen.score
    # arms.xy + t.xy = ray.xy (arms.z + t.z): linear in t
    known = (rays * arms[..., 2:] - arms[..., :2]) * weight[..., None]
    identity = torch.eye(2).double().expand(*rays.shape, 2)
    rows = torch.cat([identity, -rays[..., None]], -1) * weight[..., None, None]
    rows, known = rows.flatten(1, 2), known.flatten(1)
    square = rows.mT @ rows + 1e-9 * torch.eye(3).double()
    wrist_m = torch.linalg.solve(square, (rows.mT @ known[..., None])[..., 0])
    depth_m = wrist_m[:, 2:].clamp(0.05, 20.0)
    image_depth = torch.cat([wrist_m[:, :2] / depth_m, depth_m.log()], -1)
    return HandState(
        torch.where(seen.seen[:, None], image_depth, state.image_depth), state.root, state.angles_rad
    )


def _shape_step(
    model: HandModel, shape: ShotShape, seen: Observations, state: HandState, hand_length_mm: float | None
) -> tuple[ShotShape, HandState]:
    """One Gauss-Newton step of all poses, both shapes and world scales together, with the poses eliminated."""
    parameterisation = shape.parameterisation
    posed = pose_points(parameterisation, seen.side, state)
    own = parameterisation.size
    derivatives = [posed.jacobian(LANDMARKS), posed.shape_jacobian(seen.side, LANDMARKS)]
    whole = landmark_normal(seen, posed, torch.cat(derivatives, -1), shape.world_scale, by_scale=True)
    normal = NormalEquations(whole.hessian[:, :own, :own], whole.gradient[:, :own], whole.cost)
    add_pose_terms(normal, parameterisation, seen, posed)
    cross = whole.hessian[:, :own, own:]
    right = torch.cat([cross, normal.gradient[..., None]], -1)
    eliminated = torch.cholesky_solve(right, torch.linalg.cholesky(_damped(normal.hessian, 1e-3)))
    reduced = whole.hessian[:, own:, own:] - cross.mT @ eliminated[..., :-1]
    gradient = whole.gradient[:, own:] - (cross.mT @ eliminated[..., -1:])[..., 0]
    hand_crops = torch.bincount(seen.side, minlength=2).clamp(min=1)
    share = (_SHAPE_READINGS / hand_crops).clamp(max=1.0)[seen.side]
    hessian, slope = torch.zeros(2, 11, 11).double(), torch.zeros(2, 11).double()
    hessian.index_add_(0, seen.side, reduced * share[:, None, None])
    slope.index_add_(0, seen.side, gradient * share[:, None])
    hessian, slope = _with_length(hessian, slope, parameterisation, hand_length_mm)
    change = _solve_shapes(hessian, slope, parameterisation.betas)
    step = -(eliminated[..., -1] + (eliminated[..., :-1] @ change[seen.side][..., None])[..., 0])
    betas = parameterisation.betas + change[:, :10]
    world_scale = shape.world_scale * change[:, 10].exp()
    return ShotShape(make_parameterisation(model, betas), world_scale), state.moved(
        limited(step), parameterisation
    )


def _solve_shapes(hessian: Tensor, slope: Tensor, betas: Tensor) -> Tensor:
    """Change (S, 11) of the betas and of the logarithm of the world scale.

    From the data, a unit normal prior on the betas, and the similarity of the two sides.
    """
    alike = torch.diag(torch.tensor([1.0] * 10 + [0.0]).double()) / _SIDES_DIFFER**2
    prior = torch.diag(torch.tensor([1.0] * 10 + [1e-3]).double())
    rows = [
        torch.cat([hessian[0] + prior + alike, -alike], 1),
        torch.cat([-alike, hessian[1] + prior + alike], 1),
    ]
    apart = (betas[0] - betas[1]) / _SIDES_DIFFER**2
    slope = slope + torch.nn.functional.pad(torch.stack([betas[0] + apart, betas[1] - apart]), (0, 1))
    change = -torch.linalg.solve(torch.cat(rows), slope.flatten()).unflatten(0, (2, 11))
    return change.clamp(-1.0, 1.0)
