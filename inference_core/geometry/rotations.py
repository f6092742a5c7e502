# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations: matrices, axis-angles (SO(3) exponential and logarithm), quaternions w x y z, 6D.

All functions are pure, take NumPy arrays or torch tensors of any leading axes, dtype and device, and are
differentiable for tensors (at the identity too). They work by components: sums over axes of length 3 are several
times slower in either library.
"""

from inference_core.geometry.array_api import Array, array_namespace, components, unit
from inference_core.shared.quaternions import matrix_entries


def exp(rotation_vectors: Array) -> Array:
    """Rotation matrices (..., 3, 3) of axis-angles (..., 3), radians: the exponential map of SO(3).

    Rodrigues' formula with the Taylor series of its two coefficients near zero, so that value and gradient
    are right at the zero rotation.
    """
    xp = array_namespace(rotation_vectors)
    angle_sq = _length_sq(rotation_vectors)
    small = angle_sq < 1e-6
    angle = xp.sqrt(xp.where(small, 1.0, angle_sq))
    sine = xp.where(small, 1 - angle_sq / 6 + angle_sq * angle_sq / 120, xp.sin(angle) / angle)
    half_sine = xp.sin(angle / 2) / angle
    cosine = xp.where(small, 0.5 - angle_sq / 24 + angle_sq * angle_sq / 720, 2 * half_sine * half_sine)
    return _about(rotation_vectors, 1 - cosine * angle_sq, sine, cosine)


def left_jacobian(rotation_vectors: Array) -> Array:
    """(..., 3, 3) of axis-angles (..., 3): exp(v + dv) = exp(J dv) exp(v) to first order."""
    xp = array_namespace(rotation_vectors)
    angle_sq = _length_sq(rotation_vectors).clip(min=1e-12)
    angle = xp.sqrt(angle_sq)
    sine = xp.sin(angle) / angle
    return _about(rotation_vectors, sine, (1 - xp.cos(angle)) / angle_sq, (1 - sine) / angle_sq)


def _length_sq(vectors: Array) -> Array:
    x, y, z = components(vectors)
    return x * x + y * y + z * z


def _about(vectors: Array, whole: Array, across: Array, along: Array) -> Array:
    """(..., 3, 3) whole I + across [v] + along v v' for vectors (..., 3) and numbers (...)."""
    x, y, z = components(vectors)
    a, b, c = across * x, across * y, across * z
    u, v, w = along * x, along * y, along * z
    xy, xz, yz = u * y, u * z, v * z
    return _matrices(
        [whole + u * x, xy - c, xz + b, xy + c, whole + v * y, yz - a, xz - b, yz + a, whole + w * z]
    )


def _matrices(entries: list[Array]) -> Array:
    """(..., 3, 3) of nine arrays (...), row by row."""
    xp = array_namespace(entries[0])
    return xp.reshape(xp.stack(entries, axis=-1), (*entries[0].shape, 3, 3))


def log(matrices: Array) -> Array:
    """Axis-angles (..., 3), radians in 0..pi, of rotation matrices (..., 3, 3): the logarithm of SO(3)."""
    return quaternion_to_rotation_vector(matrix_to_quaternion(matrices))


def hat(vectors: Array) -> Array:
    """Cross-product matrices (..., 3, 3) of vectors (..., 3)."""
    xp = array_namespace(vectors)
    x, y, z = components(vectors)
    zero = xp.zeros_like(x)
    return _matrices([zero, -z, y, z, zero, -x, -y, x, zero])


