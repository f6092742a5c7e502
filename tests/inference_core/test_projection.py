# SPDX-License-Identifier: GPL-3.0-or-later
"""Points projected through the lens and back."""

import cv2
import numpy as np
import torch

from inference_core.geometry.projection import (
    pixel_rays,
    project_pinhole,
)

K = torch.tensor([[900.0, 0, 640], [0, 910, 360], [0, 0, 1]], dtype=torch.float64)
POINTS = torch.rand(3, 21, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + torch.tensor(
    [0, 0, 0.4]
)


def test_pinhole_agrees_with_opencv() -> None:
    expected, _ = cv2.projectPoints(
        POINTS.reshape(-1, 1, 3).numpy(), np.zeros(3), np.zeros(3), K.numpy(), None
    )
    assert np.abs(project_pinhole(POINTS, K).reshape(-1, 2).numpy() - expected[:, 0]).max() < 1e-9


def test_unprojecting_at_the_true_depth_recovers_the_point() -> None:
    assert (pixel_rays(project_pinhole(POINTS, K), K) * POINTS[..., 2:] - POINTS).abs().max() < 1e-12


def test_each_frame_may_have_its_own_lens() -> None:
    lenses = torch.stack([K, K * torch.tensor([[2.0], [2], [1]]), K])
    assert (project_pinhole(POINTS, lenses)[1] - project_pinhole(POINTS[1], lenses[1])).abs().max() < 1e-12
    assert pixel_rays(project_pinhole(POINTS, lenses), lenses).shape == (3, 21, 3)


def test_points_behind_the_camera_stay_finite() -> None:
    assert torch.isfinite(project_pinhole(-POINTS, K)).all()
