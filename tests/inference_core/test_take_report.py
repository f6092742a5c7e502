# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of a take, and what is said of them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from inference_core.cli.take_report import (
    facts,
    figures,
    hand_figures,
    plot_curves,
    remarks,
    reprojection_px,
    shake_mm,
    summary,
)
from inference_core.shared.errors import TakeError
from tests.sample_take import sample_take


def test_shake_of_known_motion_is_correct() -> None:
    steady = np.arange(10)[:, None] * np.array([0.01, 0, 0])
    zigzag = steady + np.where(np.arange(10) % 2, 0.001, 0)[:, None] * np.array([0, 1, 0])
    assert shake_mm(steady) == pytest.approx(0, abs=1e-9)
    assert shake_mm(zigzag) == pytest.approx(2)


def test_reprojection_of_the_projected_joints_is_zero() -> None:
    take = sample_take()
    projected = take.joints_cam_m @ take.K.T
    landmarks = np.concatenate([projected[..., :2] / projected[..., 2:], np.ones((12, 2, 21, 1))], -1)
    assert np.nanmax(reprojection_px(dataclasses.replace(take, landmarks_px=landmarks))) < 1e-3
    moving_lens = dataclasses.replace(take, landmarks_px=landmarks, K=np.tile(take.K, (12, 1, 1)))
    assert np.nanmax(reprojection_px(moving_lens)) < 1e-3


def test_a_hand_neither_shakes_nor_speeds_where_the_footage_is_cut() -> None:
    take = sample_take(12)
    moved = take.wrist_cam_m + np.where(np.arange(12) < 5, 0, 0.5)[:, None, None]
    cut = dataclasses.replace(take, wrist_cam_m=moved.astype(np.float32), meta={**take.meta, "cuts": [5]})
    for side in (0, 1):
        whole, pieces = hand_figures(take, side), hand_figures(cut, side)
        assert pieces.top_speed_m_s == pytest.approx(whole.top_speed_m_s, rel=1e-3)
        assert pieces.shake_mm == pytest.approx(whole.shake_mm, rel=0.3)


def test_presence_is_counted_and_unsure_spans_are_listed() -> None:
    present = np.ones((12, 2), np.uint8)
    present[:4, 0], present[4:6, 0] = 0, 2
    take = sample_take(12, present)
    confidence = take.confidence.copy()
    confidence[7:9, 0] = 0.2
    hand = hand_figures(dataclasses.replace(take, confidence=confidence), 0)
    assert (hand.seen, hand.filled, hand.absent) == (6, 2, 4)
    assert hand.unsure == ((7, 8),)


def test_the_summary_tells_what_the_take_promises() -> None:
    take = sample_take(12, np.ones((12, 2), np.uint8))
    bare = dataclasses.replace(take, pose_confidence=None, distance_confidence=None)
    assert "confidence" in summary(bare)
    promised = np.full((12, 2), 0.8, np.float32)
    told = summary(dataclasses.replace(take, pose_confidence=promised, distance_confidence=promised / 2))
    assert "within 10 mm in 80% of them, distance within 5 % in 40%" in told


@pytest.mark.parametrize("frame_count", [1, 2, 12])
@pytest.mark.parametrize("there", [0, 1])
def test_every_take_can_be_reported(tmp_path: Path, frame_count: int, there: int) -> None:
    take = sample_take(frame_count, np.full((frame_count, 2), there, np.uint8))
    assert "frames seen" in [row[0] for row in figures(take)]
    assert f"{frame_count} in all" in facts(take) and isinstance(remarks(take), list)
    assert ("not in the footage" in summary(take)) == (there == 0)
    plot_curves(take, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_curves_that_cannot_be_written_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(TakeError, match="could not be written"):
        plot_curves(sample_take(), tmp_path / "nowhere" / "curves.png")
