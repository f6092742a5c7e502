# SPDX-License-Identifier: GPL-3.0-or-later
"""Constraints on a range that is solved again: known per-frame poses, pinned poses, and contact.

A pinned pose becomes evidence with a higher confidence: the landmarks that the posed hand would show, and a confident
network prediction. Neighbours in time, the other hand and contact then adapt to it.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.fitting.observations import NetworkTargets, Observations
from inference_core.fitting.parameterisation import HandParameterisation, HandState, pose_points
from inference_core.fitting.residuals import JOINTS, LANDMARKS
from inference_core.fitting.single_frame import ShotShape
from inference_core.geometry.projection import project_pinhole
from inference_core.geometry.rotations import log, matrix_to_quaternion, quaternion_to_matrix

# Confidence of a pose that must stay (0.1 degrees, 0.1 mm), and of one that may yield slightly to contact.
HARD_PIN, SOFT_PIN = 1e4, 100.0
_NEAREST_M = 0.05


@dataclass(frozen=True)
class Poses:
    """Both hands of T frames as stored in a take; NaN if unknown.

    root_wxyz (T, S, 4), pose_wxyz (T, S, 15, 4), wrist_cam_m (T, S, 3).
    """

    root_wxyz: NDArray[np.floating]
    pose_wxyz: NDArray[np.floating]
    wrist_cam_m: NDArray[np.floating]

    def of(self, seen: Observations, parameterisation: HandParameterisation) -> tuple[HandState, Tensor]:
        """The state of the hand frames, and (N,) which of them are known; arbitrary where they are not."""
        at = (seen.frame.numpy(), seen.side.numpy())
        root, fingers, wrist_m = (
            torch.as_tensor(values[at]).double()
            for values in (self.root_wxyz, self.pose_wxyz, self.wrist_cam_m)
        )
        known = root.isfinite().all(-1) & fingers.isfinite().all((-1, -2)) & wrist_m.isfinite().all(-1)
        identity = torch.tensor([1.0, 0, 0, 0]).double()
        root = torch.where(known[:, None], root, identity)
        fingers = torch.where(known[:, None, None], fingers, identity)
        wrist_m = torch.where(known[:, None], wrist_m, torch.tensor([0.0, 0.0, 0.5]).double())
        depth_m = wrist_m[:, 2:].clamp(min=_NEAREST_M)
        angles = _free_angles(parameterisation, seen.side, quaternion_to_matrix(fingers))
        image_depth = torch.cat([wrist_m[:, :2] / depth_m, depth_m.log()], -1)
        return HandState(image_depth, quaternion_to_matrix(root), angles), known


def with_unfree_turns(
    parameterisation: HandParameterisation,
    pinned_wxyz: NDArray[np.floating],
    solved_wxyz: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Solved fingers (T, S, 15, 4) with the pinned rotations that the solve cannot represent."""
    pinned, solved = (
        quaternion_to_matrix(torch.as_tensor(turns).double()) for turns in (pinned_wxyz, solved_wxyz)
    )
    side = torch.arange(2)
    free = parameterisation.finger_rotations(side, _free_angles(parameterisation, side, pinned))
    return matrix_to_quaternion(pinned @ free.mT @ solved).numpy()


def _free_angles(parameterisation: HandParameterisation, side: Tensor, fingers: Tensor) -> Tensor:
    """(..., 15, 3) the angles by which the solve moves fingers (..., 15, 3, 3) of the sides (...)."""
    axes = parameterisation.axes[side]
    free = torch.zeros(45).double().index_fill(0, parameterisation.free, 1.0).unflatten(0, (15, 3))
    return log(axes.mT @ fingers @ axes) * free


@dataclass(frozen=True)
class Touch:
    """Parts of the two hands that the user marks as touching, with a weight (T,).

    left, right: capsules, the nearest of which touch; None for all fingertips that are near in the picture.
    """

    weight: NDArray[np.float64]
    left: tuple[int, ...] | None
    right: tuple[int, ...] | None


@dataclass(frozen=True)
class Apart:
    """Frames (T,) in which the user rules out contact between the capsules left and right; None for all."""

    frames: NDArray[np.bool_]
    left: tuple[int, ...] | None
    right: tuple[int, ...] | None


