# SPDX-License-Identifier: GPL-3.0-or-later
"""Laws of the rotation functions, scipy as their peer, and the same results for arrays and for tensors."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from inference_core.geometry import rotations
from inference_core.geometry.array_api import unit

VECTORS = Rotation.random(200, random_state=3).as_rotvec()
NEAR_PI = unit(VECTORS[:20]) * (math.pi - 1e-7)
TINY = VECTORS[:20] * 1e-9
ALL = np.concatenate([VECTORS, NEAR_PI, TINY, np.zeros((1, 3))])
SIX = np.random.default_rng(0).normal(size=(500, 6))


def test_exponential_agrees_with_scipy() -> None:
    assert np.abs(rotations.exp(ALL) - Rotation.from_rotvec(ALL).as_matrix()).max() < 1e-14


def test_logarithm_undoes_the_exponential_even_near_half_a_turn() -> None:
    assert np.abs(rotations.log(rotations.exp(ALL)) - ALL).max() < 1e-7


def test_quaternions_agree_with_scipy() -> None:
    expected = Rotation.from_rotvec(ALL).as_quat()[:, [3, 0, 1, 2]]
    expected *= np.where(expected[:, :1] < 0, -1, 1)
    assert np.abs(rotations.matrix_to_quaternion(rotations.exp(ALL)) - expected).max() < 1e-7


def test_the_rotation_to_a_ray_is_the_smallest_one() -> None:
    axis = np.array([0.0, 0.0, 1.0])
    rays = np.concatenate([VECTORS, 1e-9 * VECTORS[:5] + axis, axis[None]])
    turned = rotations.turn_to_ray(rays) @ axis
    assert np.abs(turned - unit(rays)).max() < 1e-12
    angle = np.arctan2(np.linalg.norm(rays[:, :2], axis=-1), rays[:, 2])
    found = np.linalg.norm(rotations.log(rotations.turn_to_ray(rays)), axis=-1)
    assert np.abs(found - angle).max() < 1e-7


def test_quaternions_survive_conversion_to_matrices_and_back() -> None:
    quaternions = rotations.matrix_to_quaternion(rotations.exp(ALL))
    again = rotations.matrix_to_quaternion(rotations.quaternion_to_matrix(quaternions * 3.0))
    assert np.abs(again - quaternions).max() < 1e-7


def test_rotations_survive_conversion_to_six_numbers_and_back() -> None:
    matrices = rotations.exp(ALL)
    again = rotations.six_d_to_matrix(rotations.matrix_to_six_d(matrices))
    assert np.abs(again - matrices).max() < 1e-12


def test_any_six_numbers_make_a_rotation() -> None:
    matrices = rotations.six_d_to_matrix(SIX)
    assert np.abs(np.swapaxes(matrices, -1, -2) @ matrices - np.eye(3)).max() < 1e-12
    assert np.abs(np.linalg.det(matrices) - 1).max() < 1e-12


def test_the_symmetric_six_numbers_treat_both_columns_equally() -> None:
    matrices = rotations.six_d_to_matrix(SIX)
    swapped = rotations.six_d_to_matrix(np.concatenate([SIX[:, 3:], SIX[:, :3]], -1))
    assert np.abs(matrices[..., [1, 0]] - swapped[..., [0, 1]]).max() < 1e-12


def test_gradients_are_correct_at_the_zero_rotation_and_elsewhere() -> None:
    zero = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotations.exp, zero)
    some = torch.tensor(VECTORS[:4] * 0.8, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: rotations.log(rotations.exp(v)), some)
    six = torch.tensor(SIX[:3], requires_grad=True)
    assert torch.autograd.gradcheck(rotations.six_d_to_matrix, six)


def test_logarithm_has_a_finite_gradient_at_the_identity() -> None:
    matrix = torch.eye(3, dtype=torch.float64)[None].requires_grad_()
    rotations.log(matrix).sum().backward()
    assert matrix.grad is not None
    assert torch.isfinite(matrix.grad).all()


def test_the_left_jacobian_is_the_derivative_of_the_exponential() -> None:
    for vector in (*VECTORS[:10], np.zeros(3)):
        step = 1e-6 * np.eye(3)
        slope = rotations.log(rotations.exp(vector + step) @ rotations.exp(vector).T) / 1e-6
        assert np.abs(slope.T - rotations.left_jacobian(vector)).max() < 1e-5


def test_geodesic_angle_is_accurate_for_tiny_and_for_half_turns() -> None:
    for angle in (0.0, 1e-8, 0.3, math.pi - 1e-8, math.pi):
        turned = rotations.exp(np.array([0.0, angle, 0.0]))
        assert float(rotations.geodesic_angle(np.eye(3), turned)) == pytest.approx(angle, abs=1e-12)


def test_slerp_goes_from_one_to_the_other_at_constant_speed() -> None:
    first, second = rotations.exp(VECTORS[:30]), rotations.exp(VECTORS[30:60])
    whole = rotations.geodesic_angle(first, second)
    for fraction in (0.0, 0.25, 1.0, np.linspace(0, 1, 30)):
        part = rotations.slerp(first, second, fraction)
        assert np.abs(rotations.geodesic_angle(first, part) - fraction * whole).max() < 1e-7


@pytest.mark.parametrize(
    ("function", "values"),
    [
        (rotations.exp, ALL),
        (rotations.left_jacobian, ALL),
        (rotations.hat, ALL),
        (rotations.turn_to_ray, VECTORS),
        (rotations.log, rotations.exp(VECTORS)),
        (rotations.matrix_to_quaternion, rotations.exp(VECTORS)),
        (rotations.six_d_to_matrix, SIX),
    ],
)
def test_arrays_and_tensors_give_the_same_in_their_own_dtype(
    function: Callable[..., object], values: np.ndarray
) -> None:
    for kind in (np.float64, np.float32):
        array = values.astype(kind).reshape(1, -1, 1, *values.shape[1:])
        ours = np.asarray(function(array))
        theirs = function(torch.from_numpy(array))
        assert isinstance(theirs, torch.Tensor)
        assert ours.shape[:3] == array.shape[:3]
        assert ours.dtype == theirs.numpy().dtype == kind
        assert np.abs(ours - theirs.numpy()).max() < (1e-12 if kind is np.float64 else 1e-4)
