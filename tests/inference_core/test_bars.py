# SPDX-License-Identifier: GPL-3.0-or-later
"""Bars about footage: found where a film lies in a wider picture, and nowhere else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import inference_core
from inference_core.footage import Frame, FrameRange, open_footage
from inference_core.landmarks.networks import load_landmark_networks
from inference_core.tracking.bars import DarkBorders, bars_px
from inference_core.tracking.detect import detect_shot

DEMO = Path(inference_core.__file__).parent / "demo" / "two_hands.mp4"
SIZE_PX = (320, 180)


def pictures(count: int = 5, level: int = 120) -> list[NDArray[np.uint8]]:
    """Noise about a level."""
    noise = np.random.default_rng(0).integers(-20, 20, (count, SIZE_PX[1], SIZE_PX[0], 3))
    return list(np.clip(level + noise, 0, 255).astype(np.uint8))


def blackened(
    images: list[NDArray[np.uint8]], left: int, top: int, right: int, bottom: int
) -> list[NDArray[np.uint8]]:
    """With bars of these widths, which are nearly black."""
    bars = np.random.default_rng(1).integers(0, 12, images[0].shape).astype(np.uint8)
    inside = np.zeros((*images[0].shape[:2], 1), bool)
    inside[top : SIZE_PX[1] - bottom, left : SIZE_PX[0] - right] = True
    return [np.where(inside, image, bars) for image in images]


def bars_of(images: list[NDArray[np.uint8]]) -> tuple[int, int, int, int]:
    borders = DarkBorders()
    borders.add(images)
    return bars_px(borders.known, SIZE_PX)


@pytest.mark.parametrize("bars", [(0, 24, 0, 24), (40, 0, 40, 0), (30, 20, 31, 18)])
def test_bars_on_opposite_sides_are_found(bars: tuple[int, int, int, int]) -> None:
    assert bars_of(blackened(pictures(), *bars)) == bars
    faded = [*pictures(2, level=0), *pictures()]
    assert bars_of(blackened(faded, *bars)) == bars


@pytest.mark.parametrize(
    "images",
    [
        pictures(),
        pictures(level=0),
        blackened(pictures(), 0, 0, 0, 50),
        blackened(pictures(), 0, 20, 0, 50),
        [*blackened(pictures(), 0, 24, 0, 24), *pictures(1)],
    ],
    ids=["bright", "dark throughout", "dark below", "unequally dark", "dark for a while"],
)
def test_other_dark_borders_are_no_bars(images: list[NDArray[np.uint8]]) -> None:
    assert bars_of(images) == (0, 0, 0, 0)


def test_a_shot_that_is_looked_at_in_parts_has_the_same_bars() -> None:
    images = [*pictures(2, level=0), *blackened(pictures(), 12, 24, 12, 24)]
    first = DarkBorders()
    assert bars_px(first.known, SIZE_PX) == (0, 0, 0, 0)
    first.add([None, *images[:3]])
    resumed = DarkBorders(first.known)
    resumed.add(images[3:])
    assert bars_px(resumed.known, SIZE_PX) == bars_of(images) == (12, 24, 12, 24)


def test_detection_tells_where_the_picture_has_content() -> None:
    def boxed(frame: Frame) -> Frame:
        assert frame.image is not None
        return replace(frame, image=np.pad(frame.image, ((60, 60), (0, 0), (0, 0))))

    frames = list(open_footage(DEMO, FrameRange(0, 4)))
    height, width = frames[0].image.shape[:2] if frames[0].image is not None else (0, 0)
    networks = load_landmark_networks()
    assert detect_shot(frames, networks).content_px == (0, 0, width, height)
    found = detect_shot([boxed(frame) for frame in frames], networks)
    assert found.content_px == (0, 60, width, 60 + height)
