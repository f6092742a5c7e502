# SPDX-License-Identifier: GPL-3.0-or-later
"""An animator's edits interpolate, hold, swap and smooth as asked, and change nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from blender_addon.cleanup.edits import deleted, held, refilled, smoothed, turned_over
from blender_addon.cleanup.soft_ends import mixed, weights
from blender_addon.poses.hand_pose import HandPose, posed
from blender_addon.scene.motion import better_order
from blender_addon.scene.track import HandTrack, inside, led_to, merged, rows_of, runs
from inference_core.shared import quaternions


def moving_hand(frames: np.ndarray, noise: float = 0.0) -> HandTrack:
    rng = np.random.default_rng(0)
    phase = frames[:, None, None] * 0.08 + np.arange(48).reshape(1, 16, 3)
    turns = quaternions.exp(0.5 * np.sin(phase) + noise * rng.normal(size=(len(frames), 16, 3)))
    location = np.stack([frames * 0.01, np.sin(frames * 0.1) * 0.1, np.cos(frames * 0.1) * 0.1], 1)
    location = location + 0.05 * noise * rng.normal(size=location.shape)
    count = len(frames)
    return HandTrack(
        frames,
        location,
        quaternions.continuous(turns),
        np.zeros(count, bool),
        np.ones(count),
        np.zeros(count, bool),
    )


TRACK = moving_hand(np.arange(1.0, 61.0))


def test_a_held_range_does_not_move_and_the_rest_is_untouched() -> None:
    edited = held(TRACK, 20, 30)
    rows = inside(TRACK, 20, 30)
    assert np.ptp(edited.location[rows], axis=0).max() == 0
    np.testing.assert_array_equal(edited.location[~rows], TRACK.location[~rows])
    assert quaternions.angle_between(edited.rotations_wxyz[~rows], TRACK.rotations_wxyz[~rows]).max() < 1e-7


def test_a_deleted_range_makes_the_hand_absent() -> None:
    edited = deleted(TRACK, 20, 30)
    assert len(edited.frames) == 49
    assert runs(edited) == [slice(0, 19), slice(19, 49)]


def test_refilling_a_deleted_range_approximates_the_deleted_motion() -> None:
    interpolated = refilled(deleted(TRACK, 20, 30), 20, 30)
    np.testing.assert_allclose(interpolated.frames, TRACK.frames)
    rows = inside(TRACK, 20, 30)
    assert interpolated.filled[rows].all() and not interpolated.filled[~rows].any()
    assert not interpolated.absent_after[:-1].any()
    assert np.abs(interpolated.location - TRACK.location).max() < 0.02
    assert np.degrees(quaternions.angle_between(interpolated.rotations_wxyz, TRACK.rotations_wxyz)).max() < 6
    np.testing.assert_array_equal(interpolated.location[~rows], TRACK.location[~rows])


def test_refilling_replaces_existing_motion() -> None:
    interpolated = refilled(TRACK, 20, 30)
    assert len(interpolated.frames) == 60 and interpolated.filled.sum() == 11


@pytest.mark.parametrize("span", [(1, 10), (55, 60), (1, 60)])
def test_a_range_without_motion_on_both_sides_is_not_changed(span: tuple[int, int]) -> None:
    assert refilled(TRACK, *span) is TRACK


def test_splitting_and_merging_is_the_identity() -> None:
    rows = inside(TRACK, 20, 30)
    again = merged(rows_of(TRACK, rows), rows_of(TRACK, ~rows))
    np.testing.assert_array_equal(again.frames, TRACK.frames)
    np.testing.assert_array_equal(again.location, TRACK.location)
    assert not again.absent_after[:-1].any()


def test_the_first_track_wins_where_both_have_frames() -> None:
    other = moving_hand(np.arange(50.0, 70.0), noise=0.2)
    both = merged(TRACK, other)
    np.testing.assert_array_equal(both.location[:60], TRACK.location)
    assert both.frames[-1] == 69


def test_smoothing_reduces_shake_and_keeps_the_motion() -> None:
    shaky = moving_hand(TRACK.frames, noise=0.05)
    smooth = smoothed(shaky, 24.0, 0.6)

    def shake(track: HandTrack) -> float:
        return float(np.abs(np.diff(track.location, 2, axis=0)).mean())

    assert shake(smooth) < shake(shaky) / 3
    assert np.abs(smooth.location - TRACK.location).mean() < np.abs(shaky.location - TRACK.location).mean()


def test_nothing_is_smoothed_across_an_absence() -> None:
    shaky = deleted(moving_hand(TRACK.frames, noise=0.05), 20, 30)
    alone = smoothed(rows_of(shaky, shaky.frames < 20), 24.0, 0.8)
    together = smoothed(shaky, 24.0, 0.8)
    np.testing.assert_allclose(together.location[:19], alone.location, atol=1e-12)


def test_mirroring_twice_is_the_identity_and_keeps_flexion() -> None:
    turns = TRACK.rotations_wxyz
    np.testing.assert_array_equal(turned_over(turned_over(turns)), turns)
    flexion = quaternions.exp(np.array([0.7, 0.0, 0.0]))
    np.testing.assert_array_equal(turned_over(flexion), flexion)


def test_another_euler_order_is_proposed_near_gimbal_lock() -> None:
    """In XYZ a turn about y by a right angle is gimbal lock: a hand that wobbles there is better keyed otherwise."""
    time = np.linspace(0, 18, 120)
    about_y = quaternions.exp(np.pi / 2 * np.array([0.0, 1.0, 0.0]))
    wobble = quaternions.exp(0.2 * np.stack([np.sin(3 * time), np.cos(2 * time), np.sin(5 * time)], 1))
    turns = quaternions.continuous(quaternions.multiply(about_y, wobble))[:, None]
    better = better_order(turns, "XYZ")
    assert better is not None
    order, fewest, strays = better
    assert fewest <= strays / 2 and better_order(turns, order) is None
    assert better_order(wobble[:, None], "XYZ") is None


def cut_hand() -> tuple[HandTrack, list[HandTrack]]:
    """Sixty frames of a shaky hand cut before frame 31, from where it is filmed elsewhere; and its two pieces."""
    shaky = moving_hand(TRACK.frames, noise=0.05)
    away = (shaky.frames > 30)[:, None]
    turned = quaternions.multiply(shaky.rotations_wxyz, quaternions.exp(np.array([0.9, 0.4, 0.0])))
    cut = replace(
        shaky,
        location=shaky.location + away * [0.4, -0.3, 0.2],
        rotations_wxyz=np.where(away[..., None], turned, shaky.rotations_wxyz),
        cuts=np.array([30.5]),
    )
    return cut, [rows_of(replace(cut, cuts=np.zeros(0)), rows) for rows in (~away[:, 0], away[:, 0])]


def moved_by_one(track: HandTrack) -> HandTrack:
    return replace(track, location=track.location + 1)


CUT_EDITS = {
    "smoothed": lambda track: smoothed(track, 24.0, 0.8),
    "held": lambda track: held(track, 24, 36),
    "offset": lambda track: mixed(track, moved_by_one(track), weights(track, inside(track, 28, 50), 6)),
    "posed": lambda track: posed(
        track, HandPose(1, np.tile([1.0, 0, 0, 0], (16, 1)), np.ones(16, bool)), 27, 29, 8
    ),
    "led": lambda track: led_to(track, moved_by_one(rows_of(track, inside(track, 29, 30))), 8),
}


@pytest.mark.parametrize("edit", CUT_EDITS)
def test_each_piece_of_cut_footage_is_edited_as_if_it_were_alone(edit: str) -> None:
    track, pieces = cut_hand()
    both = CUT_EDITS[edit](track)
    for piece in pieces:
        alone, rows = CUT_EDITS[edit](piece), np.isin(track.frames, piece.frames)
        np.testing.assert_allclose(both.location[rows], alone.location, atol=1e-12)
        turned = quaternions.angle_between(both.rotations_wxyz[rows], alone.rotations_wxyz)
        assert turned.max() < 1e-6


def test_a_gap_is_filled_from_its_own_piece_of_footage_only() -> None:
    track, pieces = cut_hand()
    for span in ((28, 33), (25, 30), (31, 34)):  # across the cut, and up to it on either side
        assert refilled(track, *span) is track
        assert refilled(deleted(track, *span), *span).absent_after[:-1].any()
    filled, alone = refilled(track, 26, 29), refilled(pieces[0], 26, 29)
    np.testing.assert_allclose(filled.location[:30], alone.location, atol=1e-12)
    assert not filled.absent_after[:-1].any() and len(runs(filled)) == 2
