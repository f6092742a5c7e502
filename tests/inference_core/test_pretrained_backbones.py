# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled landmark networks without their heads as backbones, with features of the required sizes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from inference_core.landmarks.weights import load_landmark_network, load_palm_network
from inference_core.two_hand.card import WEIGHTS_FILE, WeightsCard
from inference_core.two_hand.configuration import DIR_S
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.picture import normalised
from inference_core.two_hand.pretrained_backbones import LandmarkBackbone, PalmBackbone
from inference_core.two_hand.weights import load_weights, save_weights


def test_palm_features_are_the_inputs_of_the_detectors_heads() -> None:
    palm, backbone = load_palm_network(), PalmBackbone()
    backbone.load_pretrained()
    rgb = torch.rand(2, 3, 192, 192, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        _, fine, coarse, _ = backbone(normalised(rgb))
        boxes = [palm.boxes_8(fine), palm.boxes_16(coarse)]
        expected = palm(rgb).boxes
    rows = torch.cat([box.permute(0, 2, 3, 1).reshape(2, -1, 18) for box in boxes], 1)
    torch.testing.assert_close(rows, expected, atol=2e-3, rtol=1e-4)


def test_landmark_features_are_the_inputs_of_the_networks_later_parts() -> None:
    landmark, backbone = load_landmark_network(), LandmarkBackbone()
    backbone.load_pretrained()
    rgb = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        _, _, coarse, last = backbone(normalised(rgb))
        early = landmark.early_features(rgb)
        late = landmark.late_blocks(early)
    torch.testing.assert_close(coarse, early, atol=2e-3, rtol=1e-4)
    torch.testing.assert_close(last, late, atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("kind", [PalmBackbone, LandmarkBackbone])
def test_feature_sizes_match_the_stages(kind: type[PalmBackbone | LandmarkBackbone]) -> None:
    levels = kind()(torch.randn(1, 3, 256, 256))
    assert [tuple(level.shape[1:]) for level in levels] == [
        (channels, size, size) for channels, size in zip(kind.channels, (64, 32, 16, 8), strict=True)
    ]


def test_only_trained_backbones_are_stored_with_the_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = DirNetwork(DIR_S.with_stages(0))
    assert isinstance(network.backbone, PalmBackbone)
    network.backbone.load_pretrained()
    card = WeightsCard(network.configuration, "", "", "")
    save_weights(network, tmp_path / "still", card, half=True)
    assert not [key for key in load_file(tmp_path / "still" / WEIGHTS_FILE) if key.startswith("backbone.")]
    back, _ = load_weights(tmp_path / "still")
    assert isinstance(back.backbone, PalmBackbone) and back.backbone.is_pretrained()

    with torch.no_grad():
        network.backbone.trunk.stem.conv.weight += 0.01
    save_weights(network, tmp_path / "taught", card, half=True)
    back, _ = load_weights(tmp_path / "taught")
    assert isinstance(back.backbone, PalmBackbone)
    torch.testing.assert_close(
        back.backbone.trunk.stem.conv.weight, network.backbone.trunk.stem.conv.weight, atol=1e-3, rtol=1e-3
    )
