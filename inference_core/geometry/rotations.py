# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations in torch: matrices, axis-angles (SO(3) exponential and logarithm), quaternions w x y z, 6D.

All functions are pure, differentiable (at the identity too) and take any leading axes, dtype and device.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def exp(rotation_vectors: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of axis-angles (..., 3), radians: the exponential map of SO(3).

    Rodrigues' formula with the Taylor series of its two coefficients near zero, so that value and gradient
    are right at the zero rotation.
    """
    angle_sq = _length_sq(rotation_vectors)
    small = angle_sq < 1e-6
    angle = torch.where(small, torch.ones_like(angle_sq), angle_sq).sqrt()
    sine = torch.where(small, 1 - angle_sq / 6 + angle_sq.square() / 120, torch.sin(angle) / angle)
    half_sine = torch.sin(angle / 2) / angle
    cosine = torch.where(small, 0.5 - angle_sq / 24 + angle_sq.square() / 720, 2 * half_sine.square())
    return _about(rotation_vectors, 1 - cosine * angle_sq, sine, cosine)


def left_jacobian(rotation_vectors: Tensor) -> Tensor:
    """(..., 3, 3) of axis-angles (..., 3): exp(v + dv) = exp(J dv) exp(v) to first order."""
    angle_sq = _length_sq(rotation_vectors).clamp(min=1e-12)
    angle = angle_sq.sqrt()
    sine = angle.sin() / angle
    return _about(rotation_vectors, sine, (1 - angle.cos()) / angle_sq, (1 - sine) / angle_sq)


def _length_sq(vectors: Tensor) -> Tensor:
    x, y, z = vectors.unbind(-1)
    return x * x + y * y + z * z


def _about(vectors: Tensor, whole: Tensor, across: Tensor, along: Tensor) -> Tensor:
    """(..., 3, 3) whole I + across [v] + along v v' for vectors (..., 3) and numbers (...).

    By components: several times faster than sums over axes of length 3.
    """
    x, y, z = vectors.unbind(-1)
    a, b, c = across * x, across * y, across * z
    u, v, w = along * x, along * y, along * z
    xy, xz, yz = u * y, u * z, v * z
    rows = [whole + u * x, xy - c, xz + b, xy + c, whole + v * y, yz - a, xz - b, yz + a, whole + w * z]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def log(matrices: Tensor) -> Tensor:
    """Axis-angles (..., 3), radians in 0..pi, of rotation matrices (..., 3, 3): the logarithm of SO(3)."""
    return quaternion_to_rotation_vector(matrix_to_quaternion(matrices))


def hat(vectors: Tensor) -> Tensor:
    """Cross-product matrices (..., 3, 3) of vectors (..., 3)."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))


def matrix_to_quaternion(matrices: Tensor) -> Tensor:
    """Unit quaternions w x y z (..., 4), w >= 0, of rotation matrices (..., 3, 3).

    The largest of the four components is found first and the other three divided by it (Shepperd 1978), so the
    divisor is never a difference of nearly equal numbers.
    """
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = matrices.flatten(-2).unbind(-1)
    squares = torch.stack(
        [1 + m00 + m11 + m22, 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22], -1
    )
    candidates = torch.stack(
        [
            torch.stack([squares[..., 0], m21 - m12, m02 - m20, m10 - m01], -1),
            torch.stack([m21 - m12, squares[..., 1], m10 + m01, m02 + m20], -1),
            torch.stack([m02 - m20, m10 + m01, squares[..., 2], m12 + m21], -1),
            torch.stack([m10 - m01, m20 + m02, m21 + m12, squares[..., 3]], -1),
        ],
        -2,
    )
    largest = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    quaternion = F.normalize(candidates.gather(-2, largest)[..., 0, :], dim=-1)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def quaternion_to_matrix(quaternions: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of quaternions w x y z (..., 4) of any length but zero."""
    w, x, y, z = F.normalize(quaternions, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    ]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def quaternion_to_rotation_vector(quaternions: Tensor) -> Tensor:
    """Axis-angles (..., 3), radians in 0..pi, of unit quaternions w x y z (..., 4)."""
    quaternions = torch.where(quaternions[..., :1] < 0, -quaternions, quaternions)
    w, xyz = quaternions[..., :1], quaternions[..., 1:]
    sine_sq = xyz.square().sum(-1, keepdim=True)
    small = sine_sq < 1e-6
    sine = torch.where(small, torch.ones_like(sine_sq), sine_sq).sqrt()
    ratio = torch.where(small, 2 / w.clamp(min=0.5) * (1 - sine_sq / (3 * w.clamp(min=0.5).square())), 0 * w)
    return xyz * torch.where(small, ratio, 2 * torch.atan2(sine, w) / sine)


def six_d_to_matrix(six_d: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of 6D vectors (..., 6), by DIR's symmetric method.

    The first and the last three numbers are two directions a, b. Their bisector m and difference o are
    orthogonal; rotated back by 45 degrees they are the first two columns. Errors of both inputs count equally,
    whereas Gram-Schmidt trusts the first.
    """
    first, last = F.normalize(six_d[..., :3], dim=-1), F.normalize(six_d[..., 3:], dim=-1)
    middle, other = F.normalize(first + last, dim=-1), F.normalize(first - last, dim=-1)
    x, y = F.normalize(middle + other, dim=-1), F.normalize(middle - other, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y, dim=-1)], -1)


def matrix_to_six_d(matrices: Tensor) -> Tensor:
    """6D vectors (..., 6) of rotation matrices (..., 3, 3): first column, then second."""
    return torch.cat([matrices[..., 0], matrices[..., 1]], -1)


def geodesic_angle(first: Tensor, second: Tensor) -> Tensor:
    """Angle (...,), radians in 0..pi, between rotation matrices (..., 3, 3); accurate at both ends."""
    relative = first.mT @ second
    skew = relative - relative.mT
    sine = torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], -1).norm(dim=-1) / 2
    cosine = (relative.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return torch.atan2(sine, cosine)


def turn_to_ray(rays: Tensor) -> Tensor:
    """The smallest rotations (..., 3, 3) that rotate the camera's axis (0, 0, 1) onto rays (..., 3) of any length.

    A network sees a crop as a camera pointed at the crop's middle would; the rotation maps its points to the axes of
    the camera whose picture was cropped.
    """
    rays = F.normalize(rays, dim=-1)
    sine = torch.stack([-rays[..., 1], rays[..., 0], torch.zeros_like(rays[..., 0])], -1)
    length = sine.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return exp(sine / length * torch.atan2(length, rays[..., 2:]))


def slerp(first: Tensor, second: Tensor, fraction: Tensor | float) -> Tensor:
    """Rotation matrices (..., 3, 3) on the shortest rotation from `first` (fraction 0) to `second` (1)."""
    turn = log(first.mT @ second)
    if isinstance(fraction, Tensor):
        fraction = fraction[..., None]
    return first @ exp(turn * fraction)
