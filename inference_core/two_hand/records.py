# SPDX-License-Identifier: GPL-3.0-or-later
"""The two-hand network's conditioning and its output.

B batch, S sides (left, right), J = 21 joints, V vertices. Lengths are metres, camera axes x right, y down, z forward.
uv is -1..1 over the square crop, x right, y down, 0 at its centre.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from inference_core.geometry.array_api import Array, array_namespace

if TYPE_CHECKING:
    from torch import Tensor

# The unit of the hand-to-hand offset and of joint embeddings, as in the release.
OFFSET_UNIT_M = 0.15

_zeros = partial(np.zeros, dtype=np.float32)


@dataclass(frozen=True)
class Conditioning:
    """What is known about the hands in a crop before the network runs. A score of 0 means that a part is unknown.
    Float32 arrays, or tensors within a network.

    landmarks_uv (B, S, 21, 2): landmarks found in the picture; landmark_score (B, S, 21): 0..1, 0 if missing.
    world_rel_m (B, S, 21, 3): world landmarks relative to their wrist, camera axes; 0 if missing. hand_score (B, S):
    0..1, 0 if that hand was not found. side_score (B, S): 0..1, certainty of its side, 0 if unknown. focal_uv (B,):
    focal length of the crop's pinhole in units of uv (pixels / half the crop's side), 0 if unknown.
    """

    landmarks_uv: Array
    landmark_score: Array
    world_rel_m: Array
    hand_score: Array
    side_score: Array
    focal_uv: Array

    @staticmethod
    def none(batch: int, zeros: Callable[[tuple[int, ...]], Array] = _zeros) -> Conditioning:
        """Conditioning without any knowledge: the network has the picture alone. zeros: makes an array of a shape."""
        shapes = (2, 21, 2), (2, 21), (2, 21, 3), (2,), (2,), ()
        return Conditioning(*(zeros((batch, *shape)) for shape in shapes))

    @staticmethod
    def joined(parts: Sequence[Conditioning]) -> Conditioning:
        """Several batches joined into one; an empty one if there are none."""
        columns = zip(*(part.arrays for part in parts), strict=True)
        joined = (array_namespace(*values).concat(values) for values in columns)
        return Conditioning(*joined) if parts else Conditioning.none(0)

    def map(self, function: Callable[[Array], Array]) -> Conditioning:
        """The conditioning with `function` applied to every array."""
        return Conditioning(*(function(value) for value in self.arrays))

    @property
    def arrays(self) -> tuple[Array, ...]:
        """The six arrays in the order of the fields."""
        return tuple(getattr(self, field.name) for field in dataclasses.fields(self))


@dataclass(frozen=True)
class HandStage:
    """The two hands as estimated by one stage of the network.

    parameters (B, S, 64): root rotation 6D, 45 pose numbers, 10 betas, camera (s, tx, ty). root_rotation (B, S, 3,
    3): wrist in camera axes. pose (B, S, 45): coefficients of the hand model's components, or angles about its
    joint axes (see NetworkConfiguration.pose). rotations (B, S, 16, 3, 3): the wrist, then the fingers relative to
    the rest pose, MANO's order. betas (B, S, 10). camera (B, S, 3): uv = s * xy + (tx, ty) of joints_m. joints_m
    (B, S, 21, 3) and vertices_m (B, S, V, 3; None if not requested): relative to the wrist. joints_uv (B, S, 21,
    2). offset_m (B, 3): right wrist minus left wrist. presence_logit (B, S): that the hand is in the picture.
    log_sigma (B, S, 2): logarithms of the expected errors of joints_uv (uv) and joints_m (units of 0.15 m). Both
    are None if the network has no such heads.
    """

    parameters: Tensor
    root_rotation: Tensor
    pose: Tensor
    rotations: Tensor
    betas: Tensor
    camera: Tensor
    joints_m: Tensor
    joints_uv: Tensor
    vertices_m: Tensor | None
    offset_m: Tensor
    presence_logit: Tensor | None = None
    log_sigma: Tensor | None = None

    @property
    def vertices_uv(self) -> Tensor | None:
        """(B, S, V, 2) or None: the vertices in the crop."""
        if self.vertices_m is None:
            return None
        return self.camera[..., None, :1] * self.vertices_m[..., :2] + self.camera[..., None, 1:]


@dataclass(frozen=True)
class DirOutput:
    """The output of all stages; the last one is the answer.

    dense (B, 3, H, W): colour map of surface position. side_scores (B, 3, H, W): logits of background, left, right.
    Both are for training only, and None if not requested or if there is no refinement stage.
    """

    stages: tuple[HandStage, ...]
    dense: Tensor | None = None
    side_scores: Tensor | None = None

    @property
    def answer(self) -> HandStage:
        """The last stage's output."""
        return self.stages[-1]
