# SPDX-License-Identifier: GPL-3.0-or-later
"""Constraints on a range that is solved again: known per-frame poses, pinned poses, and contact.

A pinned pose becomes evidence with a higher confidence: the landmarks that the posed hand would show, and a confident
network prediction. Neighbours in time, the other hand and contact then adapt to it.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference_core.fitting.arrays import Flags, Floats, Indices, lengths
from inference_core.fitting.observations import NetworkTargets, Observations
from inference_core.fitting.parameterisation import (
    JOINTS,
    LANDMARKS,
    HandParameterisation,
    HandState,
    image_depth_of,
    pose_points,
)
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

    def of(self, seen: Observations, parameterisation: HandParameterisation) -> tuple[HandState, Flags]:
        """The state of the hand frames, and (N,) which of them are known; arbitrary where they are not."""
        at = (seen.frame, seen.side)
        root, fingers, wrist_m = (
            values[at].astype(np.float64) for values in (self.root_wxyz, self.pose_wxyz, self.wrist_cam_m)
        )
        known = np.isfinite(root).all(-1) & np.isfinite(fingers).all((-1, -2)) & np.isfinite(wrist_m).all(-1)
        identity = np.array([1.0, 0, 0, 0])
        root = np.where(known[:, None], root, identity)
        fingers = np.where(known[:, None, None], fingers, identity)
        wrist_m = np.where(known[:, None], wrist_m, np.array([0.0, 0.0, 0.5]))
        angles = _free_angles(parameterisation, seen.side, quaternion_to_matrix(fingers))
        return HandState(image_depth_of(wrist_m, _NEAREST_M), quaternion_to_matrix(root), angles), known


def with_unfree_turns(
    parameterisation: HandParameterisation,
    pinned_wxyz: NDArray[np.floating],
    solved_wxyz: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Solved fingers (T, S, 15, 4) with the pinned rotations that the solve cannot represent."""
    pinned, solved = (quaternion_to_matrix(turns.astype(np.float64)) for turns in (pinned_wxyz, solved_wxyz))
    side = np.arange(2)
    free = parameterisation.finger_rotations(side, _free_angles(parameterisation, side, pinned))
    return matrix_to_quaternion(pinned @ np.swapaxes(free, -1, -2) @ solved)


def _free_angles(parameterisation: HandParameterisation, side: Indices, fingers: Floats) -> Floats:
    """(..., 15, 3) the angles by which the solve moves fingers (..., 15, 3, 3) of the sides (...)."""
    axes = parameterisation.axes[side]
    return log(np.swapaxes(axes, -1, -2) @ fingers @ axes) * parameterisation.is_free


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


def doubted(seen: Observations, constraints: SolveConstraints) -> Floats:
    """(N,) how much to reduce the weight of the hand frames' observations."""
    return constraints.doubt[seen.frame, seen.side]


def trusted(seen: Observations, constraints: SolveConstraints) -> Floats:
    """(N,) trust in the hand frames' pinned poses, 0 for none."""
    return constraints.trust[seen.frame, seen.side]


def with_pinned_poses(
    shape: ShotShape, seen: Observations, constraints: SolveConstraints
) -> tuple[Observations, HandState, Flags]:
    """The observations with the pinned poses as evidence, their state, and (N,) where a pose is pinned."""
    parameterisation = shape.parameterisation
    state, known = constraints.motion.of(seen, parameterisation)
    trust = trusted(seen, constraints) * known
    pinned = trust > 0
    if not pinned.any():
        return seen, state, pinned
    seen = _less_believed(seen, constraints)
    points = pose_points(parameterisation, seen.side, state).points_m
    landmarks = points[:, LANDMARKS]
    pixels = project_pinhole(landmarks, seen.K)
    world_m = landmarks - landmarks.mean(1, keepdims=True)
    world_m = world_m / shape.world_scale[seen.side][:, None, None]
    here = pinned[:, None, None]
    network = _network_with_pins(seen, state, points[:, JOINTS], trust)
    diagonal_px = np.maximum(lengths(pixels.max(1) - pixels.min(1)), 8.0)
    return (
        replace(
            seen,
            pixels=np.where(here, pixels, seen.pixels),
            score=np.where(pinned[:, None], 1.0, seen.score),
            diagonal_px=np.where(pinned, diagonal_px, seen.diagonal_px),
            world_m=np.where(here, world_m, seen.world_m),
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
    seen: Observations, state: HandState, joints_m: Floats, trust: Floats
) -> NetworkTargets:
    network = seen.network or _silent(seen)
    pinned, wrist_m = trust > 0, state.wrist_m
    other = np.maximum(seen.other, 0)
    both = pinned & (seen.other >= 0) & pinned[other]
    return NetworkTargets(
        confidence=np.where(pinned, trust, network.confidence),
        root=np.where(pinned[:, None, None], state.root, network.root),
        angles_rad=np.where(pinned[:, None, None], state.angles_rad, network.angles_rad),
        joints_m=np.where(pinned[:, None, None], joints_m - wrist_m[:, None], network.joints_m),
        wrist_m=np.where(pinned[:, None], wrist_m, network.wrist_m),
        from_other_m=np.where(both[:, None], wrist_m - wrist_m[other], network.from_other_m),
    )


def _silent(seen: Observations) -> NetworkTargets:
    """Targets of a network with no predictions."""
    count = len(seen)
    nothing = np.zeros((count, 3))
    return NetworkTargets(
        confidence=np.zeros(count),
        root=np.broadcast_to(np.eye(3), (count, 3, 3)),
        angles_rad=np.zeros((count, 15, 3)),
        joints_m=np.zeros((count, 21, 3)),
        wrist_m=nothing,
        from_other_m=nothing,
    )
