# SPDX-License-Identifier: GPL-3.0-or-later
"""The plate movie: when it is needed, its frames, and the take's record of it."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import pytest

from inference_core.footage import FrameRange, open_footage
from inference_core.footage.orientation import upright
from inference_core.pipeline import reconstruct
from inference_core.preview import plate_beside, write_plate
from inference_core.shared.errors import DuohandError, RequestError
from inference_core.shared.messages import CaptureRequest
from inference_core.shared.take import load_take
from tests.inference_core.test_movies import copy_movie, number_of, numbers_of, picture, write_movie

FLIPPED = [65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30]


def flipped(stream: Any) -> None:
    stream.set_display_matrix(FLIPPED)


def test_plain_footage_needs_no_plate_movie(tmp_path: Path) -> None:
    plain = write_movie(tmp_path / "a.mp4", range(12))
    trimmed = copy_movie(plain, tmp_path / "trimmed.mp4", -8)
    late = copy_movie(plain, tmp_path / "late.mp4", 30)
    dropped = write_movie(tmp_path / "a.avi", [0, 1, 3, 4], codec="mjpeg", pix_fmt="yuvj420p")
    for path in (plain, trimmed, late, dropped):
        assert open_footage(path).info.showing.differences == ()
    assert open_footage(dropped).info.showing.held == (2,)


def test_footage_that_blender_shows_differently_is_marked(tmp_path: Path) -> None:
    def stretch(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(64, 45)

    uneven = write_movie(tmp_path / "uneven.mp4", [0, 1, 2, 7, 8, 9])
    turned = write_movie(tmp_path / "turned.mp4", range(4), prepare=flipped)
    wide = write_movie(tmp_path / "wide.mp4", range(4), prepare=stretch)
    for path, word in ((uneven, "uneven"), (turned, "flipped"), (wide, "square")):
        (difference,) = open_footage(path, warn=lambda text: None).info.showing.differences
        assert word in difference


@pytest.mark.parametrize("name", ["a.3gp", "a.avi", "a.mpg", "a.h264"])
def test_footage_that_blender_shows_wrongly_gets_a_plate_movie(tmp_path: Path, name: str) -> None:
    """Files it knows no suffix of, frames in another order than shown, a guessed length, no times."""
    codec = "mpeg2video" if name == "a.mpg" else "libx264"
    footage = open_footage(write_movie(tmp_path / name, range(20), codec=codec))
    assert numbers_of(footage) == list(range(20))
    assert footage.info.showing.differences


def test_pictures_that_blender_numbers_differently_are_marked(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        content = cv2.imencode(".png", picture(number))[1].tobytes()
        (tmp_path / f"shot_{number:04d}_v2.png").write_bytes(content)
    assert "last ones" in open_footage(tmp_path).info.showing.differences[0]


def test_the_plate_movie_shows_exactly_the_selected_frames(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.mp4", [0, 1, 2, 7, 8, 9, 20, 21], prepare=flipped)
    write_plate(open_footage(path, FrameRange(2, 8, 2)), tmp_path / "plate.mp4")
    plate = open_footage(tmp_path / "plate.mp4")
    assert plate.info.showing.differences == ()
    flipped_back = [upright(frame.image, 4) for frame in plate]
    assert [number_of(image) for image in flipped_back] == [2, 4, 6]


def test_pictures_of_odd_size_keep_their_size(tmp_path: Path) -> None:
    for number in (1, 2):
        content = cv2.imencode(".png", picture(number, 95, 63))[1].tobytes()
        (tmp_path / f"{number}.png").write_bytes(content)
    write_plate(open_footage(tmp_path), tmp_path / "plate.mp4")
    assert open_footage(tmp_path / "plate.mp4").info.size_px == (95, 63)


def capture(footage: Path, out: Path, **settings: Any) -> tuple[dict[str, Any], list[str]]:
    notices: list[str] = []
    request = CaptureRequest(str(footage), str(out), network="none", device="cpu", **settings)
    reconstruct(request, warn=notices.append)
    return dict(load_take(out).meta["footage"]), notices


def test_a_capture_writes_a_plate_if_needed_and_reports_it(tmp_path: Path) -> None:
    movie = write_movie(tmp_path / "a.mp4", range(3), prepare=flipped)
    said, notices = capture(movie, tmp_path / "take.npz")
    plate = plate_beside(tmp_path / "take.npz")
    assert said["plate"] == str(plate) and plate.is_file()
    assert said["showing"]["orientation"] == 4
    assert any(plate.name in text for text in notices)
    assert [number_of(upright(frame.image, 4)) for frame in open_footage(plate)] == [0, 1, 2]


@pytest.mark.parametrize("proxy", ["p.png", "a.mp4", "nowhere/p.mp4"])
def test_a_plate_overwrites_no_other_file(tmp_path: Path, proxy: str) -> None:
    movie = write_movie(tmp_path / "a.mp4", range(3))
    before = movie.read_bytes()
    with pytest.raises(RequestError):
        capture(movie, tmp_path / "take.npz", proxy=str(tmp_path / proxy))
    assert movie.read_bytes() == before


@pytest.mark.parametrize("limits", [{"max_pixels": 100}, {"max_frames": 2}, {"max_frames": 0}])
def test_limits_can_be_set_in_the_request(tmp_path: Path, limits: dict[str, int]) -> None:
    movie = write_movie(tmp_path / "a.mp4", range(3))
    with pytest.raises(DuohandError, match=r"max.(pixels|frames)"):
        capture(movie, tmp_path / "take.npz", **limits)


def test_an_impossible_file_name_is_refused_in_one_line(tmp_path: Path) -> None:
    for name in ("a" * 300 + ".mp4", "a" * 300 + "_####.png", "a" * 5000):
        with pytest.raises(DuohandError) as raised:
            capture(tmp_path / name, tmp_path / "take.npz")
        assert "\n" not in str(raised.value)