def matrix_to_quaternion(matrices: Array) -> Array:
    """Unit quaternions w x y z (..., 4), w >= 0, of rotation matrices (..., 3, 3).

    The largest of the four components is found first and the other three divided by it (Shepperd 1978), so the
    divisor is never a difference of nearly equal numbers.
    """
    xp = array_namespace(matrices)
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = components(xp.reshape(matrices, (*matrices.shape[:-2], 9)))
    ww, xx, yy, zz = 1 + m00 + m11 + m22, 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22
    wx, wy, wz, xy, xz, yz = m21 - m12, m02 - m20, m10 - m01, m10 + m01, m02 + m20, m12 + m21
    use_w, use_x = (ww >= xx) & (ww >= yy) & (ww >= zz), (xx >= yy) & (xx >= zz)
    rows = ((ww, wx, wy, wz), (wx, xx, xy, xz), (wy, xy, yy, yz), (wz, xz, yz, zz))
    picked = [
        xp.where(use_w, of_w, xp.where(use_x, of_x, xp.where(yy >= zz, of_y, of_z)))
        for of_w, of_x, of_y, of_z in zip(*rows, strict=True)
    ]
    quaternion = unit(xp.stack(picked, axis=-1))
    return xp.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def quaternion_to_matrix(quaternions: Array) -> Array:
    """Rotation matrices (..., 3, 3) of quaternions w x y z (..., 4) of any length but zero."""
    return _matrices(matrix_entries(*components(unit(quaternions))))


def quaternion_to_rotation_vector(quaternions: Array) -> Array:
    """Axis-angles (..., 3), radians in 0..pi, of unit quaternions w x y z (..., 4)."""
    xp = array_namespace(quaternions)
    w, xyz = quaternions[..., 0], quaternions[..., 1:]
    cosine, sine_sq = abs(w), _length_sq(xyz)
    small = sine_sq < 1e-6
    sine = xp.sqrt(xp.where(small, 1.0, sine_sq))
    large = cosine.clip(min=0.5)
    near_zero = 2 / large * (1 - sine_sq / (3 * large * large))
    ratio = xp.where(small, near_zero, 2 * xp.atan2(sine, cosine) / sine)
    return xyz * xp.where(w < 0, -ratio, ratio)[..., None]


def six_d_to_matrix(six_d: Array) -> Array:
    """Rotation matrices (..., 3, 3) of 6D vectors (..., 6), by DIR's symmetric method.

    The first and the last three numbers are two directions a, b. Their bisector m and difference o are
    orthogonal; rotated back by 45 degrees they are the first two columns. Errors of both inputs count equally,
    whereas Gram-Schmidt trusts the first.
    """
    xp = array_namespace(six_d)
    first, last = unit(six_d[..., :3]), unit(six_d[..., 3:])
    middle, other = unit(first + last), unit(first - last)
    x, y = unit(middle + other), unit(middle - other)
    return xp.stack([x, y, xp.linalg.cross(x, y, axis=-1)], axis=-1)


def matrix_to_six_d(matrices: Array) -> Array:
    """6D vectors (..., 6) of rotation matrices (..., 3, 3): first column, then second."""
    return array_namespace(matrices).concat([matrices[..., 0], matrices[..., 1]], axis=-1)


def geodesic_angle(first: Array, second: Array) -> Array:
    """Angle (...,), radians in 0..pi, between rotation matrices (..., 3, 3); accurate at both ends."""
    xp = array_namespace(first, second)
    relative = xp.matrix_transpose(first) @ second
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = components(xp.reshape(relative, (*relative.shape[:-2], 9)))
    axis = xp.stack([m21 - m12, m02 - m20, m10 - m01], axis=-1)
    return xp.atan2(xp.linalg.vector_norm(axis, axis=-1), m00 + m11 + m22 - 1)


def turn_to_ray(rays: Array) -> Array:
    """The smallest rotations (..., 3, 3) that rotate the camera's axis (0, 0, 1) onto rays (..., 3) of any length.

    A network sees a crop as a camera pointed at the crop's middle would; the rotation maps its points to the axes of
    the camera whose picture was cropped.
    """
    xp = array_namespace(rays)
    rays = unit(rays)
    sine = xp.stack([-rays[..., 1], rays[..., 0], xp.zeros_like(rays[..., 0])], axis=-1)
    length = xp.linalg.vector_norm(sine, axis=-1, keepdims=True).clip(min=1e-12)
    return exp(sine / length * xp.atan2(length, +rays[..., 2:]))


def slerp(first: Array, second: Array, fraction: Array | float) -> Array:
    """Rotation matrices (..., 3, 3) on the shortest rotation from `first` (fraction 0) to `second` (1)."""
    turn = log(array_namespace(first, second).matrix_transpose(first) @ second)
    if not isinstance(fraction, float | int):
        fraction = fraction[..., None]
    return first @ exp(turn * fraction)
