# SPDX-License-Identifier: GPL-3.0-or-later
"""Laws of the rotation functions, and scipy as their peer."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from inference_core.geometry import rotations

VECTORS = torch.tensor(Rotation.random(200, random_state=3).as_rotvec())
NEAR_PI = torch.nn.functional.normalize(VECTORS[:20], dim=-1) * (math.pi - 1e-7)
TINY = VECTORS[:20] * 1e-9
ALL = torch.cat([VECTORS, NEAR_PI, TINY, torch.zeros(1, 3, dtype=torch.float64)])


def test_exponential_agrees_with_scipy() -> None:
    expected = torch.tensor(Rotation.from_rotvec(ALL.numpy()).as_matrix())
    assert (rotations.exp(ALL) - expected).abs().max() < 1e-14


def test_logarithm_undoes_the_exponential_even_near_half_a_turn() -> None:
    assert (rotations.log(rotations.exp(ALL)) - ALL).abs().max() < 1e-7


def test_quaternions_agree_with_scipy() -> None:
    expected = Rotation.from_rotvec(ALL.numpy()).as_quat()[:, [3, 0, 1, 2]]
    expected *= np.where(expected[:, :1] < 0, -1, 1)
    assert (rotations.matrix_to_quaternion(rotations.exp(ALL)) - torch.tensor(expected)).abs().max() < 1e-7


def test_the_rotation_to_a_ray_is_the_smallest_one() -> None:
    axis = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    rays = torch.cat([VECTORS, 1e-9 * VECTORS[:5] + axis, axis[None]])
    turned = rotations.turn_to_ray(rays) @ axis
    assert (turned - torch.nn.functional.normalize(rays, dim=-1)).abs().max() < 1e-12
    angle = torch.atan2(rays[:, :2].norm(dim=-1), rays[:, 2])
    assert (rotations.log(rotations.turn_to_ray(rays)).norm(dim=-1) - angle).abs().max() < 1e-7


def test_quaternions_survive_conversion_to_matrices_and_back() -> None:
    quaternions = rotations.matrix_to_quaternion(rotations.exp(ALL))
    again = rotations.matrix_to_quaternion(rotations.quaternion_to_matrix(quaternions * 3.0))
    assert (again - quaternions).abs().max() < 1e-7


def test_rotations_survive_conversion_to_six_numbers_and_back() -> None:
    matrices = rotations.exp(ALL)
    assert (rotations.six_d_to_matrix(rotations.matrix_to_six_d(matrices)) - matrices).abs().max() < 1e-12


def test_any_six_numbers_make_a_rotation() -> None:
    six = torch.randn(500, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrices = rotations.six_d_to_matrix(six)
    assert (matrices.mT @ matrices - torch.eye(3)).abs().max() < 1e-12
    assert (torch.linalg.det(matrices) - 1).abs().max() < 1e-12


def test_the_symmetric_six_numbers_treat_both_columns_equally() -> None:
    six = torch.randn(50, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    matrices = rotations.six_d_to_matrix(six)
    swapped = rotations.six_d_to_matrix(torch.cat([six[:, 3:], six[:, :3]], -1))
    assert (matrices[..., [1, 0]] - swapped[..., [0, 1]]).abs().max() < 1e-12


def test_gradients_are_correct_at_the_zero_rotation_and_elsewhere() -> None:
    zero = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotations.exp, zero)
    some = (VECTORS[:4] * 0.8).clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: rotations.log(rotations.exp(v)), some)
    assert torch.autograd.gradcheck(
        rotations.six_d_to_matrix, torch.randn(3, 6, dtype=torch.float64).requires_grad_()
    )


def test_logarithm_has_a_finite_gradient_at_the_identity() -> None:
    matrix = torch.eye(3, dtype=torch.float64)[None].requires_grad_()
    rotations.log(matrix).sum().backward()
    assert matrix.grad is not None
    assert torch.isfinite(matrix.grad).all()


def test_geodesic_angle_is_accurate_for_tiny_and_for_half_turns() -> None:
    identity = torch.eye(3, dtype=torch.float64)
    for angle in (0.0, 1e-8, 0.3, math.pi - 1e-8, math.pi):
        turned = rotations.exp(torch.tensor([0.0, angle, 0.0], dtype=torch.float64))
        assert float(rotations.geodesic_angle(identity, turned)) == pytest.approx(angle, abs=1e-12)


def test_slerp_goes_from_one_to_the_other_at_constant_speed() -> None:
    first, second = rotations.exp(VECTORS[:30]), rotations.exp(VECTORS[30:60])
    whole = rotations.geodesic_angle(first, second)
    for fraction in (0.0, 0.25, 1.0):
        part = rotations.slerp(first, second, fraction)
        assert (rotations.geodesic_angle(first, part) - fraction * whole).abs().max() < 1e-7
    each = torch.linspace(0, 1, 30, dtype=torch.float64)
    assert (
        rotations.geodesic_angle(first, rotations.slerp(first, second, each)) - each * whole
    ).abs().max() < 1e-7


def test_leading_axes_and_dtypes_are_kept() -> None:
    vectors = torch.randn(2, 3, 4, 3)
    assert rotations.exp(vectors).shape == (2, 3, 4, 3, 3)
    assert rotations.log(rotations.exp(vectors)).dtype == torch.float32
