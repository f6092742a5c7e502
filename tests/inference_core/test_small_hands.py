# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands that are small in the picture, as in shots of a whole person: found, and nothing else taken for one."""

from pathlib import Path

import numpy as np
import pytest

import inference_core
from inference_core.pipeline import reconstruct
from inference_core.shared.messages import CaptureRequest
from inference_core.shared.presence import ABSENT
from inference_core.shared.take import Take
from inference_core.tracking.settings import DetectionSettings
from tests.inference_core.movies import write_small
from tests.shared_files import footage_file

DEMO = Path(inference_core.__file__).parent / "demo" / "two_hands.mp4"
HEIGHT, AT = 90, (700, 380)


def captured(movie: Path, network: str) -> Take:
    out = str(movie.with_suffix(".npz"))
    return reconstruct(CaptureRequest(str(movie), out, device="cpu", network=network))


@pytest.mark.parametrize("network", ["none", "shipped"])
def test_hands_of_a_sixteenth_of_the_picture_are_found_where_they_are(network: str, tmp_path: Path) -> None:
    small = captured(write_small(tmp_path / "small.mp4", DEMO, range(12), HEIGHT, AT), network)
    whole = reconstruct(CaptureRequest(str(DEMO), str(tmp_path / "t.npz"), frames="0:12", network=network))
    assert (small.present != ABSENT).all()
    scale = HEIGHT / whole.size_px[1]
    expected_px = whole.landmarks_px[..., :2] * scale + AT
    hand_px = np.linalg.norm(np.ptp(expected_px, axis=2), axis=-1).mean()
    assert hand_px < 720 / 15
    assert np.linalg.norm(small.landmarks_px[..., :2] - expected_px, axis=-1).mean() < 0.1 * hand_px


def test_small_hands_that_come_into_view_are_found_at_the_wrists_of_their_body(tmp_path: Path) -> None:
    """No search is due but in the first frame, in which they are out of view."""
    movie = write_small(tmp_path / "small.mp4", footage_file("touching/sign_more.mp4"), range(40), 180, AT)
    take = captured(movie, "shipped")
    assert DetectionSettings().search_first * 2 > take.frame_count
    assert (take.present[:4] == ABSENT).all()
    assert (take.present[20:] != ABSENT).mean() > 0.9


@pytest.mark.parametrize("height", [360, 180])
def test_a_person_whose_hands_are_out_of_view_has_none(height: int, tmp_path: Path) -> None:
    movie = footage_file("touching/sign_again.mp4")
    take = captured(write_small(tmp_path / "small.mp4", movie, range(5), height, (200, 100)), "shipped")
    assert (take.present == ABSENT).all()
