# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands that move steadily are read in some frames, and drawn in those between."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import inference_core
from inference_core.footage import Frame, FrameRange, open_footage
from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.networks import load_landmark_networks
from inference_core.tracking.detect import detect_shot
from inference_core.tracking.settings import DetectionSettings
from inference_core.tracking.strides import between, blended, unsteadiness
from inference_core.tracking.tracklets import Sighting, Tracklets

CLIP = Path(inference_core.__file__).parent / "demo" / "two_hands.mp4"
HAND = np.random.default_rng(5).uniform((-60, -180, -20), (60, 60, 20), (21, 3))


def sighting(at: int, bend: float = 0.1) -> Sighting:
    """A hand that flies along a parabola."""
    points_px = HAND + np.array([300 + 6.0 * at, 400 - 3.0 * at + bend * at**2, 0])
    crop = crops_from_landmarks(points_px)
    return Sighting(at, points_px.astype(np.float32), HAND.astype(np.float32) / 1000, 0.97, 0.9, crop, crop)


@pytest.mark.parametrize("frames", [(0, 4, 8), (2, 3, 7), (9, 8, 4)])
def test_sightings_between_lie_on_the_parabola_through_the_known_ones(frames: tuple[int, int, int]) -> None:
    drawn = between(*(sighting(at) for at in frames))
    step = 1 if frames[2] > frames[1] else -1
    assert [one.at for one in drawn] == list(range(frames[1] + step, frames[2], step))
    for one in drawn:
        np.testing.assert_allclose(one.points_px, sighting(one.at).points_px, atol=1e-3)
        np.testing.assert_allclose(one.next_crop, sighting(one.at).next_crop, atol=1e-3)
        assert one.presence == pytest.approx(0.97)


def test_the_less_steadily_a_hand_moves_the_more_counts_what_is_read() -> None:
    before, last = sighting(0), sighting(2)
    shares = [unsteadiness(before, last, sighting(4, bend)) for bend in np.linspace(0.1, 4, 400)]
    assert shares[0] == 0 and shares[-1] == 1
    assert (np.diff(shares) >= 0).all() and np.max(np.diff(shares)) < 0.05
    waving = sighting(4)
    waving.points_px[8, 0] += 300
    assert unsteadiness(before, last, waving) == 1


def test_sightings_that_are_settled_stay_what_they_are() -> None:
    tracklets, plain = Tracklets(), Tracklets()
    for one in (tracklets, plain):
        first, second, third = one.start(sighting(0)), one.start(sighting(20)), one.start(sighting(2, 5))
        for at in (1, 2, 3):
            one.add(first, sighting(at))
        one.add(second, sighting(21))
        one.add(third, sighting(19))
    tracklets.settle(3)
    assert tracklets.last_of(0) == [] and plain.first_frame(0) == tracklets.first_frame(0) == 0
    tracklets = Tracklets.restored(tracklets.state(), [tracklets.settled()])
    tracklets.settle(20)
    for one in (tracklets, plain):
        assert not one.join(0, 2), "both have a sighting in frame 2"
        assert one.join(1, 0) and not one.join(2, 1)
        assert [one.first_frame(number) for number in range(3)] == [0, 0, 2]
    assert [number for number, _ in tracklets.last_of(20)] == [0]
    for start in (0, 3):
        np.testing.assert_equal(tracklets.settled(start)["at"], [0, 1, 2, 2, 3, 19][start:])
    np.testing.assert_equal(tracklets.columns(), plain.columns())
    for none in (Tracklets().columns(), Tracklets().settled(), Tracklets().unsettled()):
        assert none["at"].shape == (0,) and none["points_px"].shape == (0, 21, 3)


def test_a_sighting_between_goes_over_from_what_is_drawn_to_what_is_read() -> None:
    drawn, read = sighting(3), replace(sighting(3, bend=2), presence=0.9)
    for share, one in ((0, drawn), (1, read)):
        np.testing.assert_allclose(blended(drawn, read, share).points_px, one.points_px, atol=1e-4)
        assert blended(drawn, read, share).presence == pytest.approx(one.presence)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return list(open_footage(CLIP, FrameRange(0, 30)))


def test_hands_followed_in_strides_are_where_they_are_if_every_frame_is_read(frames: list[Frame]) -> None:
    networks, read = load_landmark_networks(), list[int]()

    def counted(pictures: np.ndarray) -> tuple[np.ndarray, ...]:
        read.append(len(pictures))
        return networks.early(pictures)

    counting = replace(networks, early=counted)
    every = detect_shot(frames, counting, DetectionSettings(longest_stride=1))
    all_read = sum(read)
    read.clear()
    some = detect_shot(frames, counting)
    assert sum(read) < 0.7 * all_read
    np.testing.assert_array_equal(some.at, every.at)
    np.testing.assert_array_equal(np.unique(some.tracklet), np.unique(every.tracklet))
    order = [np.lexsort((one.points_px[:, 0, 0], one.at)) for one in (some, every)]
    off_px = some.points_px[order[0], :, :2] - every.points_px[order[1], :, :2]
    shares = np.linalg.norm(off_px, axis=-1).mean(-1) / every.crops[order[1], 2]
    assert shares.mean() < 0.01 and shares.max() < 0.05
