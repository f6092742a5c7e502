# SPDX-License-Identifier: GPL-3.0-or-later
"""The two-hand network's offset between the wrists, as a residual.

The network reads hands that it is unsure of too small, both alike, and then places both too far away and too far from
each other. So offsets are compared as shares of each estimate's own mean depth: that common error moves nothing.
"""

from dataclasses import dataclass

import numpy as np

from inference_core.fitting.arrays import Floats, Indices, lengths
from inference_core.fitting.normal_equations import pseudo_huber
from inference_core.fitting.observations import NetworkTargets
from inference_core.fitting.parameterisation import DEPTH, PosedPoints

# The standard deviation of a fully confident network's offset, as a share of the hands' mean depth.
_SIGMA, _DELTA = 0.025, 3.0


@dataclass(frozen=True)
class OffsetResidual:
    """The wrists' offset minus the network's, of P pairs (P, 3), in standard deviations; its derivatives
    (P, 3, 2, 3) by the image-depths of left and right; weight, cost (P,).
    """

    residual: Floats
    rows: Floats
    weight: Floats
    cost: Floats


def network_offset(
    network: NetworkTargets, posed: PosedPoints, left: Indices, right: Indices
) -> OffsetResidual:
    """Of the pairs of hand frames left, right (P,)."""
    wrist_m = posed.state.wrist_m
    left_m, right_m = wrist_m[left], wrist_m[right]
    mean_m = (left_m + right_m)[:, 2:] / 2
    theirs_m = np.maximum((network.wrist_m[left] + network.wrist_m[right])[:, 2:] / 2, 0.05)
    offset = (right_m - left_m) / mean_m
    residual = (offset - network.from_other_m[right] / theirs_m) / _SIGMA
    rows = np.stack([-_by_image_depth(left_m), _by_image_depth(right_m)], 2)
    depths_m = np.stack([left_m[:, 2], right_m[:, 2]], 1)
    rows[..., DEPTH.start] -= offset[..., None] * depths_m[:, None] / 2
    weight, cost = pseudo_huber(lengths(residual), _DELTA)
    trust = np.minimum(network.confidence[left], network.confidence[right])
    return OffsetResidual(residual, rows / (mean_m[..., None, None] * _SIGMA), weight * trust, cost * trust)


def _by_image_depth(wrist_m: Floats) -> Floats:
    """(P, 3, 3) derivatives of wrists (P, 3) by their image-depth."""
    rows = np.zeros((len(wrist_m), 3, 3))
    rows[:, 0, 0] = rows[:, 1, 1] = wrist_m[:, 2]
    rows[:, :, DEPTH.start] = wrist_m
    return rows
