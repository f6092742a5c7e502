# SPDX-License-Identifier: GPL-3.0-or-later
"""The field of view by the hands themselves: under which lens the hand model fits their landmarks best.

A hand far from the middle of the picture, or a close one, is drawn out by a wide lens. That says the focal length to
about a third, so it is offered to the user and never used without being asked for.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.fitting.observations import gather
from inference_core.fitting.parameterisation import pose_points
from inference_core.fitting.residuals import frame_cost
from inference_core.fitting.single_frame import estimate_shape, fit_frames, start_state, well_seen
from inference_core.geometry.camera import camera_from_fov
from inference_core.hand_model.hand import HandModel
from inference_core.tracking.hand_tracks import HandTracks

# The fields of view that are tried, and how many well-seen frames of each hand.
_TRIED_DEG, _FRAMES = (38.0, 50.0, 64.0, 80.0, 98.0, 116.0), 16
# Errors of the focal length's logarithm: by how hands are misread, and by how much more than independent landmarks'
# the errors of a shot's landmarks change the best fit. From clips with known lenses (docs/experiments.md).
_MISREAD, _ALIKE = 0.3, 2.0
# Where the error is larger, there is nothing to offer.
_WORTHLESS = 0.45


@dataclass(frozen=True)
class LensEstimate:
    """A field of view across the wider side, degrees, and its limits: one standard deviation to either side."""

    fov_deg: float
    low_deg: float
    high_deg: float


def estimate_lens(tracks: HandTracks, size_px: tuple[int, int], hand_model: HandModel) -> LensEstimate | None:
    """The lens under which the hands fit their landmarks best; None if they do not tell."""
    chosen = well_seen(tracks, _FRAMES)
    if not chosen.any():
        return None
    model = hand_model.to("cpu", torch.float64)
    with torch.no_grad():
        costs = np.array([_cost(model, tracks, chosen, size_px, fov_deg) for fov_deg in _TRIED_DEG])
    found = _lowest(np.array([_log_focal(fov_deg) for fov_deg in _TRIED_DEG]), costs)
    if found is None or found[1] > _WORTHLESS:
        return None
    log_focal, sigma = found
    return LensEstimate(_fov_deg(log_focal), _fov_deg(log_focal + sigma), _fov_deg(log_focal - sigma))


def _cost(
    model: HandModel, tracks: HandTracks, chosen: NDArray[np.uint8], size_px: tuple[int, int], fov_deg: float
) -> float:
    """The misfit of the chosen hand frames (T, S), each on its own, with the shape that suits them under this lens."""
    camera, count = camera_from_fov(size_px, fov_deg), len(chosen)
    seen = gather(tracks, None, chosen, camera, np.arange(count) * 1.0, model.joint_axes, range(count))
    shape = estimate_shape(model, seen)
    state = fit_frames(shape, seen, start_state(shape, seen))
    cost = frame_cost(seen, pose_points(shape.parameterisation, seen.side, state), shape.world_scale)
    return float(cost.sum() + 0.5 * shape.parameterisation.betas.square().sum())


def _lowest(log_focal: NDArray[np.float64], costs: NDArray[np.float64]) -> tuple[float, float] | None:
    """Where a parabola through the lowest cost and its neighbours is lowest, and its sigma; None at the ends."""
    k = int(costs.argmin())
    if not 0 < k < len(costs) - 1:
        return None
    near = slice(k - 1, k + 2)
    curvature, slope, _ = np.polyfit(log_focal[near] - log_focal[k], costs[near], 2)
    sigma = math.hypot(_MISREAD, _ALIKE / math.sqrt(2 * curvature))
    return float(log_focal[k] - slope / (2 * curvature)), sigma


def _log_focal(fov_deg: float) -> float:
    return -math.log(math.tan(math.radians(fov_deg) / 2))


def _fov_deg(log_focal: float) -> float:
    return math.degrees(2 * math.atan(math.exp(-log_focal)))
