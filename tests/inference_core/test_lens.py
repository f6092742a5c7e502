# SPDX-License-Identifier: GPL-3.0-or-later
"""The field of view by the hands themselves."""

import pytest

from inference_core.fitting.lens import estimate_lens
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_hand_model
from inference_core.shared.presence import ABSENT
from tests.inference_core.solve_scenes import SIZE_PX, make_shot, without


@pytest.fixture(scope="module")
def model() -> HandModel:
    return load_hand_model()


@pytest.mark.parametrize("fov_deg", [55.0, 75.0, 95.0])
def test_the_lens_lies_within_the_limits_of_its_estimate(model: HandModel, fov_deg: float) -> None:
    shot = make_shot(model, 40, distance_m=0.35, apart_m=0.3, fov_deg=fov_deg, noise=0.5)
    found = estimate_lens(shot.tracks, SIZE_PX, model)
    assert found is not None
    assert found.low_deg < fov_deg < found.high_deg
    assert found.low_deg < found.fov_deg < found.high_deg < 150


def test_small_hands_in_the_middle_of_the_picture_do_not_tell_the_lens(model: HandModel) -> None:
    shot = make_shot(model, 40, distance_m=2.5, apart_m=0.1)
    assert estimate_lens(shot.tracks, SIZE_PX, model) is None


def test_a_shot_without_hands_does_not_tell_the_lens(model: HandModel) -> None:
    tracks = make_shot(model, 4).tracks
    for side in (0, 1):
        tracks = without(tracks, slice(None), side, ABSENT)
    assert estimate_lens(tracks, SIZE_PX, model) is None
