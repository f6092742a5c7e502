# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job on the bundled clip, whose true motion is known."""

import math
from pathlib import Path

import numpy as np
import pytest

import inference_core
from inference_core.pipeline import reconstruct
from inference_core.shared.messages import CaptureRequest
from inference_core.shared.take import Take

DEMO = Path(inference_core.__file__).parent / "demo"

Truth = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def truth() -> Truth:
    with np.load(DEMO / "two_hands_truth.npz", allow_pickle=False) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def take(truth: Truth, tmp_path_factory: pytest.TempPathFactory) -> Take:
    fov_deg = math.degrees(2 * math.atan(truth["size_px"][0] / (2 * truth["K"][0, 0])))
    out = tmp_path_factory.mktemp("demo") / "take.npz"
    return reconstruct(CaptureRequest(str(DEMO / "two_hands.mp4"), str(out), fov_deg=fov_deg, device="cpu"))


def test_both_hands_are_present_in_every_frame(take: Take, truth: Truth) -> None:
    assert take.present.shape == (len(truth["time_s"]), 2)
    assert (take.present > 0).all()
    np.testing.assert_allclose(take.time_s, truth["time_s"], atol=1e-3)
    np.testing.assert_allclose(take.K, truth["K"], rtol=1e-4)


def test_no_side_is_flipped(take: Take, truth: Truth) -> None:
    apart = np.linalg.norm(take.wrist_cam_m[:, :, None] - truth["wrist_cam_m"][:, None], axis=-1)
    assert (apart[:, [0, 1], [0, 1]] < apart[:, [0, 1], [1, 0]]).all()


def test_joints_about_the_wrist_are_within_12_mm(take: Take, truth: Truth) -> None:
    found = take.joints_cam_m - take.joints_cam_m[:, :, :1]
    true = truth["joints_cam_m"] - truth["joints_cam_m"][:, :, :1]
    assert np.linalg.norm(found - true, axis=-1).mean() < 0.012


def test_the_wrist_is_within_4_percent_of_its_distance(take: Take, truth: Truth) -> None:
    off = np.linalg.norm(take.wrist_cam_m - truth["wrist_cam_m"], axis=-1)
    assert (off / np.linalg.norm(truth["wrist_cam_m"], axis=-1)).mean() < 0.04
