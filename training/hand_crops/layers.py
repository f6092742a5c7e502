# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendered windows around hands: hands with arms and things on a transparent background, larger than any crop."""

from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from training.hand_crops.scenes import HandScene
from training.hand_crops.windows import Windows
from training.synthetic.generate import Kit, sleeve_swell
from training.synthetic.lens import displayed
from training.synthetic.meshes import SceneMesh, vertex_normals
from training.synthetic.raster import face_of, rasterise
from training.synthetic.shading import Lights, ShadowMap, draw_shadow_map, shade
from training.synthetic.skin import Appearance
from training.synthetic.skin_atlas import SkinAtlas
from training.synthetic.surface import Samples, interpolate_surface

LAYER_PX = 336
# A layer's side as a multiple of its window's, with room for crops that are off centre or wider.
ROOM = 1.8
SHARED_APPEARANCE = ("sources", "directions")
_BEHIND_M = (0.0, 0.0, -1.0)


_Record = TypeVar("_Record", Appearance, Lights, ShadowMap)


class Layers(NamedTuple):
    """N layers. rgba (N, P, P, 4) uint8, alpha 0 or 255; depth_m (N, P, P), 0 where nothing is; part (N, P, P) int64:
    of `meshes`, -1 where nothing is.
    """

    rgba: Tensor
    depth_m: Tensor
    part: Tensor


def render_layers(
    kit: Kit, scene: HandScene, windows: Windows, appearance: Appearance, lights: Lights
) -> Layers:
    """The windows' layers."""
    mesh, size = kit.mesh, LAYER_PX
    normals = vertex_normals(scene.vertices_m, mesh.faces, mesh.neighbours)
    vertices_m = scene.vertices_m + sleeve_swell(mesh, appearance, normals)
    vertices_m = torch.where(scene.shown[..., None], vertices_m, vertices_m.new_tensor(_BEHIND_M))
    of = windows.picture.to(vertices_m.device)
    screen = on_layer(vertices_m[of], windows.square)
    keys = rasterise(screen, mesh.faces, size, size)
    shadow = draw_shadow_map(lights, vertices_m, mesh.faces, scene.shown, mesh.is_hand)
    rgba = torch.zeros(*keys.shape, 4, dtype=torch.uint8, device=keys.device)
    depth_m = torch.zeros(keys.shape, device=keys.device)
    part = torch.where(keys > 0, mesh.part[face_of(keys)], -1)
    # Layer by layer, so that the data stays in the CPU's cache, and lighting is looked up once for a layer.
    for number, picture in enumerate(windows.picture.tolist()):
        pixel = keys[number].flatten().nonzero()[:, 0]
        one = slice(picture, picture + 1)
        colour, depth = _light(
            _samples(keys[number].flatten()[pixel], pixel),
            mesh,
            screen[number : number + 1],
            vertices_m[one],
            normals[one],
            _rows(appearance, one, SHARED_APPEARANCE),
            _rows(lights, one),
            _rows(shadow, one),
            kit.skin,
        )
        rgba[number].view(-1, 4)[pixel] = torch.cat([colour, torch.full_like(colour[:1], 255)]).T
        depth_m[number].view(-1)[pixel] = depth
    return Layers(rgba, depth_m, part)


def _samples(keys: Tensor, pixel: Tensor) -> Samples:
    """One sample for each pixel of a layer that shows something."""
    return Samples(
        picture=torch.zeros_like(pixel),
        face=face_of(keys),
        x=pixel % LAYER_PX + 0.5,
        y=pixel // LAYER_PX + 0.5,
        plain_pixel=pixel,
        edge_pixel=pixel[:0],
        edge_weight=torch.zeros(1, 0, device=pixel.device),
        shape=(1, LAYER_PX, LAYER_PX),
    )


def _rows(record: _Record, rows: slice, shared: tuple[str, ...] = ()) -> _Record:
    """The record with some rows of its tensors, except those common to all pictures."""
    chosen = {name: value if name in shared else value[rows] for name, value in vars(record).items()}
    return replace(record, **chosen)  # type: ignore[type-var]


def _light(
    samples: Samples,
    mesh: SceneMesh,
    screen: Tensor,
    vertices_m: Tensor,
    normals: Tensor,
    appearance: Appearance,
    lights: Lights,
    shadow: ShadowMap,
    skin: SkinAtlas,
) -> tuple[Tensor, Tensor]:
    """uint8 colours (3, N) and depths (N,) of a layer's samples; the other arguments are
    those of the layer's picture alone.
    """
    surface = interpolate_surface(
        samples, mesh.faces, mesh.part, screen, vertices_m, normals, mesh.rest_m, mesh.rest_normal
    )
    linear = shade(surface, appearance, lights, shadow, skin)
    return (displayed(linear) * 255).round().to(torch.uint8), surface.place_m[2]


def on_layer(points_m: Tensor, square: np.ndarray) -> Tensor:
    """(N, V, 3) layer pixel x, y and inverse depth of points (N, V, 3); inverse depth 0 behind the camera."""
    cx, cy, side, rotation = torch.from_numpy(square).to(points_m).T[..., None]
    z = points_m[..., 2]
    seen = z > 0.02
    inverse = torch.where(seen, 1 / z.clamp(min=0.02), 0)
    x, y = points_m[..., 0] * inverse - cx, points_m[..., 1] * inverse - cy
    scale = LAYER_PX / (ROOM * side)
    cos, sin = rotation.cos() * scale, rotation.sin() * scale
    half = LAYER_PX / 2
    return torch.stack([cos * x + sin * y + half, cos * y - sin * x + half, inverse], -1)
