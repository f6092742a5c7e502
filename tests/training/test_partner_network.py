# SPDX-License-Identifier: GPL-3.0-or-later
"""The partner network's labels and training: the other hand where it is, and none where there is none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inference_core.landmarks.formats import PARTNER_FILE
from inference_core.landmarks.hand_crops import points_to_crop
from inference_core.landmarks.partner_network import PartnerNetwork, load_partner_network
from inference_core.landmarks.weights import load_landmark_network
from training.__main__ import main
from training.hand_crops.early_features import torch_reader
from training.hand_crops.made import made_crops, made_rows
from training.hand_crops.scenes import build_hand_scene
from training.hand_crops.shards import CropSet, scene_settings, shard_path, write_shard
from training.hand_crops.windows import windows_of
from training.partner_network.train import errors, loss, truth_of
from training.synthetic.generate import load_kit
from training.synthetic.randomness import Randomness

KIT = load_kit(torch.device("cpu"))
SCENES = replace(scene_settings(), backgrounds=2)


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two shards."""
    folder = tmp_path_factory.mktemp("crops")
    for number in range(2):
        rows = made_rows(KIT, SCENES, 3, 12 * number, 12, 2, torch_reader(load_landmark_network()))
        write_shard(shard_path(folder, 3, number), rows)
    return folder


def test_partner_landmarks_are_those_of_the_other_hand() -> None:
    """In the frame of the first hand's crop, mirrored with it; NaN for a hand that is alone."""
    windows = windows_of(build_hand_scene(Randomness(3, torch.arange(12)), KIT, SCENES))
    for number, (picture, side) in enumerate(zip(windows.picture, windows.side, strict=True)):
        other = ((windows.picture == picture) & (windows.side == 1 - side)).nonzero()[:, 0]
        if len(other):
            np.testing.assert_array_equal(windows.partner[number], windows.points[int(other[0])])
        else:
            assert np.isnan(windows.partner[number]).all()
    made = made_crops(KIT, SCENES, 3, torch.arange(12), 2)
    told = points_to_crop(made.windows.partner, made.cuts.square, made.cuts.shown)
    torch.testing.assert_close(made.cuts.partner, torch.from_numpy(told).float(), equal_nan=True)


def test_hands_at_the_crops_edge_are_not_labelled() -> None:
    points = torch.zeros(3, 21, 2)
    points[1], points[2] = torch.nan, 1.5
    truth = truth_of(points)
    assert truth.shown.tolist() == [True, False, False] and truth.absent.tolist() == [False, True, False]


def test_the_loss_ignores_unlabelled_crops() -> None:
    network = PartnerNetwork().eval()
    told = network(torch.zeros(2, 112, 14, 14))
    edge = truth_of(torch.full((2, 21, 2), 1.5))
    assert float(loss(told, edge)) == 0


def test_the_command_trains_a_network_that_can_be_loaded(crops: Path, tmp_path: Path) -> None:
    out = tmp_path / PARTNER_FILE
    options = ["--crops", str(crops), "--held-back", "1"]
    assert main(["partner-network", str(out), *options, "--time-limit-s", "0"]) == 0
    rows = CropSet([shard_path(crops, 3, 1)])
    untrained = errors(load_partner_network(out), rows)["off"]
    assert main(["partner-network", str(out), *options, "--time-limit-s", "6"]) == 0
    assert errors(load_partner_network(out), rows)["off"] < untrained
    assert out.with_suffix(".json").is_file()
