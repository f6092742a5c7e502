# SPDX-License-Identifier: GPL-3.0-or-later
"""The palm backbone is the shipped detector without its heads, and gives features of the sizes asked for."""

import torch

from inference_core.landmarks.weights import load_landmark_networks
from inference_core.network.palm_backbone import PalmBackbone
from inference_core.network.picture import normalised


def test_the_features_are_those_the_detectors_own_heads_read() -> None:
    palm, backbone = load_landmark_networks().palm, PalmBackbone()
    backbone.load_detector()
    rgb = torch.rand(2, 3, 192, 192, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        _, fine, coarse, _ = backbone(normalised(rgb))
        boxes = [palm.boxes_8(fine), palm.boxes_16(coarse)]
        expected = palm(rgb).boxes
    rows = torch.cat([box.permute(0, 2, 3, 1).reshape(2, -1, 18) for box in boxes], 1)
    torch.testing.assert_close(rows, expected, atol=2e-3, rtol=1e-4)


def test_a_crop_gives_the_sizes_that_the_stages_ask_for() -> None:
    levels = PalmBackbone()(torch.randn(1, 3, 256, 256))
    assert [tuple(level.shape[1:]) for level in levels] == [
        (channels, size, size) for channels, size in zip(PalmBackbone.channels, (64, 32, 16, 8), strict=True)
    ]
