# SPDX-License-Identifier: GPL-3.0-or-later
"""Alignments recover the applied motion, also from mirrored points."""

import torch

from inference_core.geometry.rigid import fit_rigid, fit_similarity
from inference_core.geometry.rotations import exp

_seed = torch.Generator().manual_seed(4)
SOURCE = torch.randn(7, 21, 3, dtype=torch.float64, generator=_seed)
ROTATION = exp(torch.randn(7, 3, dtype=torch.float64, generator=_seed))
SHIFT = torch.randn(7, 3, dtype=torch.float64, generator=_seed)
SCALE = torch.rand(7, dtype=torch.float64, generator=_seed) + 0.5
MOVED = SCALE[:, None, None] * (SOURCE @ ROTATION.mT) + SHIFT[:, None]


def test_similarity_recovers_scale_rotation_and_shift() -> None:
    found = fit_similarity(SOURCE, MOVED)
    assert (found.scale - SCALE).abs().max() < 1e-12
    assert (found.rotation - ROTATION).abs().max() < 1e-12
    assert (found.apply(SOURCE) - MOVED).abs().max() < 1e-12


def test_rigid_motion_has_scale_one() -> None:
    moved = SOURCE @ ROTATION.mT + SHIFT[:, None]
    found = fit_rigid(SOURCE, moved)
    assert (found.scale == 1).all()
    assert (found.apply(SOURCE) - moved).abs().max() < 1e-12


def test_a_mirrored_target_gets_a_rotation_rather_than_a_reflection() -> None:
    mirrored = SOURCE * torch.tensor([-1.0, 1, 1], dtype=torch.float64)
    assert torch.allclose(
        torch.linalg.det(fit_rigid(SOURCE, mirrored).rotation), torch.ones(7, dtype=torch.float64)
    )
