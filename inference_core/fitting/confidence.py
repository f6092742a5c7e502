# SPDX-License-Identifier: GPL-3.0-or-later
"""How far each solved hand frame can be trusted: overall, in its pose, and in its distance.

The latter two are probabilities: logistic models of a few features, fitted to synthetic clips with known truth.
"""

import torch
from torch import Tensor

from inference_core.fitting.observations import Observations
from inference_core.fitting.parameterisation import PosedPoints
from inference_core.geometry.rotations import geodesic_angle

# A mean landmark error of this share of the hand's box halves the trust.
_HALF_ERROR = 0.035
# The confidence of an interpolated frame, and the number of frame times from the
# nearest held one that halve it.
_INTERPOLATED, _INTERPOLATED_HALVES = 0.5, 6.0
# A disagreement of this size between network and solve halves the trust.
_HALF_ANGLE_DEG, _HALF_DISTANCE = 35.0, 0.12
# Log odds for the features below: joints about the middle knuckle within 10 mm; distance within 5 %. They rise with
# scores and fall with everything else.
_POSE_ODDS = (-1.9, 4.13, -2.55, -1.21, -0.38)
_DISTANCE_ODDS = (-0.15, 1.08, -0.30, 0.0, -0.78)
# The same without a network: scores are then the landmark network's for the whole hand, and less informative.
_POSE_ODDS_ALONE = (-6.91, 5.84, -3.60, 0.0, 0.0)
_DISTANCE_ODDS_ALONE = (-1.63, 0.60, -0.17, 0.0, 0.0)


def confidence_features(seen: Observations, posed: PosedPoints, error_px: Tensor) -> Tensor:
    """(N, 5) the features that predict trust: constant, landmark scores, landmark error, disagreement with the
    network in rotation and in depth. error_px (N,): mean reprojection error.
    """
    share = (error_px.nan_to_num() / seen.diagonal_px / _HALF_ERROR).clamp(max=2)
    rotation = depth = torch.zeros_like(share)
    if seen.network is not None:
        rotation = geodesic_angle(posed.state.root, seen.network.root).rad2deg() / _HALF_ANGLE_DEG
        depth = (posed.state.image_depth[:, 2] - seen.network.wrist_m[:, 2].clamp(min=0.05).log()).abs()
        known = seen.network.confidence > 0
        rotation, depth = rotation * known, depth / _HALF_DISTANCE * known
    return torch.stack(
        [
            torch.ones_like(share),
            seen.score.mean(-1),
            share,
            rotation.clamp(max=2),
            depth.clamp(max=2),
        ],
        1,
    )


def pose_confidence(features: Tensor, with_network: bool) -> Tensor:
    """(N,) probability that the joints about the middle knuckle are within 10 mm, from confidence_features."""
    return torch.sigmoid(features @ torch.tensor(_POSE_ODDS if with_network else _POSE_ODDS_ALONE).double())


def distance_confidence(features: Tensor, with_network: bool) -> Tensor:
    """(N,) probability that the distance from the camera is within 5 %, from confidence_features."""
    odds = _DISTANCE_ODDS if with_network else _DISTANCE_ODDS_ALONE
    return torch.sigmoid(features @ torch.tensor(odds).double())


def frame_confidence(seen: Observations, held: Tensor, posed: PosedPoints, error_px: Tensor) -> Tensor:
    """(N,) 0..1 from landmark scores, reprojection error, length of gaps and agreement with the network.

    error_px (N,): mean reprojection error.
    """
    share = error_px.nan_to_num() / seen.diagonal_px / _HALF_ERROR
    from_landmarks = seen.score.mean(-1) / (1 + share.square())
    trust = from_landmarks
    if seen.network is not None:
        known = seen.network.confidence.clamp(max=1)
        trust = torch.maximum(trust, known * (~seen.seen)) * _agreement(seen, posed)
    return torch.where(
        held, trust, _INTERPOLATED * 0.5 ** (_distance_to_held(seen, held) / _INTERPOLATED_HALVES)
    )


def _agreement(seen: Observations, posed: PosedPoints) -> Tensor:
    network = seen.network
    assert network is not None
    rotation = geodesic_angle(posed.state.root, network.root).rad2deg() / _HALF_ANGLE_DEG
    wrist_m = posed.state.wrist_m
    apart = (wrist_m - network.wrist_m).norm(dim=-1) / wrist_m[:, 2] / _HALF_DISTANCE
    doubt = network.confidence * (rotation.square() + apart.square())
    return 1 / (1 + doubt.clamp(max=1.0))


def _distance_to_held(seen: Observations, held: Tensor) -> Tensor:
    """(N,) frame times to the nearest held hand frame of the same side."""
    out = torch.full_like(seen.time, torch.inf)
    for side in (0, 1):
        own, sources = seen.side == side, (seen.side == side) & held
        if not bool(own.any()) or not bool(sources.any()):
            continue
        times, known = seen.time[own], seen.time[sources].contiguous()
        after = torch.searchsorted(known, times).clamp(max=len(known) - 1)
        before = (after - 1).clamp(min=0)
        out[own] = torch.minimum((known[after] - times).abs(), (times - known[before]).abs())
    return out
