# SPDX-License-Identifier: GPL-3.0-or-later
"""From an empty file to two shots on two characters in a Blender with a window, without leaving the panel.

The pictures are left in demo/two_shots.
"""

from typing import Any, Final

import av
import numpy as np
import pytest
from PIL import Image

from tests.gui.driven import FOOTAGE, driven, pictures_of, work_folder

DRIVE: Final = "drive_two_shots"
WRIST_M: Final = 0.01

pytestmark = pytest.mark.gui


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    found = driven(DRIVE)
    assert "error" not in found, found.get("error")
    return found


def test_two_clips_are_two_shots_on_two_characters(result: dict[str, Any]) -> None:
    assert result["shots"] == ["second", "two_hands"]
    assert all("both hands captured" in outcome for outcome in result["outcomes"])
    assert {result["shot_MIXAMO"], result["shot_RIGIFY"]} == set(result["shots"])
    for preset in ("MIXAMO", "RIGIFY"):
        assert max(result[f"distance_{preset}"]) < WRIST_M
        assert max(result[f"baked_distance_{preset}"]) < WRIST_M


def test_hands_and_characters_are_exported(result: dict[str, Any]) -> None:
    assert set(result["files"]) == {"second", "two_hands", "Walker", "rig"}
    assert min(result["files"].values()) > 100_000


def test_f12_shows_the_hands_over_the_right_frame_in_its_own_colours(result: dict[str, Any]) -> None:
    assert result["render"] == ["render_complete"]
    frames = _footage(30)
    rendered = np.asarray(Image.open(work_folder(DRIVE) / "rendered.png").convert("RGB")).astype(float)
    assert rendered.shape == frames[0].shape
    away = [np.abs(rendered - frame).mean(-1) for frame in frames]
    # Most of the picture is the plate: within a few grey levels, whatever decoded and scaled it.
    same = [float(np.mean(frame < 6)) for frame in away]
    assert int(np.argmax(same)) == result["rendered_frame"]
    hands = away[result["rendered_frame"]] > 25
    assert 0.02 < hands.mean() < 0.5


def test_every_step_has_its_picture(result: dict[str, Any]) -> None:
    assert len(list(pictures_of(DRIVE).glob("*.png"))) == 8


def _footage(count: int) -> list[np.ndarray]:
    with av.open(str(FOOTAGE)) as movie:
        decoded = movie.decode(video=0)
        return [next(decoded).to_ndarray(format="rgb24").astype(float) for _ in range(count)]
