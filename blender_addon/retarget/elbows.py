# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a character's elbow points while its arm reaches for a captured hand: as in the footage. No bpy here."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.take import Take

from ..scene.axes import Floats, world_from_cameras

# The weight of the usual direction relative to a seen elbow's, for elbows that are
# not seen and for stretched arms.
_USUAL: Final = 0.05
_SMOOTH_FRAMES: Final = 3.0  # seen elbows jitter more than hands


@dataclass(frozen=True)
class Forearms:
    """One arm of a take, T frames: unit vectors from wrist to elbow, times their confidence (T, 3).

    In the axes of the shot's empty; 0 where the elbow is unknown. cuts (C,): the frames at which the footage is cut.
    """

    frames: Floats
    towards_elbow: Floats
    cuts: Floats = field(default_factory=lambda: np.zeros(0))


def forearms_of(take: Take, side: int, frames: Floats, cuts: Floats) -> Forearms | None:
    """The take's forearms of that side at scene frames (T,), cut at those (C,); None if it knows no elbow."""
    if take.arms_cam_m is None or take.arms_score is None:
        return None
    along = take.arms_cam_m[:, side, 1].astype(np.float64) - take.wrist_cam_m[:, side]
    length = np.linalg.norm(along, axis=-1, keepdims=True)
    known = np.isfinite(length[:, 0]) & (length[:, 0] > 0) & (take.arms_score[:, side, 1] > 0)
    if not known.any():
        return None
    turns, _ = world_from_cameras(take.T_world_cam, 1.0)
    unit = np.einsum(
        "tab,tb->ta", turns, np.where(known[:, None], along / np.where(length > 0, length, 1), 0)
    )
    return Forearms(frames, unit * np.where(known, take.arms_score[:, side, 1], 0)[:, None], cuts)


def poles(forearms: Forearms, frames: Floats, wrists: Floats, shoulder: Floats, usual: Floats) -> Floats:
    """Points (K, 3) that the elbow should point to on frames (K,), for wrists (K, 3) and a shoulder (3,) at rest.

    usual (3,): the direction where nothing is seen. All in one frame. The points are an
    arm's length from the arm's middle.
    """
    seen = np.stack([np.interp(frames, forearms.frames, part) for part in forearms.towards_elbow.T], axis=-1)
    along = _unit(wrists - shoulder)
    straight = _unit(_across(np.broadcast_to(usual, along.shape), along))
    sideways = np.cross(along, straight)
    beside = _across(seen, along)
    weights = np.linalg.norm(beside, axis=-1)
    turns = np.arctan2((beside * sideways).sum(-1), (beside * straight).sum(-1))
    for rows in np.split(np.arange(len(frames)), np.searchsorted(frames, forearms.cuts)):
        turns[rows] = _steadied(turns[rows], weights[rows], frames[rows])
    across = np.cos(turns)[:, None] * straight + np.sin(turns)[:, None] * sideways
    reach = float(np.median(np.linalg.norm(wrists - shoulder, axis=-1)))
    return (shoulder + wrists) / 2 + reach * across


def _across(vectors: Floats, along: Floats) -> Floats:
    return vectors - (vectors * along).sum(-1, keepdims=True) * along


def _steadied(turns: Floats, weights: Floats, frames: Floats) -> Floats:
    """The angles (K,) of one piece of footage smoothed; nearer to 0 the lower their weights (K,)."""
    turns = _unwrapped(turns, weights > 0)
    return _smoothed(turns * weights, frames) / (_smoothed(weights, frames) + _USUAL)


def _unwrapped(turns: Floats, known: NDArray[np.bool_]) -> Floats:
    """The angles (K,) where known, each within half a turn of the previous one; 0 elsewhere."""
    found = np.zeros_like(turns)
    found[known] = np.unwrap(turns[known])
    return found


def _smoothed(values: Floats, frames: Floats) -> Floats:
    """The values (K,) averaged with a Gaussian window of a few frames."""
    reach = int(np.ceil(3 * _SMOOTH_FRAMES))
    total, weights = np.zeros_like(values), np.zeros_like(values)
    for shift in range(-reach, reach + 1):
        at = np.clip(np.arange(len(values)) + shift, 0, len(values) - 1)
        weight = np.exp(-0.5 * ((frames[at] - frames) / _SMOOTH_FRAMES) ** 2)
        total += weight * values[at]
        weights += weight
    return total / weights


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
