# SPDX-License-Identifier: GPL-3.0-or-later
"""The pair detector's views and training: hands where they are, mirrored ones on the other side."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.formats import PAIR_WEIGHTS, PALM_PX, PALM_WEIGHTS, WEIGHTS_FOLDER
from inference_core.landmarks.pair_detector import CELLS
from inference_core.landmarks.pair_network import load_pair_graph
from training.__main__ import main
from training.feature_cache.store import write_columns
from training.pair_detector.make import columns_of, picture_settings
from training.pair_detector.train import ViewSet, crops_of, errors, is_right, loss
from training.pair_detector.views import ABSENT, HARDLY, THERE, Views, views_of
from training.synthetic.batch import SyntheticBatch
from training.synthetic.generate import generate

PICTURES = 12


@pytest.fixture(scope="module")
def batch() -> SyntheticBatch:
    return generate(5, PICTURES, settings=replace(picture_settings(), backgrounds=2))


@pytest.fixture(scope="module")
def views(batch: SyntheticBatch) -> Views:
    return views_of(batch, 3, np.random.default_rng(1))


def test_hands_of_a_view_are_where_the_picture_has_them(batch: SyntheticBatch) -> None:
    """Left hands marked red and right ones blue, in pictures that are black otherwise."""
    size = batch.image.shape[-1]
    points_px = ((batch.landmarks_uv + 1) / 2 * size).double().numpy()
    marked = np.zeros((PICTURES, size, size, 3), np.uint8)
    for picture, crops in zip(marked, crops_from_landmarks(points_px), strict=True):
        for crop, colour in zip(crops, ((255, 0, 0), (0, 0, 255)), strict=True):
            cv2.circle(picture, (round(crop[0]), round(crop[1])), 9, colour, -1)
    images = torch.from_numpy(marked).permute(0, 3, 1, 2)
    views = views_of(replace(batch, image=images), 4, np.random.default_rng(2))
    apart = np.linalg.norm(views.crops[:, 0, :2] - views.crops[:, 1, :2], axis=-1) > 40
    colours, mirrored = [], 0
    for view, side in np.argwhere((views.hands == THERE) & apart[:, None]):
        x, y = views.crops[view, side, :2].astype(int)
        colour = views.images[view, y, x].astype(int)
        colours.append(abs(colour[0] - colour[2]))
        mirrored += (colour[0] > colour[2]) != (side == 0)
    assert len(colours) > 20 and np.mean(np.array(colours) > 20) > 0.8
    assert 0.2 < mirrored / len(colours) < 0.8


def test_hands_that_are_not_there_are_absent(batch: SyntheticBatch, views: Views) -> None:
    absent = ~batch.present.numpy().any(1).repeat(3)
    assert absent.any() and (views.hands[absent] == ABSENT).all()
    assert (views.hands == THERE).mean() > 0.4


def test_maps_that_tell_the_truth_cost_least() -> None:
    crops = torch.tensor([[[70.0, 90, 80, 0.5], [120, 100, 110, -2]]])
    hands = torch.full((1, 2), THERE)
    told = torch.zeros(1, 2, 7, CELLS, CELLS)
    told[:, :, 0] = -9
    at = (torch.arange(CELLS) + 0.5) * PALM_PX / CELLS
    for side in range(2):
        x, y, size, turn = crops[0, side]
        told[0, side, 1] = (x - at) / 16
        told[0, side, 2] = ((y - at) / 16)[:, None]
        told[0, side, 3:6] = torch.stack([(size / 96).log(), turn.cos(), turn.sin()])[:, None, None]
        told[0, side, 6] = 9
        told[0, side, 0, int(y // 16), int(x // 16)] = 9
    assert is_right(crops_of(told), crops[:, :, None, None]).all()
    true = float(loss(told, crops, hands))
    assert true < 0.1
    assert float(loss(told, crops + torch.tensor([20.0, 0, 0, 0]), hands)) > true + 1
    assert float(loss(told, crops + torch.tensor([0, 0, 0, 1.0]), hands)) > true + 0.5
    assert float(loss(told.flip(1), crops, hands)) > true + 1
    assert float(loss(told, crops, torch.full((1, 2), HARDLY))) == 0


def test_the_command_trains_a_network_that_can_be_loaded(views: Views, tmp_path: Path) -> None:
    for number in range(2):
        write_columns(tmp_path / f"views-1-{number:06d}.safetensors", columns_of(views))
    out = tmp_path / PAIR_WEIGHTS
    options = ["--views", str(tmp_path), "--held-back", "1"]
    assert main(["pair-detector", str(out), *options, "--time-limit-s", "6"]) == 0
    graph = load_pair_graph(out, WEIGHTS_FOLDER / PALM_WEIGHTS)
    views_again = ViewSet([tmp_path / "views-1-000000.safetensors"])
    np.testing.assert_allclose(
        graph(torch.from_numpy(views.images[:2]))[0],
        graph.network(views_again.features(torch.arange(2))),
        atol=0.5,
    )
    assert errors(graph.network, views_again)["proposed"] >= 0
    assert out.with_suffix(".json").is_file()
