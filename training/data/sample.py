# SPDX-License-Identifier: GPL-3.0-or-later
"""One training sample, as a batch: a square crop of two hands with everything known about them.

Shapes: B batch, S side (left, right), J joints (21 with fingertips, 16 in the rig), V vertices, N crop side in
pixels. Every source of samples (synthetic, data sets) yields this record, and every loss and metric reads it.
Lengths are metres, camera axes OpenCV's (x right, y down, z forward). The values of a side with `present`
False are arbitrary but finite.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from inference_core.two_hand.records import Conditioning
    from training.data.hand_crops import HandCrops


BACKGROUND, LEFT_HAND, RIGHT_HAND = 0, 1, 2
_TINY_UV = 1e-6


@dataclass(frozen=True)
class Sample:
    """A batch of crops and their truth.

    image (B, 3, N, N): RGB, 0..1. K (B, 3, 3): pinhole of the crop, in its pixels (centres at +0.5).
    present (B, S) bool. wrist_cam_m (B, S, 3): the wrist joint in the camera.
    joints_rel_m (B, S, 21, 3), vertices_rel_m (B, S, V, 3): relative to the own wrist, camera axes.
    joints_uv (B, S, 21, 2), vertices_uv (B, S, V, 2): -1..1 over the crop, x right, y down.
    offset_m (B, 3): right wrist minus left wrist; meaningful where both are present.
    rotations (B, S, 16, 3, 3): wrist in camera axes, then fingers relative to the flat hand; betas (B, S,
    10).
    side_mask (B, M, M) int64: BACKGROUND, LEFT_HAND, RIGHT_HAND, at any resolution.
    dense (B, 3, M, M): colour map of surface position, 0..1; None if the source has none.
    visibility (B, S, 21): 1 a joint in plain view, 0 hidden; None if the source does not know.
    landmarks_uv (B, S, 21, 2), landmarks_rel_m (B, S, 21, 3): the same hand by the landmark networks'
    definition of the
        21 points, relative to the landmark wrist; None if no hand model was at hand.
    conditioning: what was found of the hands beside the picture. levels: a frozen backbone's features of the crop, run
    before; `image` is then only a small picture of it to look at. hand_crops: at single hands.
    """

    image: Tensor
    K: Tensor
    present: Tensor
    wrist_cam_m: Tensor
    joints_rel_m: Tensor
    vertices_rel_m: Tensor
    joints_uv: Tensor
    vertices_uv: Tensor
    offset_m: Tensor
    rotations: Tensor
    betas: Tensor
    side_mask: Tensor
    dense: Tensor | None = None
    visibility: Tensor | None = None
    landmarks_uv: Tensor | None = None
    landmarks_rel_m: Tensor | None = None
    conditioning: Conditioning | None = None
    levels: tuple[Tensor, ...] | None = None
    hand_crops: HandCrops | None = None

    @property
    def batch(self) -> int:
        """The batch size B."""
        return self.image.shape[0]

    @property
    def both_present(self) -> Tensor:
        """(B,) bool: frames with two hands, where an offset between them is defined."""
        return self.present.all(dim=-1)

    def map(self, function: Callable[[Tensor], Tensor]) -> Sample:
        """The sample with `function` applied to every tensor."""
        return dataclasses.replace(self, **{name: _mapped(value, function) for name, value in _fields(self)})

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Sample:
        """The sample on another device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def rows(self, index: slice | Tensor) -> Sample:
        """Some samples of the batch."""
        return self.map(lambda tensor: tensor[index])


def concatenated(samples: Sequence[Sample]) -> Sample:
    """Several batches joined into one; all have the same optional parts."""
    first = samples[0]
    columns = {name: [getattr(sample, name) for sample in samples] for name, _ in _fields(first)}
    return dataclasses.replace(first, **{name: _joined(values) for name, values in columns.items()})


def uv_from_camera(points_cam_m: Tensor, K: Tensor, crop_px: int) -> Tensor:
    """(..., P, 2) crop coordinates -1..1 of points (..., P, 3) projected by pinholes K (..., 3, 3).

    Points behind the camera are projected as if 1 cm in front of it: finite, and far outside the crop.
    """
    pixels_h = points_cam_m @ K.transpose(-1, -2)
    return pixels_h[..., :2] / pixels_h[..., 2:].clamp(min=0.01) * (2.0 / crop_px) - 1.0


def overlap(joints_uv: Tensor, present: Tensor) -> Tensor:
    """(...,) intersection over the smaller of the hands' boxes in the picture, 0..1; 0 where a hand is absent.

    joints_uv (..., S, 21, 2), present (..., S) bool.
    """
    low, high = joints_uv.amin(dim=-2), joints_uv.amax(dim=-2)
    sizes = (high - low).clamp(min=_TINY_UV).prod(dim=-1)
    shared = (high.amin(dim=-2) - low.amax(dim=-2)).clamp(min=0).prod(dim=-1)
    return shared / sizes.amin(dim=-1) * present.all(dim=-1)


def _fields(sample: Sample) -> list[tuple[str, object]]:
    return [(field.name, getattr(sample, field.name)) for field in dataclasses.fields(sample)]


def _mapped(value: object, function: Callable[[Tensor], Tensor]) -> object:
    if value is None:
        return None
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple):
        return tuple(_mapped(part, function) for part in value)
    assert dataclasses.is_dataclass(value) and not isinstance(value, type)
    parts = {field.name: _mapped(getattr(value, field.name), function) for field in dataclasses.fields(value)}
    return dataclasses.replace(value, **parts)


def _joined(values: Sequence[object]) -> object:
    first = values[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return torch.cat([value for value in values if isinstance(value, Tensor)])
    if isinstance(first, tuple):
        return tuple(_joined(column) for column in zip(*values, strict=True))
    assert dataclasses.is_dataclass(first) and not isinstance(first, type)
    parts = {f.name: _joined([getattr(value, f.name) for value in values]) for f in dataclasses.fields(first)}
    return dataclasses.replace(first, **parts)
