# SPDX-License-Identifier: GPL-3.0-or-later
"""A small picture of a posed hand, drawn from its triangles without GPU or render engine. Does not import bpy."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..scene.axes import Floats

SIZE_PX: Final = 160
_FINER: Final = 2  # each pixel's side is drawn as so many, and averaged
_MARGIN: Final = 0.06
_SKIN: Final = np.array([0.86, 0.66, 0.55])
_LIGHT: Final = np.array([-0.35, 0.45, 0.82])
_DARKEST: Final = 0.35
# Seen from before the palm, a little from the thumb's side and above, where bent fingers do not cover each other.
_TURN_RAD, _TILT_RAD = 0.5, 0.35


def hand_picture(points: Floats, triangles: NDArray[np.integer]) -> NDArray[np.float32]:
    """(SIZE_PX, SIZE_PX, 4) colours and opacity, the lowest row first, of a hand's skin.

    points (V, 3) in the axes of the wrist's bone: Y to the knuckles, Z out of the palm; triangles (F, 3).
    """
    size = SIZE_PX * _FINER
    corners = _placed(_turned(points), size)[triangles]
    across, along = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normals = np.cross(across, along)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    shades = _DARKEST + (1 - _DARKEST) * np.abs(normals @ _LIGHT)
    dots, faces = _dots(corners)
    order = np.argsort(dots[:, 2], kind="stable")  # the nearest last: it stays
    x, y = dots[order, :2].astype(int).clip(0, size - 1).T
    picture = np.zeros((size, size, 4), np.float32)
    picture[y, x, :3] = shades[faces[order], None] * _SKIN
    picture[y, x, 3] = 1
    blocks = picture.reshape(SIZE_PX, _FINER, SIZE_PX, _FINER, 4)
    opacity = blocks[..., 3].mean((1, 3))
    blocks[..., :3] *= blocks[..., 3:]
    colours = blocks[..., :3].sum((1, 3)) / np.maximum(blocks[..., 3].sum((1, 3)), 1)[..., None]
    return np.concatenate([colours, opacity[..., None]], -1)


def _turned(points: Floats) -> Floats:
    """The points in the viewer's axes: x right, y up, z towards the viewer."""
    a, b = _TURN_RAD, _TILT_RAD
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return points @ (about_x @ about_y).T


def _placed(points: Floats, size: int) -> Floats:
    """The points in pixels, filling the picture except for a margin."""
    low, high = points.min(0), points.max(0)
    scale = size * (1 - 2 * _MARGIN) / max(float((high - low)[:2].max()), 1e-12)
    return (points - (low + high) / 2) * scale + np.array([size / 2, size / 2, 0])


def _dots(corners: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Points (D, 3) that cover the triangles (F, 3, 3), less than a pixel apart, and the triangle (D,) of each."""
    sizes = np.ptp(corners[..., :2], axis=1).max(1)
    steps = 2 ** np.ceil(np.log2(np.maximum(sizes, 1))).astype(int)
    dots: list[Floats] = []
    faces: list[NDArray[np.intp]] = []
    for count in np.unique(steps):
        here = np.flatnonzero(steps == count)
        parts = _spread(int(count))
        dots.append(np.einsum("pk,fkc->fpc", parts, corners[here]).reshape(-1, 3))
        faces.append(np.repeat(here, len(parts)))
    return np.concatenate(dots), np.concatenate(faces)


def _spread(steps: int) -> Floats:
    """(P, 3) weights of a triangle's corners, for points that cover it."""
    i, j = np.meshgrid(np.arange(steps + 1), np.arange(steps + 1))
    i, j = i[i + j <= steps] / steps, j[i + j <= steps] / steps
    return np.stack([i, j, 1 - i - j], -1)
