# SPDX-License-Identifier: GPL-3.0-or-later
"""What is settled before a range is solved again: every frame by itself, and what a person says of hands and contact.

A pose that a person holds to is evidence like any other, only surer: landmarks that the posed hand would show, and a
network's estimate of high confidence. So neighbours in time, the other hand and contact settle around it.
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
from inference_core.geometry.rotations import exp, log, matrix_to_quaternion, quaternion_to_matrix

# Confidence of a pose that is to stay (0.1 degrees, 0.1 mm), and of one that may give way a little to contact.
STAYS, GIVES_WAY = 1e4, 100.0
_NEAREST_M = 0.05


@dataclass(frozen=True)
class Poses:
    """Both hands of T frames as a take has them: root_wxyz (T, S, 4), pose_wxyz (T, S, 15, 4), wrist_cam_m (T, S, 3);
    NaN where none is known."""

    root_wxyz: NDArray[np.floating]
    pose_wxyz: NDArray[np.floating]
    wrist_cam_m: NDArray[np.floating]

    def of(self, seen: Observations, parameterisation: HandParameterisation) -> tuple[HandState, Tensor]:
        """The state of the hand frames, and (N,) which of them are known; any state where they are not."""
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
    parameterisation: HandParameterisation, told_wxyz: NDArray[np.floating], solved_wxyz: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Solved fingers (T, S, 15, 4) of told ones, with those turns of the told ones that the solve cannot make."""
    told, solved = (
        quaternion_to_matrix(torch.as_tensor(turns).double()) for turns in (told_wxyz, solved_wxyz)
    )
    axes, side = parameterisation.axes, torch.arange(2)
    free = axes @ exp(_free_angles(parameterisation, side, told)) @ axes.mT
    return matrix_to_quaternion(told @ free.mT @ solved).numpy()


def _free_angles(parameterisation: HandParameterisation, side: Tensor, fingers: Tensor) -> Tensor:
    """(..., 15, 3) the angles by which the solve moves fingers (..., 15, 3, 3) of the sides (...)."""
    axes = parameterisation.axes[side]
    free = torch.zeros(45).double().index_fill(0, parameterisation.free, 1.0).unflatten(0, (15, 3))
    return log(axes.mT @ fingers @ axes) * free


@dataclass(frozen=True)
class Touch:
    """How surely (T,) parts of the two hands touch by a person's word: the nearest of the capsules left and right; None
    for all fingertips that come near in the picture."""

    weight: NDArray[np.float64]
    left: tuple[int, ...] | None
    right: tuple[int, ...] | None


@dataclass(frozen=True)
class Apart:
    """In which frames (T,) the capsules left and right do not touch by a person's word; None for all."""

    frames: NDArray[np.bool_]
    left: tuple[int, ...] | None
    right: tuple[int, ...] | None


@dataclass(frozen=True)
class Given:
    """What is given of T frames. raw: each frame by itself, where that is known. told: poses that a person holds to, by
    trust (T, S): 0 where none is, else GIVES_WAY or STAYS. doubt (T, S): 0..1, by how much less what was seen counts:
    frames beside a told pose lead to it."""

    raw: Poses
    told: Poses
    trust: NDArray[np.float64]
    doubt: NDArray[np.float64]
    touches: tuple[Touch, ...] = ()
    aparts: tuple[Apart, ...] = ()


def doubted(seen: Observations, given: Given) -> Tensor:
    """(N,) by how much less what was seen of the hand frames counts."""
    return torch.as_tensor(given.doubt[seen.frame.numpy(), seen.side.numpy()]).double()


def with_told_poses(
    shape: ShotShape, seen: Observations, given: Given
) -> tuple[Observations, HandState, Tensor]:
    """The observations with the told poses as evidence, their state, and (N,) where there is one."""
    parameterisation = shape.parameterisation
    state, known = given.told.of(seen, parameterisation)
    trust = torch.as_tensor(given.trust[seen.frame.numpy(), seen.side.numpy()]).double() * known
    told = trust > 0
    if not bool(told.any()):
        return seen, state, told
    seen = _less_believed(seen, given)
    points = pose_points(parameterisation, seen.side, state).points_m
    landmarks = points[:, LANDMARKS]
    pixels = project_pinhole(landmarks, seen.K)
    world_m = landmarks - landmarks.mean(1, keepdim=True)
    world_m = world_m / shape.world_scale[seen.side][:, None, None]
    here = told[:, None, None]
    network = _told_network(seen, state, points[:, JOINTS], trust)
    return (
        replace(
            seen,
            pixels=torch.where(here, pixels, seen.pixels),
            score=torch.where(told[:, None], 1.0, seen.score),
            diagonal_px=torch.where(
                told, (pixels.amax(1) - pixels.amin(1)).norm(dim=-1).clamp(min=8.0), seen.diagonal_px
            ),
            world_m=torch.where(here, world_m, seen.world_m),
            network=network,
        ),
        state,
        told,
    )


def _less_believed(seen: Observations, given: Given) -> Observations:
    belief = 1 - doubted(seen, given)
    network = seen.network
    if network is not None:
        network = replace(network, confidence=belief * network.confidence)
    return replace(seen, score=belief[:, None] * seen.score, network=network)


def _told_network(seen: Observations, state: HandState, joints_m: Tensor, trust: Tensor) -> NetworkTargets:
    network = seen.network or _silent(seen)
    told, wrist_m = trust > 0, state.wrist_m
    other = seen.other.clamp(min=0)
    both = told & (seen.other >= 0) & told[other]
    return NetworkTargets(
        confidence=torch.where(told, trust, network.confidence),
        root=torch.where(told[:, None, None], state.root, network.root),
        angles_rad=torch.where(told[:, None, None], state.angles_rad, network.angles_rad),
        joints_m=torch.where(told[:, None, None], joints_m - wrist_m[:, None], network.joints_m),
        wrist_m=torch.where(told[:, None], wrist_m, network.wrist_m),
        from_other_m=torch.where(both[:, None], wrist_m - wrist_m[other], network.from_other_m),
    )


def _silent(seen: Observations) -> NetworkTargets:
    """Targets of a network that says nothing."""
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
