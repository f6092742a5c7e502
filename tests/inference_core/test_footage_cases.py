# SPDX-License-Identifier: GPL-3.0-or-later
"""Real-world movies and pictures with frame numbers burnt in; frames only, no networks."""

import numpy as np
import pytest

from inference_core.footage import Frame, open_footage
from tests.shared_files import case_file

# File: the burnt-in numbers, the frame rate, the size.
CASES = {
    "cover_art/clip_with_cover.mp4": (range(30), 30.0, (640, 360)),
    "edit_list/trimmed_on_phone.mp4": (range(10, 40), 30.0, (640, 360)),
    "edit_list/starts_late.mp4": (range(10, 40), 30.0, (640, 360)),
    "camcorder/00012.MTS": (range(25), 25.0, (1024, 576)),
    "flip/vflip.mp4": (range(30), 30.0, (640, 360)),
    "avi_null_frames/capture.avi": (
        [*range(5), 4, *range(6, 12), 11, 11, 11, *range(15, 22), 21, *range(23, 30)],
        30.0,
        (640, 360),
    ),
    "webcam_webm/recording.webm": (range(40), 16.331658, (640, 360)),
}


def burnt_in(frame: Frame, stored_width: int) -> int:
    """The number in the eight boxes of 12 stored pixels along the top, most significant first."""
    assert frame.image is not None
    scale = frame.image.shape[1] / stored_width
    boxes = [slice(round((bit + 0.3) * 12 * scale), round((bit + 0.7) * 12 * scale)) for bit in range(8)]
    levels = [frame.image[3:8, box].mean() for box in boxes]
    return int("".join("1" if level > 128 else "0" for level in levels), 2)


@pytest.mark.parametrize("name", CASES)
def test_every_frame_shows_its_burnt_in_number(name: str) -> None:
    path = case_file(f"footage/{name}")
    numbers, fps, size = CASES[name]
    footage = open_footage(path, warn=lambda text: None)
    stored = footage.info.showing.stored_px[0]
    assert [burnt_in(frame, stored) for frame in footage] == list(numbers)
    assert footage.info.fps == pytest.approx(fps)
    assert footage.info.size_px == size


@pytest.mark.parametrize("name", ["names/latin1.mp4", "names/latin1.avi"])
def test_a_movie_with_a_latin_1_title_is_read(name: str) -> None:
    assert len(list(open_footage(case_file(f"footage/{name}")))) == 6


def test_orientation_tags_work_alike_in_png_and_jpeg() -> None:
    jpg, png = (open_footage(case_file(f"footage/orientation/{kind}")) for kind in ("jpg", "png"))
    for first, second in zip(jpg, png, strict=True):
        assert first.image is not None and second.image is not None
        assert np.abs(first.image.astype(int) - second.image).mean() < 4
