# SPDX-License-Identifier: GPL-3.0-or-later
"""Key reduction stays within its tolerance, for motions from a still hand to white noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blender_addon.cleanup.key_reduction import (
    BoneRest,
    Floats,
    ReducedCurve,
    Reduction,
    played,
    points,
    reduce_within_angle,
    reduce_within_distance,
)
from inference_core.shared import quaternions
from inference_core.shared.skeleton import PARENTS_16

FRAMES = np.arange(120, dtype=np.float64) + 1


def rest_hand() -> BoneRest:
    rng = np.random.default_rng(3)
    heads = np.zeros((16, 3))
    for bone, parent in enumerate(PARENTS_16):
        if parent >= 0:
            heads[bone] = heads[parent] + [0.0, 0.03, 0.0] + rng.normal(0, 0.004, 3)
    frames = quaternions.to_matrix(rng.normal(size=(16, 4)))
    return BoneRest(tuple(int(p) for p in PARENTS_16), heads, heads + np.array([0, 0.03, 0]), frames)


def motion(seed: int, speed: float, noise: float, frames: Floats = FRAMES) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    phase = frames[:, None, None] * speed * rng.uniform(0.3, 1, (1, 16, 3)) + rng.uniform(0, 6, (1, 16, 3))
    turns = quaternions.exp(0.6 * np.sin(phase) + noise * rng.normal(size=(len(frames), 16, 3)))
    location = 0.1 * np.sin(frames[:, None] * speed * [0.5, 0.7, 0.9]) + noise * 0.1 * rng.normal(
        size=(len(frames), 3)
    )
    return location, quaternions.continuous(turns)


def played_points(reduction: Reduction, frames: Floats, rest: BoneRest) -> Floats:
    turns = [quaternions.normalized(played(curve, frames, frames)) for curve in reduction.rotations]
    return points(played(reduction.location, frames, frames), np.stack(turns, 1), rest)


@settings(max_examples=15)
@given(
    st.integers(0, 1000),
    st.sampled_from([0.0, 0.05, 0.4]),
    st.sampled_from([0.0, 0.01]),
    st.sampled_from([1e-4, 1e-3]),
)
def test_no_point_of_the_hand_exceeds_the_bound(seed: int, speed: float, noise: float, bound: float) -> None:
    rest = rest_hand()
    location, turns = motion(seed, speed, noise)
    reduction = reduce_within_distance(FRAMES, location, turns, rest, bound)
    apart = np.linalg.norm(
        played_points(reduction, FRAMES, rest) - points(location, turns, rest), axis=-1
    ).max()
    assert apart <= bound
    assert reduction.largest_error_units == pytest.approx(apart, abs=1e-12)


def test_a_smooth_motion_needs_far_fewer_keys() -> None:
    location, turns = motion(1, 0.05, 0.0)
    reduction = reduce_within_distance(FRAMES, location, turns, rest_hand(), 5e-4)
    assert reduction.keys_before == 17 * len(FRAMES)
    assert reduction.keys_after * 5 < reduction.keys_before


def test_a_still_hand_keeps_only_its_first_and_last_keys() -> None:
    location, turns = motion(1, 0.0, 0.0)
    reduction = reduce_within_distance(FRAMES, location, turns, rest_hand(), 1e-5)
    assert reduction.keys_after == 17 * 2


def test_a_larger_bound_never_needs_more_keys() -> None:
    location, turns = motion(4, 0.2, 0.003)
    kept = [
        reduce_within_distance(FRAMES, location, turns, rest_hand(), bound).keys_after
        for bound in (1e-5, 1e-4, 1e-3, 1e-2)
    ]
    assert kept == sorted(kept, reverse=True)


def test_a_bound_of_zero_changes_nothing() -> None:
    location, turns = motion(5, 0.3, 0.01)
    reduction = reduce_within_distance(FRAMES, location, turns, rest_hand(), 0.0)
    assert reduction.largest_error_units < 1e-15
    assert np.array_equal(reduction.rotations[3].rows, np.arange(len(FRAMES)))


@pytest.mark.parametrize("bound_deg", [0.2, 2.0])
def test_no_bone_exceeds_an_angular_bound(bound_deg: float) -> None:
    location, turns = motion(6, 0.2, 0.01)
    reduction = reduce_within_angle(FRAMES, location, turns, rest_hand(), bound_deg, 1e-3)
    assert reduction.largest_error_deg <= bound_deg
    assert reduction.keys_after < reduction.keys_before


def test_uneven_frames_are_reduced_at_their_own_times() -> None:
    frames = np.cumsum(np.random.default_rng(0).uniform(0.3, 3.0, 90))
    location, turns = motion(7, 0.1, 0.0, frames)
    rest = rest_hand()
    reduction = reduce_within_distance(frames, location, turns, rest, 5e-4)
    apart = np.linalg.norm(played_points(reduction, frames, rest) - points(location, turns, rest), axis=-1)
    assert apart.max() <= 5e-4 and reduction.keys_after * 3 < reduction.keys_before


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_shortest_takes_are_kept(count: int) -> None:
    frames = FRAMES[:count]
    location, turns = motion(8, 0.3, 0.0, frames)
    reduction = reduce_within_distance(frames, location, turns, rest_hand(), 1e-4)
    assert reduction.largest_error_units <= 1e-4
    assert len(reduction.location.rows) == min(count, 2) or count == 3


def test_spans_are_cubics_through_their_keys_with_their_slopes() -> None:
    frames = np.array([0.0, 4.0, 10.0])
    cubic = np.polynomial.Polynomial([1.0, -0.5, 0.25, 0.03])
    curve = ReducedCurve(np.arange(3), cubic(frames)[:, None], cubic.deriv()(frames)[:, None])
    at = np.linspace(0, 10, 41)
    np.testing.assert_allclose(played(curve, frames, at)[:, 0], cubic(at), atol=1e-12)
