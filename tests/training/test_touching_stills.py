# SPDX-License-Identifier: GPL-3.0-or-later
"""Stills of touching hands: their contents, and the evaluation of detected hands."""

import numpy as np
import pytest

from training.evaluation.touching import stills_of, way_row
from training.synthetic.touching.stills import HEIGHT_PX, WIDTH_PX, Still
from training.synthetic.touching.ways import WAYS

CLASP = [way.name for way in WAYS].index("clasp")


@pytest.fixture(scope="module")
def stills() -> list[Still]:
    return list(stills_of(CLASP, 2))


def test_hands_are_whole_large_and_brighter_than_the_background(stills: list[Still]) -> None:
    for still in stills:
        assert still.image.shape == (HEIGHT_PX, WIDTH_PX, 3)
        assert ((still.joints_px >= 0) & (still.joints_px < (WIDTH_PX, HEIGHT_PX))).all()
        assert (still.lengths_px > 100).all() and (still.lengths_px < 450).all()
        inside = still.joints_px.reshape(-1, 2).astype(int)
        assert still.image[inside[:, 1], inside[:, 0]].mean() > 1.5 * still.image[:20, :20].mean()
    assert np.abs(stills[0].joints_px - stills[1].joints_px).max() > 10


def test_the_truth_scores_perfectly_and_errors_are_penalised(stills: list[Still]) -> None:
    true = [still.joints_px for still in stills]
    names = ("both %", "sides %", "wrists %", "joints % of box")
    assert [way_row(stills, true)[name] for name in names] == [100, 100, 100, 0]
    exchanged = way_row(stills, [points[::-1] for points in true])
    assert (exchanged["both %"], exchanged["sides %"]) == (100, 0) and np.isnan(exchanged["joints % of box"])
    one = [np.stack([points[0], np.full((21, 2), np.nan)]) for points in true]
    assert way_row(stills, one)["both %"] == 0 and way_row(stills, one)["wrists %"] == 50
    aside = way_row(stills, [still.joints_px + 0.1 * still.lengths_px.max() for still in stills])
    assert 10 < aside["joints % of box"] < 25
