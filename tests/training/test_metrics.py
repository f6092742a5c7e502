# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics against the official golden value, and what each must not see."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_core.geometry import rotations
from training.data.sample import overlap
from training.evaluation import metrics

GOLDEN = Path(__file__).parents[1] / "data" / "interhand" / "golden.npz"


def _both(arrays, pattern: str) -> torch.Tensor:
    return torch.stack([torch.from_numpy(arrays[pattern.format(side)]) for side in ("left", "right")], dim=1)


def test_the_official_metric_is_reproduced():
    with np.load(GOLDEN) as arrays:
        joints, vertices = _both(arrays, "pred/pd_joint_xyz_{}"), _both(arrays, "pred/pd_mesh_xyz_{}")
        true_joints, true_vertices = _both(arrays, "targets/joint_3d_{}"), _both(arrays, "targets/mesh_3d_{}")
        golden = arrays["metrics/root9_scaled_mpjpe_left_right_mpvpe_left_right_mm"]
    errors = metrics.hand_errors(joints, true_joints, vertices, true_vertices, root="mcp")
    assert errors.mpvpe is not None
    ours = torch.cat([errors.mpjpe.mean(0), errors.mpvpe.mean(0)])
    np.testing.assert_allclose(ours.numpy(), golden, rtol=1e-5)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.5, 2.0))
def test_errors_ignore_scale_and_place_and_procrustes_ignores_rotation(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(3, 2, 21, 3, generator=generator, dtype=torch.float64) * 0.05
    moved = truth * scale + torch.randn(3, 2, 1, 3, generator=generator, dtype=torch.float64)
    for root in metrics.ROOTS:
        errors = metrics.hand_errors(moved, truth, root=root)  # type: ignore[arg-type]
        assert errors.mpjpe.max() < 1e-6
        assert errors.pa_mpjpe.max() < 1e-6
    turn = rotations.exp(torch.randn(3, 2, 3, generator=generator, dtype=torch.float64))
    turned = metrics.hand_errors(truth @ turn.mT, truth)
    assert turned.pa_mpjpe.max() < 1e-6
    assert turned.mpjpe.min() > 0.1


def test_the_error_of_a_known_displacement_is_its_length():
    truth = torch.rand(2, 2, 21, 3)
    offset = torch.tensor([0.003, 0.004, 0.0])
    assert metrics.root_error_mm(offset, torch.zeros(3)).item() == pytest.approx(5.0)
    uv = torch.rand(2, 2, 21, 2)
    assert metrics.alignment_px(uv + torch.tensor([3 / 128, 4 / 128]), uv).mean().item() == pytest.approx(
        5.0, rel=1e-4
    )
    assert metrics.mean_distance_mm(truth + offset, truth).mean().item() == pytest.approx(5.0, rel=1e-4)


def test_jitter_ignores_even_motion_and_measures_a_jump():
    even = torch.arange(6.0)[:, None, None] * torch.tensor([0.01, 0.0, 0.02]) + torch.rand(1, 21, 3)
    assert metrics.jitter_mm(even).max() < 1e-3
    jump = even.clone()
    jump[3] += torch.tensor([0.002, 0.0, 0.0])
    assert metrics.jitter_mm(jump).max().item() == pytest.approx(4.0, rel=1e-3)


def test_area_under_the_curve_runs_from_zero_to_one():
    assert metrics.area_under_curve(torch.zeros(10)).item() == pytest.approx(1.0)
    assert metrics.area_under_curve(torch.full((10,), 80.0)).item() == 0.0
    assert metrics.area_under_curve(torch.linspace(0, 50, 2001)).item() == pytest.approx(0.5, abs=0.01)


def test_swapped_sides_are_measured():
    uv = torch.rand(1, 2, 21, 2) * 0.2 + torch.tensor([[-0.5, 0.0], [0.5, 0.0]])[:, None]
    both = torch.ones(1, 2, dtype=torch.bool)
    assert metrics.side_correct(uv, uv, both).all()
    assert not metrics.side_correct(uv.flip(1), uv, both).any()


def test_overlap_is_one_inside_another_and_zero_apart_or_alone():
    square = torch.rand(21, 2)
    square[:2] = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    both, alone = torch.tensor([True, True]), torch.tensor([True, False])
    inside = torch.stack([square, square * 0.5 + 0.25])
    assert overlap(inside, both).item() == pytest.approx(1.0)
    assert overlap(inside, alone).item() == 0.0
    assert overlap(torch.stack([square, square + 2.0]), both).item() == 0.0
