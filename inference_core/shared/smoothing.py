# SPDX-License-Identifier: GPL-3.0-or-later
"""Smoothing of positions and rotations without lag, fast enough to follow a slider.

At each frame, a parabola is fitted to the motion under a Gaussian window in time and evaluated at its centre.
Unlike a plain average, this preserves curvature, such as the peak of an accent, and handles uneven
frame times. Absent (NaN) stretches stay absent and nothing is smoothed across them.

Standard library and numpy only: Blender's side shares this file.
"""

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.quaternions import normalized

# The window's standard deviation at strength 1. It grows with the strength's square: finely at the low end.
FULL_WINDOW_S = 0.25

_REACH = 3.0  # in standard deviations
_MOST_TAPS = 180  # on each side; bounds the cost at extreme frame rates
# Keeps the fit defined with fewer than three frames; negligible elsewhere.
_RIDGE = 1e-5

Floats = NDArray[np.floating]


def smooth_positions(positions: Floats, time_s: Floats, strength: float) -> Floats:
    """Smoothed positions (T, ..., C), the time axis first; strength 0..1, where 0 changes nothing."""
    if strength <= 0 or len(time_s) < 3:
        return positions.copy()
    return _filtered(positions, np.asarray(time_s, np.float64), strength)


def smooth_rotations(wxyz: Floats, time_s: Floats, strength: float) -> Floats:
    """Smoothed unit quaternions (T, ..., 4), signs continuous in time; strength 0..1, where 0 changes nothing.

    Quaternions of consistent sign are averaged and normalised (Markley et al. 2007), which commutes with
    rotating the camera or the rest pose.
    """
    if strength <= 0 or len(time_s) < 3:
        return wxyz.copy()
    return normalized(_filtered(_one_sign(wxyz), np.asarray(time_s, np.float64), strength))


def _one_sign(wxyz: Floats) -> Floats:
    """The same rotations, each quaternion on the side of the one before it."""
    turns = np.where((wxyz[1:] * wxyz[:-1]).sum(-1) < 0, -1, 1).astype(wxyz.dtype)
    signs = np.concatenate([np.ones_like(turns[:1]), np.cumprod(turns, axis=0)])
    return wxyz * signs[..., None]


def _filtered(values: Floats, time_s: NDArray[np.float64], strength: float) -> Floats:
    series = values.reshape(len(values), -1, values.shape[-1])
    known = ~np.isnan(series).any(-1)
    # Joints of one hand appear and disappear together, so they share weights.
    masks, group = np.unique(known, axis=1, return_inverse=True)
    weights = _weights(time_s, masks, FULL_WINDOW_S * min(strength, 1.0) ** 2)
    group = group.reshape(-1)
    filled = np.where(known[..., None], series, 0)
    reach = len(weights) // 2
    padded = np.pad(filled, ((reach, reach), (0, 0), (0, 0)))
    smoothed = np.zeros(series.shape, np.result_type(values.dtype, np.float32))
    for tap, weight in enumerate(weights.astype(smoothed.dtype)):
        smoothed += weight[:, group, None] * padded[tap : tap + len(series)]
    smoothed[~known] = np.nan
    return smoothed.reshape(values.shape).astype(values.dtype)


def _weights(time_s: NDArray[np.float64], known: NDArray[np.bool_], window_s: float) -> NDArray[np.float64]:
    """(2 K + 1, T, G): the weights of frames t - K .. t + K in the fit's value at t, which sum to 1."""
    count = len(time_s)
    spacing_s = float(np.median(np.diff(time_s)))
    reach = int(np.clip(np.ceil(_REACH * window_s / spacing_s), 1, min(count - 1, _MOST_TAPS)))
    runs = np.cumsum(~known, axis=0)  # constant within a run of known frames
    neighbours = np.arange(count)[None] + np.arange(-reach, reach + 1)[:, None]
    inside = (neighbours >= 0) & (neighbours < count)
    neighbours = neighbours.clip(0, count - 1)
    offset = ((time_s[neighbours] - time_s[None]) / window_s)[..., None]
    same_run = inside[..., None] & known[neighbours] & (runs[neighbours] == runs[None])
    window = np.exp(-0.5 * offset**2) * same_run
    total = np.maximum(window.sum(0), 1e-300)
    m1, m2, m3, m4 = ((window * offset**power).sum(0) / total for power in (1, 2, 3, 4))
    m2, m4 = m2 + _RIDGE, m4 + _RIDGE
    # First row of the inverse of the moments' matrix [[1, m1, m2], [m1, m2, m3], [m2, m3, m4]], by cofactors.
    constant, linear, square = m2 * m4 - m3**2, m2 * m3 - m1 * m4, m1 * m3 - m2**2
    weights = window * (constant + linear * offset + square * offset**2)
    return weights / np.where(known, weights.sum(0), 1)
