# SPDX-License-Identifier: GPL-3.0-or-later
"""Two shaded hands over a picture: left and right in different colours, lit from above, transparent where unsure."""

import cv2
import numpy as np
from numpy.typing import NDArray

from inference_core.geometry.rasteriser import Cover, rasterise

# Left, right; sRGB blue and lime. Distinct for people with red-green colour blindness, and unlike any skin.
COLOURS = np.array([[0.14, 0.58, 1.00], [0.66, 0.88, 0.10]])

# Lights in camera axes (x right, y down, z forward), pointing from the hand to the lamp.
_KEY, _FILL = np.array([-0.45, -0.75, -0.55]), np.array([0.7, 0.1, -0.6])
_AMBIENT, _KEY_POWER, _FILL_POWER, _SHINE, _RIM = 0.16, 0.86, 0.20, 0.30, 0.25
_OPACITY, _LEAST_OPACITY = 0.86, 0.35
_NEAREST_M = 0.02

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]


def draw_hands(
    image: Image, vertices_m: Floats, faces: NDArray[np.int32], K: Floats, confidence: NDArray[np.float32]
) -> Image:
    """The picture (H, W, 3) with the hands over it; absent hands (NaN vertices) are not drawn.

    vertices_m (S, V, 3) camera axes; faces (S, F, 3), normals out; K (3, 3); confidence (S,) 0..1 makes a
    hand more or less solid.
    """
    there = [side for side in (0, 1) if np.isfinite(vertices_m[side]).all()]
    there = [side for side in there if vertices_m[side, :, 2].min() > _NEAREST_M]
    if not there:
        return image
    count = vertices_m.shape[1]
    points_m = np.concatenate([vertices_m[side] for side in there])
    triangles = np.concatenate([faces[side] + k * count for k, side in enumerate(there)])
    pixels = (points_m @ K.T)[:, :2] / points_m[:, 2:]
    cover = rasterise(pixels[triangles], points_m[triangles][..., 2], (image.shape[1], image.shape[0]))
    if cover is None:
        return image
    normals = np.concatenate([vertex_normals(vertices_m[side], faces[side]) for side in there])
    colours = np.repeat(COLOURS[there], count, axis=0)
    solid = np.repeat(_LEAST_OPACITY + (_OPACITY - _LEAST_OPACITY) * confidence[there], count)
    corner = np.concatenate([shade(points_m, normals, colours), solid[:, None]], 1).astype(np.float32)
    return _laid_over(image, cover, corner[triangles])


def vertex_normals(vertices: Floats, faces: NDArray[np.int32]) -> Floats:
    """Unit normals (V, 3): those of the faces around each vertex, weighted by area."""
    corners = vertices[faces]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat = faces.reshape(-1)
    sums = [np.bincount(flat, np.repeat(face_normals[:, k], 3), len(vertices)) for k in range(3)]
    normals = np.stack(sums, -1)
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)


def shade(points_m: Floats, normals: Floats, colours: Floats) -> Floats:
    """Colours (V, 3), 0..1, of points (V, 3) with those normals: two lamps, a soft shine, a bright rim."""
    to_eye = -points_m / np.linalg.norm(points_m, axis=-1, keepdims=True)
    key, fill = _KEY / np.linalg.norm(_KEY), _FILL / np.linalg.norm(_FILL)
    facing = (normals * to_eye).sum(-1).clip(0, 1)
    half = to_eye + key
    half = half / np.linalg.norm(half, axis=-1, keepdims=True)
    # Wrapped diffuse light keeps shape visible on the side away from the lamp.
    light = (
        _AMBIENT
        + _KEY_POWER * ((normals @ key + 0.2) / 1.2).clip(0, 1)
        + _FILL_POWER * (normals @ fill).clip(0)
    )
    shine = _SHINE * (normals * half).sum(-1).clip(0, 1) ** 24 + _RIM * (1 - facing) ** 3
    return (colours * light[:, None] + shine[:, None]).clip(0, 1)


def _laid_over(image: Image, cover: Cover, corners: NDArray[np.float32]) -> Image:
    """The picture with colour and opacity (F, 3, 4) of the triangles' corners blended over it."""
    seen = cover.triangle >= 0
    layer = np.zeros((*cover.triangle.shape, 4), np.float32)
    values = np.einsum("nkc,nk->nc", corners[cover.triangle[seen]], cover.weights[seen])
    values[:, :3] *= values[:, 3:]
    layer[seen] = values
    # Half a pixel of blur on colour times opacity: smooth outlines without four times the rendering.
    layer = cv2.GaussianBlur(layer, (3, 3), 0.6)
    rows = slice(cover.top, cover.top + layer.shape[0])
    columns = slice(cover.left, cover.left + layer.shape[1])
    out = image.copy()
    under = out[rows, columns].astype(np.float32)
    out[rows, columns] = (
        (under * (1 - layer[..., 3:]) + layer[..., :3] * 255 + 0.5).clip(0, 255).astype(np.uint8)
    )
    return out
