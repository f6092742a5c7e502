# SPDX-License-Identifier: GPL-3.0-or-later
"""Footage that is cut: where, and that nothing reaches from one piece to the next."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import inference_core
from inference_core.pipeline import reconstruct
from inference_core.shared.errors import TakeError
from inference_core.shared.messages import CaptureRequest
from inference_core.shared.presence import ABSENT
from inference_core.shared.take import load_take, save_take
from inference_core.tracking.arms import arms_between
from inference_core.tracking.cuts import PictureChanges, cut_frames
from inference_core.tracking.detections import ShotDetections
from tests.inference_core.movies import pictures_of, write_pictures
from tests.sample_take import sample_take

DEMO = Path(inference_core.__file__).parent / "demo" / "two_hands.mp4"
SIZE_PX = (180, 320)

Pictures = list[NDArray[np.uint8]]


def scene(seed: int, count: int, drift_px: int = 2) -> Pictures:
    """A soft pattern, one for each seed, that drifts."""
    coarse = np.random.default_rng(seed).integers(30, 220, (6, 8, 3)).astype(np.float64)
    pattern = np.kron(coarse, np.ones((30, 40, 1)))
    return [np.roll(pattern, drift_px * number, 1).astype(np.uint8) for number in range(count)]


def plain(level: int, count: int) -> Pictures:
    return [np.full((*SIZE_PX, 3), level, np.uint8)] * count


def waved(count: int) -> Pictures:
    """A bright square before black that goes to and fro by its own width from frame to frame."""
    pictures = [picture.copy() for picture in plain(0, count)]
    for number, picture in enumerate(pictures):
        left = 40 + round(100 * (1 + np.sin(0.8 * number)))
        picture[60:120, left : left + 60] = 200
    return pictures


def cuts_in(pictures: list[NDArray[np.uint8] | None]) -> list[int]:
    changes = PictureChanges()
    changes.add(pictures)
    return cut_frames(changes.known).tolist()


def test_pieces_begin_where_the_picture_changes_altogether() -> None:
    assert cuts_in([*scene(0, 8), *scene(1, 5), *scene(0, 8)]) == [8, 13]
    assert cuts_in([*scene(0, 8), *plain(0, 6), *scene(0, 8)]) == [8, 14]


@pytest.mark.parametrize(
    "pictures",
    [
        scene(0, 20, drift_px=16),
        waved(30),
        [(picture * gain).astype(np.uint8) for picture in scene(0, 20) for gain in (1.0, 0.5)],
        [(picture * number / 20).astype(np.uint8) for number, picture in enumerate(scene(0, 20))],
    ],
    ids=["pan", "fast hand before black", "flicker", "fade"],
)
def test_what_moves_or_changes_its_light_is_no_cut(pictures: Pictures) -> None:
    assert cuts_in([*pictures]) == []


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_is_no_piece(length: int) -> None:
    pictures = scene(0, 20)
    pictures[8 : 8 + length] = plain(255, length)
    assert cuts_in([*pictures]) == []


def test_missing_frames_neither_hide_nor_make_a_cut() -> None:
    pictures: list[NDArray[np.uint8] | None] = [*scene(0, 10), *scene(1, 10)]
    pictures[0] = pictures[5] = pictures[12] = None
    assert cuts_in(pictures) == [10]


def test_a_shot_that_is_looked_at_in_parts_has_the_same_changes() -> None:
    pictures = [*scene(0, 8), *scene(1, 8)]
    whole, parts = PictureChanges(), PictureChanges()
    assert whole.add(pictures) == [8]
    assert [parts.add(pictures[start : start + 4]) for start in range(0, 16, 4)] == [[], [], [8], []]
    resumed = PictureChanges(pictures[2:10], parts.known[:10])
    resumed.add(pictures[10:])
    np.testing.assert_array_equal(parts.known, whole.known)
    np.testing.assert_array_equal(resumed.known, whole.known)


@pytest.mark.parametrize("network", ["none", "shipped"])
def test_hands_of_one_piece_do_not_appear_in_another(network: str, tmp_path: Path) -> None:
    """Between two pieces with hands lies one without, shorter than gaps that are filled; the last is a mirror image."""
    shown = pictures_of(DEMO, range(0, 24))
    mirrored = [picture[:, ::-1] for picture in shown[12:]]
    title = np.kron(np.random.default_rng(0).integers(0, 255, (6, 10, 3)), np.ones((60, 64, 1))).astype(
        np.uint8
    )
    height, width = shown[0].shape[:2]
    movie = write_pictures(tmp_path / "cut.mp4", [*shown[:12], *[title[:height, :width]] * 6, *mirrored])
    take, plain_take = (
        reconstruct(
            CaptureRequest(str(path), str(tmp_path / f"{path.stem}.npz"), frames="0:30", network=network)
        )
        for path in (movie, DEMO)
    )
    assert take.cuts.tolist() == [12, 18]
    assert any("before frame 12, 18" in text for text in take.meta["warnings"])
    there = take.present != ABSENT
    assert there[:12].all() and not there[12:18].any() and there[18:].all()
    expected_px = plain_take.landmarks_px[:24, ..., :2].copy()
    expected_px[12:] = (np.array([width, 0]) - expected_px[12:, ::-1] * [1, -1]) * [1, 1]
    off_px = np.linalg.norm(take.landmarks_px[np.r_[:12, 18:30], ..., :2] - expected_px, axis=-1).mean((1, 2))
    assert off_px.max() < 0.05 * np.ptp(expected_px, axis=2).mean()


def test_arms_are_not_drawn_from_one_piece_to_the_next() -> None:
    arms_px = np.full((40, 2, 3, 3), np.nan, np.float32)
    arms_px[[2, 10, 24, 30]] = np.array([100, 180, 900, 900], np.float32)[:, None, None, None]
    nothing = np.zeros((0, 21, 3), np.float32)
    detections = ShotDetections(
        np.zeros(0, np.int64),
        np.zeros(0, np.int64),
        nothing,
        nothing,
        *np.zeros((2, 0), np.float32),
        np.zeros((0, 4), np.float32),
        np.arange(40) / 25,
        (640, 360),
        cuts=np.array([16, 34]),
    )
    drawn = arms_between(detections, arms_px)[:, 0, 0, 0]
    np.testing.assert_allclose(drawn[:16], np.clip(80 + 10 * np.arange(16.0), 100, 180))
    assert (drawn[16:34] == 900).all() and np.isnan(drawn[34:]).all()


def test_a_take_tells_its_cuts_by_the_numbers_of_frames(tmp_path: Path) -> None:
    take, path = sample_take(), tmp_path / "take.npz"
    save_take(replace(take, meta={**take.meta, "cuts": [int(take.frame[2])]}), path)
    assert load_take(path).cuts.tolist() == [2] and take.cuts.tolist() == []
    with pytest.raises(TakeError, match="cuts"):
        save_take(replace(take, meta={**take.meta, "cuts": ["2"]}), path)
