# SPDX-License-Identifier: GPL-3.0-or-later
"""How far each solved hand frame can be trusted: overall, in its pose, and in its distance.

The latter two are probabilities: logistic models of a few features, fitted to synthetic clips with known truth.
"""

import numpy as np

from inference_core.fitting.arrays import Flags, Floats, lengths
from inference_core.fitting.observations import NetworkTargets, Observations
from inference_core.fitting.parameterisation import PosedPoints
from inference_core.geometry.rotations import geodesic_angle
from inference_core.landmarks.odds import probability

# A mean landmark error of this share of the hand's box halves the trust.
_HALF_ERROR = 0.035
# The confidence of an interpolated frame, and the number of frame times from the
# nearest held one that halve it.
_INTERPOLATED, _INTERPOLATED_HALVES = 0.5, 6.0
# A disagreement of this size between network and solve halves the trust.
_HALF_ANGLE_DEG, _HALF_DISTANCE = 35.0, 0.12
# The usual disagreement where the network was not asked, in these units.
_USUAL_ANGLE, _USUAL_DISTANCE = 0.15, 0.4
# Log odds for the features below: joints about the middle knuckle within 10 mm; distance within 5 %. They rise with
# scores and fall with everything else.
_POSE_ODDS = (-1.9, 4.13, -2.55, -1.21, -0.38)
_DISTANCE_ODDS = (-0.15, 1.08, -0.30, 0.0, -0.78)
# The same without a network: scores are then the landmark network's for the whole hand, and less informative.
_POSE_ODDS_ALONE = (-6.91, 5.84, -3.60, 0.0, 0.0)
_DISTANCE_ODDS_ALONE = (-1.63, 0.60, -0.17, 0.0, 0.0)


def confidence_features(seen: Observations, posed: PosedPoints, error_px: Floats) -> Floats:
    """(N, 5) the features that predict trust: constant, landmark scores, landmark error, disagreement with the
    network in rotation and in depth. error_px (N,): mean reprojection error.
    """
    share = _error_share(seen, error_px)
    rotation = depth = np.zeros_like(share)
    if seen.network is not None:
        rotation = np.rad2deg(geodesic_angle(posed.state.root, seen.network.root)) / _HALF_ANGLE_DEG
        depth = np.abs(posed.state.image_depth[:, 2] - np.log(np.maximum(seen.network.wrist_m[:, 2], 0.05)))
        known = seen.network.confidence > 0
        rotation = np.where(known, rotation, _USUAL_ANGLE)
        depth = np.where(known, depth / _HALF_DISTANCE, _USUAL_DISTANCE)
    doubts = np.minimum([share, rotation, depth], 2)
    return np.stack([np.ones_like(share), seen.score.mean(-1), *doubts], 1)


def pose_confidence(features: Floats, with_network: bool) -> Floats:
    """(N,) probability that the joints about the middle knuckle are within 10 mm, from confidence_features."""
    return probability(features @ np.array(_POSE_ODDS if with_network else _POSE_ODDS_ALONE))


def distance_confidence(features: Floats, with_network: bool) -> Floats:
    """(N,) probability that the distance from the camera is within 5 %, from confidence_features."""
    return probability(features @ np.array(_DISTANCE_ODDS if with_network else _DISTANCE_ODDS_ALONE))


def frame_confidence(seen: Observations, held: Flags, posed: PosedPoints, error_px: Floats) -> Floats:
    """(N,) 0..1 from landmark scores, reprojection error, length of gaps and agreement with the network.

    error_px (N,): mean reprojection error.
    """
    trust = seen.score.mean(-1) / (1 + _error_share(seen, error_px) ** 2)
    if seen.network is not None:
        known = np.minimum(seen.network.confidence, 1)
        trust = np.maximum(trust, known * ~seen.seen) * _agreement(seen.network, posed)
    return np.where(
        held, trust, _INTERPOLATED * 0.5 ** (_distance_to_held(seen, held) / _INTERPOLATED_HALVES)
    )


def _error_share(seen: Observations, error_px: Floats) -> Floats:
    """(N,) errors in units of the one that halves the trust."""
    return np.nan_to_num(error_px) / seen.diagonal_px / _HALF_ERROR


def _agreement(network: NetworkTargets, posed: PosedPoints) -> Floats:
    rotation = np.rad2deg(geodesic_angle(posed.state.root, network.root)) / _HALF_ANGLE_DEG
    wrist_m = posed.state.wrist_m
    apart = lengths(wrist_m - network.wrist_m) / wrist_m[:, 2] / _HALF_DISTANCE
    doubt = network.confidence * (rotation**2 + apart**2)
    return 1 / (1 + np.minimum(doubt, 1.0))


def _distance_to_held(seen: Observations, held: Flags) -> Floats:
    """(N,) frame times to the nearest held hand frame of the same side."""
    out = np.full_like(seen.time, np.inf)
    for side in (0, 1):
        own, sources = seen.side == side, (seen.side == side) & held
        if not own.any() or not sources.any():
            continue
        times, known = seen.time[own], seen.time[sources]
        after = np.minimum(np.searchsorted(known, times), len(known) - 1)
        before = np.maximum(after - 1, 0)
        out[own] = np.minimum(np.abs(known[after] - times), np.abs(times - known[before]))
    return out
