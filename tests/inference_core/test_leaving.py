# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands that leave the picture are gone; those that are only lost are not."""

import numpy as np
import pytest

from inference_core.shared.presence import ABSENT, SEEN
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.tracking.leaving import out_of_picture

FRAMES, WIDTH, HEIGHT, HAND = 60, 640, 360, 80.0


def tracks(first: int, last: int, start: tuple[float, float], step: tuple[float, float]) -> HandTracks:
    """A left hand that is seen in frames first..last - 1 on its way from `start`, in steps of a frame."""
    shape = np.random.default_rng(0).uniform(-0.5, 0.5, (21, 2)) * HAND
    landmarks = np.full((FRAMES, 2, 21, 3), np.nan, np.float32)
    landmarks[..., 2] = 0
    present = np.full((FRAMES, 2), ABSENT, np.uint8)
    for at in range(first, last):
        landmarks[at, LEFT, :, :2] = shape + start + np.array(step) * (at - first)
        landmarks[at, LEFT, :, 2], present[at, LEFT] = 1, SEEN
    world = np.zeros((FRAMES, 2, 21, 3), np.float32)
    return HandTracks(landmarks, world, present, np.zeros((FRAMES, 2), np.float32))


@pytest.mark.parametrize(
    ("start", "step"),
    [((320, 250), (0, 12)), ((320, 110), (0, -12)), ((130, 180), (-14, 0)), ((510, 180), (14, 0))],
)
def test_a_hand_that_leaves_the_picture_soon_disappears(
    start: tuple[float, float], step: tuple[float, float]
) -> None:
    gone = out_of_picture(tracks(20, 26, start, step), (0, 0, WIDTH, HEIGHT))
    assert gone[30:, LEFT].all() and not gone[:26].any() and not gone[:, RIGHT].any()


def test_a_hand_that_enters_is_absent_before() -> None:
    gone = out_of_picture(tracks(20, 40, (320, 330), (0, -10)), (0, 0, WIDTH, HEIGHT))
    assert gone[:19, LEFT].all() and not gone[20:].any()


@pytest.mark.parametrize("step", [(0, 0), (0, -3), (1, 0)])
def test_a_hand_lost_inside_the_picture_is_kept(step: tuple[float, float]) -> None:
    assert not out_of_picture(tracks(20, 40, (320, 260), step), (0, 0, WIDTH, HEIGHT))[40:55].any()


def test_a_hand_resting_at_the_border_is_kept() -> None:
    assert not out_of_picture(tracks(20, 40, (320, HEIGHT - 10), (0, 0)), (0, 0, WIDTH, HEIGHT)).any()


def test_a_hand_leaves_at_the_bar_of_a_boxed_picture() -> None:
    below = (0, 40, WIDTH, HEIGHT - 40)
    within = tracks(20, 26, (320, 210), (0, 12))
    assert out_of_picture(within, below)[30:, LEFT].all()
    assert not out_of_picture(within, (0, 0, WIDTH, HEIGHT))[30, LEFT]
