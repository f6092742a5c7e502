# SPDX-License-Identifier: GPL-3.0-or-later
"""Laws of the smoothing: what it keeps, what it removes, and that it does not cross absences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_core.shared.quaternions import angle_between, exp, multiply, normalized
from inference_core.shared.smoothing import smooth_positions, smooth_rotations

strengths = st.floats(0.05, 1)
seeds = st.integers(0, 10_000)


def uneven_times(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.cumsum(rng.uniform(0.01, 0.06, count))


def wandering_rotations(rng: np.random.Generator, count: int, shape: tuple[int, ...] = (2, 3)) -> np.ndarray:
    """Random walks on the rotations with steps of about 10 degrees and signs at random."""
    wxyz = normalized(rng.normal(size=(count, *shape, 4)))
    for t in range(1, count):
        wxyz[t] = multiply(exp(rng.normal(scale=0.1, size=(*shape, 3))), wxyz[t - 1])
    return wxyz * rng.choice([-1, 1], (count, *shape, 1))


@given(seeds, strengths)
def test_parabolic_motion_is_kept_at_uneven_times(seed: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    time_s = uneven_times(rng, 60)
    a, b, c = rng.normal(size=(3, 2, 3))
    motion = a + b * time_s[:, None, None] + c * time_s[:, None, None] ** 2
    np.testing.assert_allclose(smooth_positions(motion, time_s, strength), motion, atol=1e-3)


@given(seeds, strengths)
def test_smoothing_commutes_with_time_reversal(seed: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    time_s, wxyz = uneven_times(rng, 50), wandering_rotations(rng, 50)
    forwards = smooth_rotations(wxyz, time_s, strength)
    backwards = smooth_rotations(wxyz[::-1], -time_s[::-1], strength)[::-1]
    assert angle_between(forwards, backwards).max() < 1e-6


@given(seeds, strengths)
def test_smoothing_commutes_with_rotations_of_camera_and_rest_pose(seed: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    time_s, wxyz = uneven_times(rng, 40), wandering_rotations(rng, 40)
    before, after = normalized(rng.normal(size=(2, 4)))
    turned = smooth_rotations(multiply(multiply(before, wxyz), after), time_s, strength)
    expected = multiply(multiply(before, smooth_rotations(wxyz, time_s, strength)), after)
    assert angle_between(turned, expected).max() < 1e-6


@given(seeds, strengths)
def test_quaternion_signs_do_not_matter_and_become_continuous(seed: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    time_s, wxyz = uneven_times(rng, 40), wandering_rotations(rng, 40)
    flipped = wxyz * rng.choice([-1, 1], (40, 2, 3, 1))
    first, second = smooth_rotations(wxyz, time_s, strength), smooth_rotations(flipped, time_s, strength)
    assert angle_between(first, second).max() < 1e-6
    assert (first[1:] * first[:-1]).sum(-1).min() > 0
    np.testing.assert_allclose(np.linalg.norm(first, axis=-1), 1, atol=1e-9)


@given(seeds, strengths)
def test_absent_stretches_stay_absent_and_separate_their_neighbours(seed: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    time_s, motion = uneven_times(rng, 60), rng.normal(size=(60, 2, 3))
    motion[20:30, 0] = np.nan
    motion[:5, 1] = np.nan
    smoothed = smooth_positions(motion, time_s, strength)
    assert np.array_equal(np.isnan(smoothed), np.isnan(motion))
    for side, run in ((0, slice(0, 20)), (0, slice(30, 60)), (1, slice(5, 60))):
        alone = motion.copy()
        alone[:, side] = np.nan
        alone[run, side] = motion[run, side]
        np.testing.assert_allclose(smooth_positions(alone, time_s, strength)[run, side], smoothed[run, side])


def test_strength_zero_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    wxyz = wandering_rotations(rng, 20)
    assert np.array_equal(smooth_rotations(wxyz, np.arange(20) / 25, 0), wxyz)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_short_stretches_are_smoothed(count: int, strength: float) -> None:
    motion = np.random.default_rng(0).normal(size=(count, 2, 3))
    smoothed = smooth_positions(motion, np.arange(count) / 25, strength)
    assert np.isfinite(smoothed).all()
    assert np.abs(smoothed).max() < 10


def test_more_strength_leaves_less_shake() -> None:
    rng = np.random.default_rng(0)
    time_s = np.arange(300) / 30
    shake = rng.normal(size=(300, 1, 3))
    left = [
        np.abs(np.diff(smooth_positions(shake, time_s, s), 2, axis=0)).mean() for s in (0, 0.3, 0.5, 0.7, 1)
    ]
    assert left == sorted(left, reverse=True)
    assert left[2] < left[0] / 4


def test_a_fast_accent_keeps_its_height_at_medium_strength() -> None:
    time_s = np.arange(90) / 30
    accent = np.exp(-0.5 * ((time_s - 1.5) / 0.15) ** 2)[:, None, None]
    assert smooth_positions(accent, time_s, 0.5).max() > 0.95


def test_single_precision_is_kept() -> None:
    wxyz = wandering_rotations(np.random.default_rng(0), 10).astype(np.float32)
    assert smooth_rotations(wxyz, np.arange(10) / 25, 0.5).dtype == np.float32
