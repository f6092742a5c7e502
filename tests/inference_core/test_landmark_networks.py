# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks agree with TFLite, and accept no other weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from inference_core.landmarks.blocks import SameConv
from inference_core.landmarks.formats import (
    BODY_WEIGHTS,
    LANDMARK_WEIGHTS,
    PALM_WEIGHTS,
    PERSON_WEIGHTS,
    WEIGHTS_FOLDER,
)
from inference_core.landmarks.landmark_network import LandmarkNetwork
from inference_core.landmarks.networks import LandmarkNetworks, load_landmark_networks
from inference_core.landmarks.sparse_weights import with_zeros
from inference_core.landmarks.weights import load_weights
from inference_core.shared.errors import WeightsError

GOLDEN = Path(__file__).parents[1] / "data" / "landmarks" / "golden.npz"


@pytest.fixture(scope="module")
def networks() -> LandmarkNetworks:
    return load_landmark_networks()


def test_the_landmark_network_agrees_with_tflite(networks: LandmarkNetworks) -> None:
    golden = np.load(GOLDEN)
    points, presence, right, world_m = networks.run_landmark(golden["hand_picture"][None])
    np.testing.assert_allclose(points[0].ravel(), golden["hand_points"], atol=0.01)
    np.testing.assert_allclose(presence, golden["hand_presence"], atol=1e-5)
    np.testing.assert_allclose(right, golden["hand_right"], atol=1e-4)
    np.testing.assert_allclose(world_m[0].ravel(), golden["hand_world_m"], atol=1e-5)


def test_the_palm_network_agrees_with_tflite(networks: LandmarkNetworks) -> None:
    golden = np.load(GOLDEN)
    boxes, logits = networks.run_palm(golden["palm_picture"][None])
    np.testing.assert_allclose(boxes[0, ::16], golden["palm_boxes"], atol=0.01)
    np.testing.assert_allclose(logits[0, ::16], golden["palm_logits"][:, 0], atol=1e-3)


def test_a_batch_gives_the_results_of_single_pictures(networks: LandmarkNetworks) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (3, 224, 224, 3), np.uint8)
    together = networks.run_landmark(pictures)[0]
    alone = np.concatenate([networks.run_landmark(picture[None])[0] for picture in pictures])
    np.testing.assert_allclose(together, alone, atol=0.01)


@pytest.mark.parametrize(("kernel", "side"), [(3, 8), (5, 8), (5, 12)])
def test_stride_two_pads_as_tflite_does(kernel: int, side: int) -> None:
    layer = SameConv(2, 3, kernel, stride=2)
    picture = torch.rand(1, 2, side, side)
    total = max((side // 2 - 1) * 2 + kernel - side, 0)
    before = total // 2
    padded = F.pad(picture, (before, total - before, before, total - before))
    expected = F.conv2d(padded, layer.conv.weight, layer.conv.bias, stride=2)
    torch.testing.assert_close(layer(picture), expected)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weights: weights.pop("points.bias"), "missing points.bias"),
        (lambda weights: weights.update(extra=torch.zeros(1)), "unexpected extra"),
        (lambda weights: weights.update({"points.bias": torch.zeros(3)}), r"points.bias is \(3,\)"),
    ],
)
def test_weights_of_another_network_are_refused_by_name(change, said: str, tmp_path: Path) -> None:
    weights = with_zeros(load_file(WEIGHTS_FOLDER / LANDMARK_WEIGHTS))
    change(weights)
    save_file(weights, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=said):
        load_weights(LandmarkNetwork(), tmp_path / "other.safetensors")


def test_damaged_and_missing_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=PALM_WEIGHTS):
        load_landmark_networks(folder=tmp_path)
    (tmp_path / PALM_WEIGHTS).write_bytes((WEIGHTS_FOLDER / PALM_WEIGHTS).read_bytes()[:1000])
    with pytest.raises(WeightsError, match=PALM_WEIGHTS):
        load_landmark_networks(folder=tmp_path)


def test_the_shipped_weights_are_the_converters_output(tmp_path: Path) -> None:
    mediapipe = pytest.importorskip("mediapipe", reason="mediapipe is not installed: nothing to convert")
    pytest.importorskip("tflite", reason="the train extra is not installed: no TFLite parser")
    from training.convert.landmarks import convert_all

    convert_all(Path(mediapipe.__file__).parent, tmp_path)
    for name in (PALM_WEIGHTS, LANDMARK_WEIGHTS, PERSON_WEIGHTS, BODY_WEIGHTS):
        made, shipped = load_file(tmp_path / name), load_file(WEIGHTS_FOLDER / name)
        assert made.keys() == shipped.keys()
        assert all(torch.equal(made[key], shipped[key]) for key in made)
        card = Path(name).with_suffix(".json")
        assert (tmp_path / card).read_text() == (WEIGHTS_FOLDER / card).read_text()
