# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames are read, and what is interpolated in the others."""

from dataclasses import replace

import numpy as np
import pytest

from inference_core.reading import joined, part
from inference_core.tracking.expected_hands import ExpectedHands
from inference_core.tracking.interpolate import STEPS, between, drawn_from, parts_of_shot
from inference_core.tracking.read_frames import pair_shares, reading_shares, with_frames_between
from inference_core.tracking.refine import HandReadings, asked_widely
from inference_core.two_hand.predictions import TwoHandPredictions

COUNT = 21


@pytest.fixture
def steady() -> ExpectedHands:
    """Two hands that move steadily, apart from one another: along lines, and one turns slowly."""
    random = np.random.default_rng(3)
    hand = random.uniform((-60, -180), (60, -60), (21, 2))
    at = np.arange(COUNT)
    angle = 0.01 * at
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1).reshape(-1, 2, 2)
    left = hand @ turn + np.stack([300 + 4.0 * at, 400 - 2.0 * at], -1)[:, None]
    right = hand * [-1, 1] + np.stack([900 - 3.0 * at, 380 + 0.0 * at], -1)[:, None]
    points_px = np.stack([left, right], 1)
    world_m = np.concatenate([points_px, np.zeros_like(points_px[..., :1])], -1) / 1000
    return ExpectedHands(points_px, world_m, np.full((COUNT, 2, 21), 0.9), np.full((COUNT, 2), 0.9))


def readings_of(expected: ExpectedHands, larger: float) -> HandReadings:
    """Readings that show each hand that much larger about its wrist."""
    wrist_px = expected.points_px[:, :, :1]
    points_px = wrist_px + larger * (expected.points_px - wrist_px)
    world_m = expected.world_m - expected.world_m[:, :, :1]
    return HandReadings(
        points_px, points_px, world_m, np.full((COUNT, 2, 21), 0.8), (expected.score > 0).any(-1)
    )


def test_of_hands_that_move_steadily_every_eighth_frame_is_read(steady: ExpectedHands) -> None:
    assert np.flatnonzero(reading_shares(steady)).tolist() == [0, 8, 16, 20]


def test_a_jump_is_read_in_its_own_frame_and_its_neighbours(steady: ExpectedHands) -> None:
    points_px = steady.points_px.copy()
    points_px[10, 1] += [40, 0]
    shares = reading_shares(replace(steady, points_px=points_px))
    assert (shares[8:13] == 1).all()
    assert not shares[[1, 2, 3, 4, 5, 6, 7, 13, 14, 15]].any()


def test_every_frame_is_read_where_a_hand_is_lost(steady: ExpectedHands) -> None:
    score = steady.score.copy()
    score[6:14, 0] = 0.3
    assert reading_shares(replace(steady, score=score))[5:15].min() == 1


def test_of_hands_that_lie_on_one_another_every_second_frame_is_read(steady: ExpectedHands) -> None:
    points_px = steady.points_px.copy()
    points_px[:, 1] = points_px[:, 0] + 5
    shares = reading_shares(replace(steady, points_px=points_px))
    assert (shares[::2] == 1).all() and not shares[1::2].any()


def test_one_hand_alone_and_a_shot_of_one_frame(steady: ExpectedHands) -> None:
    score = steady.score.copy()
    score[:, 0] = 0
    assert reading_shares(replace(steady, score=score)).sum() == 4
    one = ExpectedHands(**{name: values[:1] for name, values in vars(steady).items()})
    assert reading_shares(one).tolist() == [1]


def test_the_two_hand_network_counts_where_hands_are_near_or_not_seen(steady: ExpectedHands) -> None:
    assert not pair_shares(steady).any()
    points_px = steady.points_px.copy()
    points_px[8:, 1] = points_px[8:, 0] + 5
    score = steady.score.copy()
    score[3, 0] = 0.3
    assert np.flatnonzero(pair_shares(replace(steady, points_px=points_px, score=score)) == 1).tolist() == [
        3,
        *range(8, COUNT),
    ]
    score[:, 1] = 0
    assert not pair_shares(replace(steady, points_px=points_px, score=score)).any()


def test_the_two_hand_network_counts_less_and_less_as_hands_part(steady: ExpectedHands) -> None:
    points_px = steady.points_px.copy()
    points_px[:, 1] = points_px[:, 0] + np.linspace(0, 400, COUNT)[:, None, None] * [1, 0]
    shares = pair_shares(replace(steady, points_px=points_px))
    assert shares[0] == 1 and shares[-1] == 0
    assert (np.diff(shares) <= 0).all() and ((shares > 0) & (shares < 1)).sum() >= 2