@dataclass(frozen=True)
class SolveConstraints:
    """Constraints on T frames.

    raw: per-frame poses from an earlier solve. motion: what it came to, or the poses to keep where trust (T, S) is
    SOFT_PIN or HARD_PIN; 0 for none. doubt (T, S): 0..1, how much to reduce the observations' weight, so that frames
    beside a pinned pose lead to it. met, touches: parts that touch, in the motion and from now on.
    """

    raw: Poses
    motion: Poses
    trust: NDArray[np.float64]
    doubt: NDArray[np.float64]
    met: tuple[Touch, ...] = ()
    touches: tuple[Touch, ...] = ()
    aparts: tuple[Apart, ...] = ()


def doubted(seen: Observations, constraints: SolveConstraints) -> Tensor:
    """(N,) how much to reduce the weight of the hand frames' observations."""
    return torch.as_tensor(constraints.doubt[seen.frame.numpy(), seen.side.numpy()]).double()


def trusted(seen: Observations, constraints: SolveConstraints) -> Tensor:
    """(N,) trust in the hand frames' pinned poses, 0 for none."""
    return torch.as_tensor(constraints.trust[seen.frame.numpy(), seen.side.numpy()]).double()


def with_pinned_poses(
    shape: ShotShape, seen: Observations, constraints: SolveConstraints
) -> tuple[Observations, HandState, Tensor]:
    """The observations with the pinned poses as evidence, their state, and (N,) where a pose is pinned."""
    parameterisation = shape.parameterisation
    state, known = constraints.motion.of(seen, parameterisation)
    trust = trusted(seen, constraints) * known
    pinned = trust > 0
    if not bool(pinned.any()):
        return seen, state, pinned
    seen = _less_believed(seen, constraints)
    points = pose_points(parameterisation, seen.side, state).points_m
    landmarks = points[:, LANDMARKS]
    pixels = project_pinhole(landmarks, seen.K)
    world_m = landmarks - landmarks.mean(1, keepdim=True)
    world_m = world_m / shape.world_scale[seen.side][:, None, None]
    here = pinned[:, None, None]
    network = _network_with_pins(seen, state, points[:, JOINTS], trust)
    return (
        replace(
            seen,
            pixels=torch.where(here, pixels, seen.pixels),
            score=torch.where(pinned[:, None], 1.0, seen.score),
            diagonal_px=torch.where(
                pinned, (pixels.amax(1) - pixels.amin(1)).norm(dim=-1).clamp(min=8.0), seen.diagonal_px
            ),
            world_m=torch.where(here, world_m, seen.world_m),
            network=network,
        ),
        state,
        pinned,
    )


def _less_believed(seen: Observations, constraints: SolveConstraints) -> Observations:
    belief = 1 - doubted(seen, constraints)
    network = seen.network
    if network is not None:
        network = replace(network, confidence=belief * network.confidence)
    return replace(seen, score=belief[:, None] * seen.score, network=network)


def _network_with_pins(
    seen: Observations, state: HandState, joints_m: Tensor, trust: Tensor
) -> NetworkTargets:
    network = seen.network or _silent(seen)
    pinned, wrist_m = trust > 0, state.wrist_m
    other = seen.other.clamp(min=0)
    both = pinned & (seen.other >= 0) & pinned[other]
    return NetworkTargets(
        confidence=torch.where(pinned, trust, network.confidence),
        root=torch.where(pinned[:, None, None], state.root, network.root),
        angles_rad=torch.where(pinned[:, None, None], state.angles_rad, network.angles_rad),
        joints_m=torch.where(pinned[:, None, None], joints_m - wrist_m[:, None], network.joints_m),
        wrist_m=torch.where(pinned[:, None], wrist_m, network.wrist_m),
        from_other_m=torch.where(both[:, None], wrist_m - wrist_m[other], network.from_other_m),
    )


def _silent(seen: Observations) -> NetworkTargets:
    """Targets of a network with no predictions."""
    count = len(seen)
    nothing = torch.zeros(count, 3).double()
    return NetworkTargets(
        confidence=torch.zeros(count).double(),
        root=torch.eye(3).double().expand(count, 3, 3),
        angles_rad=torch.zeros(count, 15, 3).double(),
        joints_m=torch.zeros(count, 21, 3).double(),
        wrist_m=nothing,
        from_other_m=nothing,
    )
