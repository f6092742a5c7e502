# SPDX-License-Identifier: GPL-3.0-or-later
"""How far each solved hand frame is to be trusted."""

import torch
from torch import Tensor

from inference_core.fitting.observations import Observations
from inference_core.fitting.parameterisation import PosedPoints
from inference_core.geometry.rotations import geodesic_angle

# A mean landmark error of this share of the hand's box halves the trust.
_HALF_ERROR = 0.035
# A interpolated frame starts at this much and halves with every so many frame times from the nearest held one.
_BRIDGED, _BRIDGED_HALVES = 0.5, 6.0
# Apart by this much, network and solve halve each other's trust.
_HALF_ANGLE_DEG, _HALF_DISTANCE = 35.0, 0.12


def frame_confidence(seen: Observations, held: Tensor, posed: PosedPoints, error_px: Tensor) -> Tensor:
    """(N,) 0..1 from the landmarks' scores and how well the solved hand meets them, the length of gaps, and how
    well the network agrees. error_px (N,): mean reprojection error."""
    share = error_px.nan_to_num() / seen.diagonal_px / _HALF_ERROR
    from_landmarks = seen.score.mean(-1) / (1 + share.square())
    trust = from_landmarks
    if seen.network is not None:
        trust = torch.maximum(trust, seen.network.confidence * (~seen.seen)) * _agreement(seen, posed)
    return torch.where(held, trust, _BRIDGED * 0.5 ** (_distance_to_held(seen, held) / _BRIDGED_HALVES))


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
