# SPDX-License-Identifier: GPL-3.0-or-later
"""Where elbows point: as seen, steadied within a piece of footage."""

import numpy as np

from blender_addon.retarget.elbows import Forearms, poles

FRAMES = np.arange(1.0, 41.0)
WRISTS = np.tile([0.5, 0.0, 0.0], (len(FRAMES), 1))
USUAL = np.array([0.0, 0.0, -1.0])


def pointing(turns: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """(K, 3) to where elbows point that are seen turned (K,) about the arm, which lies along x."""
    seen = np.stack([np.zeros_like(turns), np.sin(turns), -np.cos(turns)], 1)
    return poles(Forearms(FRAMES, seen, cuts), FRAMES, WRISTS, np.zeros(3), USUAL)


def test_an_elbow_is_steadied_in_each_piece_of_footage_by_itself() -> None:
    turns = np.where(FRAMES > 20, 2.8, -0.4) + 0.2 * np.random.default_rng(0).normal(size=len(FRAMES))
    cut = pointing(turns, np.array([20.5]))
    for rows, there in ((FRAMES < 20.5, -0.4), (FRAMES > 20.5, 2.8)):
        now = np.arctan2(cut[rows, 1], -cut[rows, 2])
        assert np.abs(now - there).max() < 0.35 and np.abs(np.diff(now)).max() < 0.1
