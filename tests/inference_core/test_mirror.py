# SPDX-License-Identifier: GPL-3.0-or-later
"""Mirroring is its own inverse and commutes with everything that rotations do to points."""

import pytest
import torch

from inference_core.geometry.mirror import mirror
from inference_core.geometry.rotations import exp, matrix_to_quaternion

_seed = torch.Generator().manual_seed(5)
VECTORS = torch.randn(40, 3, dtype=torch.float64, generator=_seed)
POINTS = torch.randn(40, 3, dtype=torch.float64, generator=_seed)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("point", (3,)),
        ("uv", (2,)),
        ("rotation_vector", (3,)),
        ("quaternion", (4,)),
        ("matrix", (3, 3)),
        ("axes", (3, 3)),
    ],
)
def test_mirroring_twice_is_the_identity_in_torch_and_numpy(kind, shape) -> None:
    values = torch.randn(5, 2, *shape, generator=_seed)
    assert (mirror(mirror(values, kind), kind) == values).all()
    assert (mirror(values.numpy(), kind) == mirror(values, kind).numpy()).all()


def test_a_mirrored_rotation_moves_mirrored_points_alike() -> None:
    matrices = exp(VECTORS)
    turned = (matrices @ POINTS[..., None])[..., 0]
    by_mirror = (mirror(matrices, "matrix") @ mirror(POINTS, "point")[..., None])[..., 0]
    assert (by_mirror - mirror(turned, "point")).abs().max() < 1e-12


def test_all_rotation_formats_are_mirrored_alike() -> None:
    matrices = exp(VECTORS)
    assert (exp(mirror(VECTORS, "rotation_vector")) - mirror(matrices, "matrix")).abs().max() < 1e-12
    quaternions = matrix_to_quaternion(matrices)
    assert (
        mirror(quaternions, "quaternion") - matrix_to_quaternion(mirror(matrices, "matrix"))
    ).abs().max() < 1e-12


def test_equal_angles_about_mirrored_axes_are_mirrored_rotations() -> None:
    axes = exp(VECTORS)
    angles = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)
    assert (exp(mirror(axes, "axes") @ angles) - mirror(exp(axes @ angles), "matrix")).abs().max() < 1e-12
