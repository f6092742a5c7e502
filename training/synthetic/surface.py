# SPDX-License-Identifier: GPL-3.0-or-later
"""The surface points that a picture is sampled at: one per pixel inside a part, more along edges."""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.synthetic.raster import face_of, inverse_depth_of

# Inside a pixel, depths that differ by more than this share belong to two surfaces.
_SAME_SURFACE = 1.012


@dataclass(frozen=True)
class Samples:
    """N points to be shaded.

    picture, face (N,) int64; x, y (N,): position in the raster's pixels. plain_pixel (P,): flat pixels of the
    picture that one point fills, the first P samples. edge_pixel (E,): those that `per_edge` points share, the
    remaining samples, one corner of all of them after the other, with edge_weight (per_edge, E): 0 where the point
    saw nothing. shape: B, H, W of the picture.
    """

    picture: Tensor
    face: Tensor
    x: Tensor
    y: Tensor
    plain_pixel: Tensor
    edge_pixel: Tensor
    edge_weight: Tensor
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Surface:
    """The surface at N samples. Vectors are (3, N): with components first, every operation is contiguous.

    picture, part (N,); place_m and unit normal in camera axes; rest_m, rest_normal: on the rest right hand. slope_u,
    slope_v: the gradients of rest x and z along the posed skin.
    """

    picture: Tensor
    part: Tensor
    place_m: Tensor
    normal: Tensor
    rest_m: Tensor
    rest_normal: Tensor
    slope_u: Tensor
    slope_v: Tensor


def choose_samples(keys: Tensor, part: Tensor, supersample: int) -> Samples:
    """The samples of a raster (B, H * supersample, W * supersample); part (F,) distinguishes surfaces."""
    k = supersample
    batch, height, width = keys.shape[0], keys.shape[1] // k, keys.shape[2] // k
    corners = [keys[:, i // k :: k, i % k :: k].flatten() for i in range(k * k)]
    nearest = corners[0]
    for corner in corners[1:]:
        nearest = torch.maximum(nearest, corner)
    pixel = nearest.nonzero()[:, 0]
    blocks = torch.stack([corner.index_select(0, pixel) for corner in corners])
    seen = blocks > 0
    label = torch.where(seen, part.index_select(0, face_of(blocks).flatten()).view_as(blocks), -1)
    depth = inverse_depth_of(blocks)
    plain = (label.amin(0) == label.amax(0)) & (depth.amax(0) < _SAME_SURFACE * depth.amin(0)) & seen.all(0)
    plain_at, edge_at = plain.nonzero()[:, 0], (~plain).nonzero()[:, 0]
    plain_pixel, edge_pixel = pixel.index_select(0, plain_at), pixel.index_select(0, edge_at)
    edge_blocks = blocks.index_select(1, edge_at)
    all_pixels = torch.cat([plain_pixel, edge_pixel.repeat(k * k)])
    column = all_pixels % width
    row = (all_pixels // width) % height
    offset = torch.arange(k * k, device=keys.device).repeat_interleave(len(edge_pixel))
    middle = torch.full((len(plain_pixel),), k / 2, device=keys.device)
    return Samples(
        picture=all_pixels // (height * width),
        face=face_of(torch.cat([blocks[0].index_select(0, plain_at), edge_blocks.flatten()])),
        x=column * k + torch.cat([middle, offset % k + 0.5]),
        y=row * k + torch.cat([middle, offset // k + 0.5]),
        plain_pixel=plain_pixel,
        edge_pixel=edge_pixel,
        edge_weight=(edge_blocks > 0).float() / (k * k),
        shape=(batch, height, width),
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
    # index_select along a row is several times as fast on the CPU as fancy indexing.
    table = torch.cat([screen, vertices_m, normals, rest], -1).flatten(0, 1).T.contiguous()
    corners = faces.T.contiguous().index_select(1, samples.face) + samples.picture * count
    a, b, c = (table.index_select(1, corner) for corner in corners)
    bx, by, cx, cy = b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1]
    px, py = samples.x - a[0], samples.y - a[1]
    area = bx * cy - by * cx
    area = torch.where(area.abs() < 1e-6, -1e-6, area)
    weight_b = (px * cy - py * cx) / area
    weight_c = (bx * py - by * px) / area
    # A block's middle may be just outside the face seen by its first corner.
    weight_a = ((1 - weight_b - weight_c) * a[2]).clamp(min=0)
    weight_b, weight_c = (weight_b * b[2]).clamp(min=0), (weight_c * c[2]).clamp(min=0)
    total = (weight_a + weight_b + weight_c).clamp(min=1e-12)
    mixed = (weight_a / total) * a[3:] + (weight_b / total) * b[3:] + (weight_c / total) * c[3:]
    ab, ac = b[3:6] - a[3:6], c[3:6] - a[3:6]
    flat = cross(ab, ac)
    squared = (flat * flat).sum(0).clamp(min=1e-24)
    to_b, to_c = cross(ac, flat) / squared, cross(flat, ab) / squared
    rest_b, rest_c = b[9:12] - a[9:12], c[9:12] - a[9:12]
    return Surface(
        picture=samples.picture,
        part=part.index_select(0, samples.face),
        place_m=mixed[:3],
        normal=unit(mixed[3:6]),
        rest_m=mixed[6:9],
        rest_normal=mixed[9:12],
        slope_u=rest_b[0] * to_b + rest_c[0] * to_c,
        slope_v=rest_b[2] * to_b + rest_c[2] * to_c,
    )


def gathered(samples: Samples, values: Tensor) -> Tensor:
    """Picture (B, C + 1, H, W) from the samples' values (C, N), the last channel being their coverage.

    Colours are multiplied by coverage.
    """
    batch, height, width = samples.shape
    plain = len(samples.plain_pixel)
    values = torch.cat([values, torch.ones_like(values[:1])])
    edges = values[:, plain:].unflatten(1, samples.edge_weight.shape)
    mixed = (edges * samples.edge_weight).sum(1)
    picture = torch.zeros(len(values), batch * height * width, device=values.device)
    picture[:, samples.plain_pixel] = values[:, :plain]
    picture[:, samples.edge_pixel] = mixed
    return picture.view(-1, batch, height, width).transpose(0, 1)


def cross(first: Tensor, second: Tensor) -> Tensor:
    """Cross products (3, N), components first."""
    (ax, ay, az), (bx, by, bz) = first, second
    return torch.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


def unit(vectors: Tensor) -> Tensor:
    """Vectors (3, N) made unit."""
    return vectors * (vectors * vectors).sum(0).clamp(min=1e-20).rsqrt()
