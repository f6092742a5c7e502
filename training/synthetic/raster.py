# SPDX-License-Identifier: GPL-3.0-or-later
"""A batched z-buffer: plain torch on a GPU, without loops over pictures or faces; on a CPU `zbuffer` loops.

Faces are split into pixel rows, rows into pixels (two `repeat_interleave`), and the nearest face of each pixel wins
in one `scatter_reduce` over integers with the inverse depth in the high bits and the face number in the low ones. A
pixel belongs to a face if its centre does; an edge common to two faces is computed from the same numbers in both, so
that neither gaps nor double hits occur along it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.synthetic import zbuffer
from training.synthetic.zbuffer import FACE_BITS, SMALLEST_AREA_PX

_FACE_MASK = (1 << FACE_BITS) - 1


@dataclass(frozen=True)
class _Faces:
    """N faces to be filled, their corners sorted from top to bottom; all fields (N,)."""

    picture: Tensor
    face: Tensor
    corners: Tensor  # (N, 3, 3): corner, (x, y, inverse depth)
    depth_slope: Tensor  # (N, 2): change of inverse depth per pixel to the right and down


def rasterise(points: Tensor, faces: Tensor, height: int, width: int, cull: bool = True) -> Tensor:
    """The nearest face of every pixel, as keys (B, height, width) int64; 0 where there is none.

    points (B, V, 3): x and y in pixels (centres at +0.5) and inverse depth (any scale, larger is nearer; faces with a
    corner at or below 0 are behind the camera and skipped). faces (F, 3), F < 2**20. `cull` drops only faces that run
    clockwise in the picture (y down), which the outward faces of a mesh with counter-clockwise corners do if seen
    from inside. Read the keys with face_of and inverse_depth_of.
    """
    if points.device.type == "cpu":
        return zbuffer.fill(points, faces, height, width, cull)
    return rasterise_in_parallel(points, faces, height, width, cull)


def rasterise_in_parallel(
    points: Tensor, faces: Tensor, height: int, width: int, cull: bool = True
) -> Tensor:
    """As rasterise, in plain torch on any device."""
    keys = torch.zeros(points.shape[0] * height * width, dtype=torch.int64, device=points.device)
    pixels, values = _fragments(_visible_faces(points, faces, height, width, cull), height, width)
    keys.scatter_reduce_(0, pixels, values, "amax")
    return keys.view(points.shape[0], height, width)


def face_of(keys: Tensor) -> Tensor:
    """Face numbers int64; 0 where nothing was seen."""
    return keys & _FACE_MASK


def inverse_depth_of(keys: Tensor) -> Tensor:
    """Inverse depth float32 of the nearest face; 0 where nothing was seen."""
    return (keys >> FACE_BITS).to(torch.int32).view(torch.float32)


def _visible_faces(points: Tensor, faces: Tensor, height: int, width: int, cull: bool) -> _Faces:
    corners = points.index_select(1, faces.flatten()).unflatten(1, (-1, 3))
    a, b, c = corners.unbind(2)
    ab, ac = b - a, c - a
    area = ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0]
    low, high = corners.amin(2), corners.amax(2)
    keep = (low[..., 2] > 0) & (high[..., 0] > 0) & (high[..., 1] > 0)
    keep &= (low[..., 0] < width) & (low[..., 1] < height)
    keep &= (area < -SMALLEST_AREA_PX) if cull else (area.abs() > SMALLEST_AREA_PX)
    # A face between two rows of pixel centres covers none.
    keep &= (low[..., 1] - 0.5).ceil() < (high[..., 1] - 0.5).ceil()
    picture, face = keep.nonzero(as_tuple=True)
    chosen = picture * faces.shape[0] + face
    corners, ab, ac, area = (t.flatten(0, 1).index_select(0, chosen) for t in (corners, ab, ac, area))
    slope_x = (ab[:, 2] * ac[:, 1] - ac[:, 2] * ab[:, 1]) / area
    slope_y = (ac[:, 2] * ab[:, 0] - ab[:, 2] * ac[:, 0]) / area
    return _Faces(picture, face, _sorted_by_row(corners), torch.stack([slope_x, slope_y], -1))


def _sorted_by_row(corners: Tensor) -> Tensor:
    """Corners (N, 3, 3) with y rising: three compare-and-swaps, far cheaper than sorting."""
    a, b, c = corners.unbind(1)
    a, b = _swapped(a, b)
    b, c = _swapped(b, c)
    a, b = _swapped(a, b)
    return torch.stack([a, b, c], 1)


def _swapped(upper: Tensor, lower: Tensor) -> tuple[Tensor, Tensor]:
    # Equal rows are ordered by x: both faces of a shared edge must name its ends in the same order.
    later = (upper[:, 1] > lower[:, 1]) | ((upper[:, 1] == lower[:, 1]) & (upper[:, 0] > lower[:, 0]))
    later = later[:, None]
    return torch.where(later, lower, upper), torch.where(later, upper, lower)


def _fragments(faces: _Faces, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Pixels (P,) in the flattened batch and keys (P,), for every pixel that a face covers."""
    (x0, y0, z0), (x1, y1, _), (x2, y2, _) = (corner.unbind(1) for corner in faces.corners.unbind(1))
    first_row = (y0 - 0.5).ceil().clamp(0, height)
    rows = ((y2 - 0.5).ceil().clamp(0, height) - first_row).long()
    slope_02 = (x2 - x0) / (y2 - y0)
    slope_01 = (x1 - x0) / (y1 - y0)
    slope_12 = (x2 - x1) / (y2 - y1)
    depth_x, depth_y = faces.depth_slope.unbind(1)
    # Inverse depth at the centre of the leftmost pixel of row 0.
    depth_origin = z0 + (0.5 - x0) * depth_x + (0.5 - y0) * depth_y

    of_face, step = _expanded(rows)
    # index_select along a row is several times as fast on the CPU as fancy indexing.
    table = torch.stack(
        [x0, y0, x1, y1, slope_02, slope_01, slope_12, depth_x, depth_y, depth_origin, first_row]
    )
    rows_of = table.index_select(1, of_face).unbind(0)
    x0, y0, x1, y1, slope_02, slope_01, slope_12, depth_x, depth_y, depth_origin, first_row = rows_of
    row = first_row + step
    y = row + 0.5
    long_x = x0 + (y - y0) * slope_02
    short_x = torch.where(y < y1, x0 + (y - y0) * slope_01, x1 + (y - y1) * slope_12)
    first = (torch.minimum(long_x, short_x) - 0.5).ceil().clamp(0, width)
    count = ((torch.maximum(long_x, short_x) - 0.5).ceil().clamp(0, width) - first).long()
    depth_row = depth_origin + depth_y * row + depth_x * first
    number = torch.stack([faces.picture, faces.face]).index_select(1, of_face)
    pixel_row = (number[0] * height + row.long()) * width + first.long()

    of_row, step = _expanded(count)
    depth_row, depth_x = torch.stack([depth_row, depth_x]).index_select(1, of_row)
    pixel_row, face = torch.stack([pixel_row, number[1]]).index_select(1, of_row)
    depth = depth_row + depth_x * step
    # A positive float's bits, read as an integer, keep their order.
    depth_bits = depth.clamp(min=1e-20).view(torch.int32).long()
    return pixel_row + step, (depth_bits << FACE_BITS) | face


def _expanded(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Items repeated `counts` (N,) times: each item's index and the position within it, both (sum,) int64."""
    item = torch.repeat_interleave(counts)
    start = counts.cumsum(0) - counts
    return item, torch.arange(item.shape[0], device=counts.device) - start.index_select(0, item)
