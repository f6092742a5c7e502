# SPDX-License-Identifier: GPL-3.0-or-later
"""Which points of the surface a picture is made of: one for each pixel inside a part, more along edges."""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.synthetic.raster import face_of, inverse_depth_of

# Inside a pixel, depths that differ by more than this share belong to two surfaces.
_SAME_SURFACE = 1.012


@dataclass(frozen=True)
class Samples:
    """N points to be shaded.

    picture, face (N,) int64; x, y (N,): where in the raster's pixels. plain_pixel (P,): flat pixels of the
    picture that one point fills, the first P samples. edge_pixel (E,): those that `per_edge` points share,
    the remaining samples, with edge_weight (E, per_edge): 0 where the point saw nothing.
    """

    picture: Tensor
    face: Tensor
    x: Tensor
    y: Tensor
    plain_pixel: Tensor
    edge_pixel: Tensor
    edge_weight: Tensor


@dataclass(frozen=True)
class Surface:
    """The surface at N samples: place_m and unit normal in camera axes, rest place and normal, part.

    slope_u, slope_v (N, 3): how rest x and z grow along the posed skin (their gradients), per metre.
    """

    picture: Tensor
    part: Tensor
    place_m: Tensor
    normal: Tensor
    rest_m: Tensor
    rest_normal: Tensor
    slope_u: Tensor
    slope_v: Tensor


def choose_samples(keys: Tensor, part: Tensor, size: int, supersample: int) -> Samples:
    """Samples of a raster (B, size * supersample, size * supersample); part (F,) tells surfaces apart."""
    batch, k = keys.shape[0], supersample
    blocks = keys.view(batch, size, k, size, k).transpose(2, 3).reshape(-1, k * k)
    pixel = (blocks.amax(1) > 0).nonzero()[:, 0]
    blocks = blocks[pixel]
    seen = blocks > 0
    label = torch.where(seen, part[face_of(blocks)], -1)
    depth = inverse_depth_of(blocks)
    plain = (label.amin(1) == label.amax(1)) & (depth.amax(1) < _SAME_SURFACE * depth.amin(1)) & seen.all(1)
    plain_pixel, edge_pixel = pixel[plain], pixel[~plain]
    offset = torch.arange(k * k, device=keys.device)
    edge_blocks, edge_seen = blocks[~plain], seen[~plain]
    spread = edge_pixel[:, None].expand(-1, k * k).flatten()
    all_pixels = torch.cat([plain_pixel, spread])
    row, column = all_pixels // size % size, all_pixels % size
    middle = torch.full((len(plain_pixel),), k / 2, device=keys.device)
    inside_x = torch.cat([middle, (offset % k + 0.5).expand(len(edge_pixel), -1).flatten()])
    inside_y = torch.cat([middle, (offset // k + 0.5).expand(len(edge_pixel), -1).flatten()])
    return Samples(
        picture=all_pixels // (size * size),
        face=face_of(torch.cat([blocks[plain, 0], edge_blocks.flatten()])),
        x=column * k + inside_x,
        y=row * k + inside_y,
        plain_pixel=plain_pixel,
        edge_pixel=edge_pixel,
        edge_weight=edge_seen.float() / (k * k),
    )


def interpolate_surface(
    samples: Samples,
    faces: Tensor,
    part: Tensor,
    screen: Tensor,
    vertices_m: Tensor,
    normals: Tensor,
    rest_m: Tensor,
    rest_normal: Tensor,
) -> Surface:
    """The surface at the samples, perspective-correct.

    screen (B, V, 3) as rasterised; vertices_m and normals (B, V, 3); rest_m and rest_normal (V, 3).
    """
    batch, count = vertices_m.shape[:2]
    rest = torch.cat([rest_m, rest_normal], -1).expand(batch, -1, -1)
    table = torch.cat([screen, vertices_m, normals, rest], -1).flatten(0, 1)
    corner = faces[samples.face] + samples.picture[:, None] * count
    a, b, c = (table[corner[:, k]] for k in range(3))
    bx, by, cx, cy = b[:, 0] - a[:, 0], b[:, 1] - a[:, 1], c[:, 0] - a[:, 0], c[:, 1] - a[:, 1]
    px, py = samples.x - a[:, 0], samples.y - a[:, 1]
    area = bx * cy - by * cx
    area = torch.where(area.abs() < 1e-6, torch.full_like(area, -1e-6), area)
    wb = (px * cy - py * cx) / area
    wc = (bx * py - by * px) / area
    wa = 1 - wb - wc
    # A middle of a block may lie just outside the face that its first corner saw.
    weights = torch.stack([wa * a[:, 2], wb * b[:, 2], wc * c[:, 2]], -1).clamp(min=0)
    weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-12)
    mixed = weights[:, :1] * a[:, 3:] + weights[:, 1:2] * b[:, 3:] + weights[:, 2:] * c[:, 3:]
    ab, ac = b[:, 3:6] - a[:, 3:6], c[:, 3:6] - a[:, 3:6]
    flat = torch.linalg.cross(ab, ac, dim=-1)
    to_b, to_c = torch.linalg.cross(ac, flat, dim=-1), torch.linalg.cross(flat, ab, dim=-1)
    squared = flat.square().sum(-1, keepdim=True).clamp(min=1e-24)
    rest_b, rest_c = b[:, 9:12] - a[:, 9:12], c[:, 9:12] - a[:, 9:12]
    normal = mixed[:, 3:6]
    return Surface(
        picture=samples.picture,
        part=part[samples.face],
        place_m=mixed[:, :3],
        normal=normal * normal.square().sum(-1, keepdim=True).clamp(min=1e-12).rsqrt(),
        rest_m=mixed[:, 6:9],
        rest_normal=mixed[:, 9:12],
        slope_u=(rest_b[:, :1] * to_b + rest_c[:, :1] * to_c) / squared,
        slope_v=(rest_b[:, 2:3] * to_b + rest_c[:, 2:3] * to_c) / squared,
    )


def gathered(samples: Samples, values: Tensor, batch: int, size: int) -> Tensor:
    """Picture (B, C + 1, size, size) of values (N, C) of the samples, the last channel their coverage.

    Colours come multiplied by coverage.
    """
    plain = len(samples.plain_pixel)
    channels = values.shape[1] + 1
    values = torch.cat([values, torch.ones_like(values[:, :1])], 1)
    edges = values[plain:].view(-1, samples.edge_weight.shape[1], channels)
    mixed = (edges * samples.edge_weight[..., None]).sum(1)
    picture = torch.zeros(batch * size * size, channels, device=values.device)
    picture[samples.plain_pixel] = values[:plain]
    picture[samples.edge_pixel] = mixed
    return picture.view(batch, size, size, channels).permute(0, 3, 1, 2).contiguous()
