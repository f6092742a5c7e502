# SPDX-License-Identifier: GPL-3.0-or-later
"""The size of hands as wider squares show it: where it counts, and what it changes."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import inference_core
from inference_core.footage import FrameRange, open_footage
from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.networks import load_landmark_networks
from inference_core.tracking.detect import detect_shot
from inference_core.tracking.detections import ShotDetections
from inference_core.tracking.settings import DetectionSettings
from inference_core.tracking.wider_square import growth, with_sizes

DEMO_CLIP = Path(inference_core.__file__).parent / "demo" / "two_hands.mp4"
FRAMES, FOCAL_PX = 5, 600.0
# Two hands with squares of 200 to 300 pixels: near ones.
HAND_PX = np.random.default_rng(5).uniform(-60, 60, (21, 2))


def two_hands(between_px: float, grown: NDArray[np.float64]) -> ShotDetections:
    """Two tracklets of still hands, both read larger by `grown` (FRAMES,), NaN where that was not read."""
    at, tracklet = np.repeat(np.arange(FRAMES), 2), np.tile([0, 1], FRAMES)
    points = np.zeros((2 * FRAMES, 21, 3), np.float32)
    points[..., :2] = HAND_PX + 400
    points[tracklet == 1, :, 0] += between_px
    ones = np.ones(2 * FRAMES, np.float32)
    crops = crops_from_landmarks(points.astype(np.float64)).astype(np.float32)
    return ShotDetections(
        at,
        tracklet,
        points,
        np.zeros_like(points),
        ones,
        ones,
        crops,
        np.arange(FRAMES) / 24,
        (1280, 720),
        growth=np.repeat(grown, 2).astype(np.float32),
    )


def change_of(before: ShotDetections, focal_px: float = FOCAL_PX) -> NDArray[np.float64]:
    """(FRAMES, 2) logarithm of the hands' size after, relative to that before."""
    after = with_sizes(before, focal_px)
    middles = (one.points_px[..., :2].mean(1) for one in (before, after))
    np.testing.assert_allclose(*middles, atol=1e-3)
    return growth(before.points_px[..., :2], after.points_px[..., :2]).reshape(FRAMES, 2)


def test_hands_grow_by_what_is_read_and_in_between_by_what_is_interpolated() -> None:
    change = change_of(two_hands(500, np.array([0.1, np.nan, np.nan, np.nan, 0.2])))
    np.testing.assert_allclose(change, np.tile(np.linspace(0.1, 0.2, FRAMES)[:, None], 2), atol=1e-4)


@pytest.mark.parametrize(
    ("between_px", "focal_px"), [(10, FOCAL_PX), (500, 10 * FOCAL_PX)], ids=["on one another", "far away"]
)
def test_hands_keep_the_size_of_their_own_square(between_px: float, focal_px: float) -> None:
    change = change_of(two_hands(between_px, np.full(FRAMES, 0.2)), focal_px)
    np.testing.assert_allclose(change, 0, atol=1e-4)


def test_detection_reads_sizes_on_every_nth_frame_of_a_hand_if_asked() -> None:
    networks = load_landmark_networks()
    frames = list(open_footage(str(DEMO_CLIP), FrameRange(0, 6)))
    read = detect_shot(frames, networks, DetectionSettings(sizes_every=4))
    assert sorted(read.at[np.isfinite(read.growth)].tolist()) == [0, 0, 4, 4]
    # These hands are seen well: both squares agree.
    assert np.nanmax(np.abs(read.growth)) < 0.1
    assert np.isnan(detect_shot(frames[:1], networks).growth).all()
