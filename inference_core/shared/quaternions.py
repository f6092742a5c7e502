# SPDX-License-Identifier: GPL-3.0-or-later
"""Quaternions w x y z in numpy with any leading axes, for the take, the smoothing and the add-on.

Standard library and numpy only: Blender's side shares this file.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def normalized(quaternions: Array) -> Array:
    """Unit quaternions (..., 4); NaN stays NaN."""
    return quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True)


def multiply(first: Array, second: Array) -> Array:
    """Products (..., 4): the rotation `second`, then `first`."""
    w, x, y, z = np.moveaxis(first, -1, 0)
    a, b, c, d = np.moveaxis(second, -1, 0)
    parts = [
        w * a - x * b - y * c - z * d,
        w * b + x * a + y * d - z * c,
        w * c - x * d + y * a + z * b,
        w * d + x * c - y * b + z * a,
    ]
    return np.stack(parts, -1)


def conjugate(quaternions: Array) -> Array:
    """Inverse rotations (..., 4) of unit quaternions."""
    return quaternions * np.array([1, -1, -1, -1], quaternions.dtype)


def to_matrix(quaternions: Array) -> Array:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4) of any length but zero."""
    entries = matrix_entries(*np.moveaxis(normalized(quaternions), -1, 0))
    return np.stack(entries, -1).reshape(*entries[0].shape, 3, 3)


def matrix_entries(w: Any, x: Any, y: Any, z: Any) -> list[Any]:
    """The nine entries (...), row by row, of the matrix of a unit quaternion's components (...), of any library."""
    return [
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


def from_matrix(matrices: Array) -> Array:
    """Unit quaternions (..., 4), w >= 0, of rotation matrices (..., 3, 3); NaN stays NaN.

    The largest component is found first (Shepperd 1978), so nothing is divided by a small number, whatever the angle.
    """
    m = matrices
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    products = np.empty((*m.shape[:-2], 4, 4), m.dtype)  # 4 q q^T
    products[..., 0, 0] = 1 + trace
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        products[..., i + 1, i + 1] = 1 - trace + 2 * m[..., i, i]
        products[..., 0, i + 1] = products[..., i + 1, 0] = m[..., k, j] - m[..., j, k]
        products[..., i + 1, j + 1] = products[..., j + 1, i + 1] = m[..., i, j] + m[..., j, i]
    largest = np.argmax(np.diagonal(products, axis1=-2, axis2=-1), -1)
    rows = np.take_along_axis(products, largest[..., None, None], -2)[..., 0, :]
    quaternions = normalized(rows)
    return np.where(quaternions[..., :1] < 0, -quaternions, quaternions)


def exp(rotation_vectors: Array) -> Array:
    """Unit quaternions (..., 4) of axis-angles (..., 3), radians."""
    half = np.linalg.norm(rotation_vectors, axis=-1, keepdims=True) / 2
    return np.concatenate([np.cos(half), rotation_vectors * (np.sinc(half / np.pi) / 2)], -1)


def log(quaternions: Array) -> Array:
    """Axis-angles (..., 3), radians in 0..pi, of unit quaternions (..., 4)."""
    shortest = np.where(quaternions[..., :1] < 0, -quaternions, quaternions)
    sine = np.linalg.norm(shortest[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, +shortest[..., :1])
    # Under 1e-6 the angle is twice the sine to double precision.
    ratio = np.where(sine < 1e-6, 2.0, angle / np.where(sine < 1e-6, 1, sine))
    return shortest[..., 1:] * ratio.astype(quaternions.dtype)


def angle_between(first: Array, second: Array) -> Array:
    """Angles (...,), radians in 0..pi, between unit quaternions (..., 4)."""
    return np.linalg.norm(log(multiply(conjugate(first), second)), axis=-1)


def slerp(first: Array, second: Array, fraction: Array | float) -> Array:
    """Unit quaternions (..., 4) on the shortest rotation from `first` (fraction 0) to `second` (1); fraction (...,)."""
    turn = log(multiply(conjugate(first), second))
    return multiply(first, exp(turn * np.asarray(fraction, first.dtype)[..., None]))


def continuous(quaternions: Array, axis: int = 0) -> Array:
    """The same rotations with signs such that no quaternion is more than a right angle (in 4D) from the one before it.

    Along `axis` (time). The first present quaternion keeps its sign; NaN (absent) entries stay NaN and the sign is
    carried over them. Curve interpolation needs this: q and -q are the same rotation, but not the same curve.
    """
    series = np.moveaxis(quaternions, axis, 0)
    if len(series) == 0:
        return quaternions.copy()
    # The sign of a row is the product of all sign changes before it; absent rows change none.
    rows = np.arange(len(series)).reshape(-1, *[1] * (series.ndim - 2))
    known = np.maximum.accumulate(np.where(np.isnan(series).any(-1), 0, rows))[:-1]
    before = np.take_along_axis(series, known[..., None], 0)
    turns = np.where((before * series[1:]).sum(-1) < 0, -1, 1).astype(series.dtype)
    signs = np.concatenate([np.ones_like(series[:1, ..., 0]), np.cumprod(turns, axis=0)])
    return np.moveaxis(series * signs[..., None], 0, axis)
