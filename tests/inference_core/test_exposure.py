# SPDX-License-Identifier: GPL-3.0-or-later
"""Dark footage for the networks: what is brightened, by how much, and what stays as it is."""

import numpy as np
import pytest

from inference_core.footage.exposure import brightened
from inference_core.footage.records import Footage, Frame, footage_of_frames


def picture(brightest: int) -> np.ndarray:
    """(48, 800, 3) a gradient from black to a warm tone of this brightness."""
    ramp = np.linspace(0, 1, 800)[None, :, None] * np.array([1, 0.8, 0.6])
    return np.broadcast_to(np.rint(brightest * ramp), (48, 800, 3)).astype(np.uint8)


def footage(*images: np.ndarray | None) -> Footage:
    return footage_of_frames([Frame(n, n / 24, image) for n, image in enumerate(images)], 24.0)


def shown(image: np.ndarray) -> np.ndarray:
    (frame,) = brightened(footage(image))
    assert frame.image is not None
    return frame.image


@pytest.mark.parametrize("brightest", [170, 255])
def test_lit_frames_stay_as_they_are(brightest: int) -> None:
    assert np.array_equal(shown(picture(brightest)), picture(brightest))


@pytest.mark.parametrize("brightest", [40, 60, 90])
def test_dark_frames_become_half_as_bright_as_white_and_keep_their_colours(brightest: int) -> None:
    image = shown(picture(brightest))
    assert np.percentile(image.max(-1), 99) == pytest.approx(130, abs=4)
    spot = image[0, -1].astype(float)
    assert spot / spot[0] == pytest.approx([1, 0.8, 0.6], abs=0.03)


def test_a_clip_that_grows_lighter_does_not_flicker() -> None:
    means = np.array([shown(picture(brightest)).mean() for brightest in range(30, 170)])
    assert np.abs(np.diff(means)).max() < 0.03 * means.max()


def test_black_and_missing_frames_stay_black_and_missing() -> None:
    black, missing = brightened(footage(picture(0), None))
    assert black.image is not None and not black.image.any()
    assert missing.image is None


def test_frames_are_the_same_however_they_are_reached() -> None:
    some = brightened(footage(picture(50), picture(90), picture(250)))
    (alone,) = some.at([1])
    assert alone.image is not None
    assert np.array_equal(alone.image, shown(picture(90)))