@pytest.mark.parametrize("seed", range(20))
def test_what_wanted_frames_are_drawn_from_is_all_they_need(seed: int) -> None:
    random = np.random.default_rng(seed)
    shares = np.ones(45)
    for step in STEPS:
        at = np.arange(step // 2, 45 - step // 2, step)
        shares[at] = random.choice([0.0, 0.4, 1.0], len(at))
    wanted = random.random(45) < 0.2
    values = random.normal(size=(45, 3))
    needed = drawn_from(wanted, shares)
    only = np.where(needed[:, None], values, np.nan)
    np.testing.assert_array_equal(between(only, shares)[wanted], between(values, shares)[wanted])
    assert not needed[shares == 0].any() and needed.sum() < 45


def test_a_tiny_difference_in_the_landmarks_changes_the_result_little(steady: ExpectedHands) -> None:
    found = list[np.ndarray]()
    for jump_px in np.linspace(0, 40, 400):
        points_px = steady.points_px.copy()
        points_px[10, 1, 4] += [jump_px, 0]
        jumping = replace(steady, points_px=points_px)
        read = readings_of(jumping, 1.1)
        # Of what is read in single frames, much is noise.
        noise_px = np.random.default_rng(0).normal(0, 4, read.points_px.shape)
        shares = reading_shares(jumping)
        noisy = replace(read, points_px=read.points_px + noise_px)
        found.append(with_frames_between(noisy, jumping, shares).points_px)
    assert np.abs(np.diff(found, axis=0)).max() < 2


def test_corrections_are_carried_along_with_a_hand_that_moves_and_turns(steady: ExpectedHands) -> None:
    read, shares = readings_of(steady, 1.2), reading_shares(steady)
    holed = HandReadings(
        **{
            name: np.where((shares == 1).reshape(-1, *[1] * (values.ndim - 1)), values, 0).astype(
                values.dtype
            )
            for name, values in vars(read).items()
        }
    )
    full = with_frames_between(holed, steady, shares)
    assert full.read.all()
    for name, values in vars(read).items():
        np.testing.assert_allclose(getattr(full, name), values, atol=1e-3 if name == "world_m" else 0.2)
    for name, values in vars(holed).items():
        np.testing.assert_array_equal(getattr(full, name)[shares == 1], values[shares == 1])


def test_the_size_in_the_wider_square_is_read_in_some_frames_and_carried_to_the_others(
    steady: ExpectedHands,
) -> None:
    score = steady.score.copy()
    score[[0, 1, 2, 19, 20], 0] = 0
    expected = replace(steady, score=score)
    asked = asked_widely(expected, focal_px=300.0)
    assert [np.flatnonzero(side).tolist() for side in asked.T] == [
        [3, 4, 8, 12, 16, 18],
        [0, 4, 8, 12, 16, 20],
    ]
    own, wide = readings_of(expected, 1.0), readings_of(expected, 1.1).points_px
    some = replace(own, wide_px=np.where(asked[..., None, None], wide, np.nan))
    full = with_frames_between(some, expected, np.ones(COUNT))
    np.testing.assert_allclose(full.wide_px[own.read], wide[own.read], atol=0.2)


def test_a_long_shot_is_interpolated_in_parts_as_in_one_piece() -> None:
    """Shares of all kinds, wider squares read at intervals up to the longest gap and beyond, frames not read."""
    count, random = 1000, np.random.default_rng(5)
    points_px = random.uniform(0, 700, (count, 2, 21, 2))
    expected = ExpectedHands(
        points_px, random.normal(size=(count, 2, 21, 3)), np.ones((count, 2, 21)), np.ones((count, 2))
    )
    wide_px = points_px + random.normal(size=points_px.shape)
    wide_px[random.random((count, 2)) > 0.05] = np.nan
    # Across the first part's end.
    wide_px[440:500], wide_px[[452, 481]] = np.nan, points_px[[452, 481]] + 3
    readings = HandReadings(
        points_px + random.normal(size=points_px.shape),
        wide_px,
        expected.world_m + 1,
        random.random((count, 2, 21)),
        random.random((count, 2)) > 0.02,
    )
    shares = np.where(np.arange(count) % 8 == 0, 1.0, random.choice([0.0, 0.4, 1.0], count))
    estimates = TwoHandPredictions.nothing(count)
    estimates.rotations[shares > 0] = np.linalg.qr(
        random.normal(size=(int((shares > 0).sum()), 2, 16, 3, 3))
    )[0]
    hands, predictions = list[HandReadings](), list[TwoHandPredictions]()
    for rows, own in parts_of_shot(count):
        some = with_frames_between(part(readings, rows), part(expected, rows), shares[rows])
        hands.append(part(some, own))
        predictions.append(part(part(estimates, rows).with_frames_between(shares[rows]), own))
    assert len(hands) > 2
    for whole, parts in (
        (with_frames_between(readings, expected, shares), joined(hands)),
        (estimates.with_frames_between(shares), joined(predictions)),
    ):
        for name, values in vars(whole).items():
            np.testing.assert_array_equal(getattr(parts, name), values, err_msg=name)
