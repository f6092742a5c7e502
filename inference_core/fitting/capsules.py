# SPDX-License-Identifier: GPL-3.0-or-later
"""The hands' surfaces as capsules along the bones, with radii from the hand model's skin."""

from dataclasses import dataclass

import numpy as np

from inference_core.fitting.arrays import Floats, Indices
from inference_core.fitting.parameterisation import JOINTS, HandParameterisation
from inference_core.hand_model.hand import HandModel
from inference_core.shared.skeleton import TIPS_21

# Phalanges first, thumb to pinky, tip last; then the palm: the metacarpals, the row of knuckles, the thumb's web.
BONES = (
    *((4 * finger + k, 4 * finger + k + 1) for finger in range(5) for k in (1, 2, 3)),
    *((0, joint) for joint in (1, 5, 9, 13, 17)),
    *((5, 9), (9, 13), (13, 17), (1, 5)),
)
# The heel of the hand and its outer edge have no bone: their ends are blends of these joints.
_HEEL_JOINTS = (0, 2, 5, 9, 17)
_HEEL = (
    ((1.07, 0.28, -0.13, -0.17, -0.05), (1.04, 0.18, -0.36, -0.20, 0.34)),
    ((0.82, 0.20, -0.33, -0.14, 0.45), (0.21, 0.33, -0.34, -0.03, 0.83)),
)
# A fingertip's capsule ends inside the finger: this share of the last phalanx short of the skin.
_TIP_SHORT = 0.33
_WIDEST_M = 0.019
_ALIKE_SQ_M = 1e-12


@dataclass(frozen=True)
class Capsules:
    """C capsules per hand: ends (C, 2, 21) as blends of the 21 joints; radii_m (S, C)."""

    ends: Floats
    radii_m: Floats

    def ends_m(self, joints_m: Floats) -> Floats:
        """(N, C, 2, 3) centres of the capsules' ends for joints (N, 21, 3)."""
        ends = self.ends.reshape(-1, self.ends.shape[2]) @ joints_m
        return ends.reshape(-1, *self.ends.shape[:2], 3)

    def along(self, capsule: Indices, share: Floats) -> Floats:
        """(..., 21) blends of the joints: the point of each capsule (...) at a share (...), 0..1, of its length."""
        start, end = self.ends[:, 0][capsule], self.ends[:, 1][capsule]
        return start + share[..., None] * (end - start)


def fit_capsules(model: HandModel, parameterisation: HandParameterisation) -> Capsules:
    """Capsules whose radii are the mean distance of the rest hand's vertices from their nearest bone."""
    joints, tips = np.eye(21), np.array(TIPS_21)
    joints[tips] = (1 - _TIP_SHORT) * joints[tips] + _TIP_SHORT * joints[tips - 1]
    heel = np.array(_HEEL) @ joints[list(_HEEL_JOINTS)]
    ends = np.concatenate([joints[np.array(BONES)], heel])
    count = len(ends)
    owner, _, distance_m = _nearest_bones(model, parameterisation, Capsules(ends, np.zeros((2, count))))
    radii_m = [
        np.bincount(own, far_m, count) / np.maximum(np.bincount(own, minlength=count), 1)
        for own, far_m in zip(owner, distance_m, strict=True)
    ]
    return Capsules(ends, np.minimum(radii_m, _WIDEST_M))


def owners(
    model: HandModel, parameterisation: HandParameterisation, capsules: Capsules
) -> tuple[Indices, Floats]:
    """The capsule nearest to each vertex at rest, and where along it that is, 0..1: each (S, V)."""
    return _nearest_bones(model, parameterisation, capsules)[:2]


def _nearest_bones(
    model: HandModel, parameterisation: HandParameterisation, capsules: Capsules
) -> tuple[Indices, Floats, Floats]:
    """Each (S, V): the nearest capsule of the vertices at rest, where along it, and its axis's distance in metres.

    By products of coordinates, as in nearest_points.
    """
    rest = model.with_shape(parameterisation.betas)
    vertices_m = rest.rest_vertices_m - rest.rest_joints_m[:, :1]
    ends_m = capsules.ends_m(parameterisation.points_m[:, JOINTS])
    start, bone = ends_m[:, :, 0], ends_m[:, :, 1] - ends_m[:, :, 0]
    ahead = _products(vertices_m, bone) - _dot(start, bone)[:, None]
    along = _share(ahead, _dot(bone, bone)[:, None])
    apart = _dot(vertices_m, vertices_m)[..., None] + _dot(start, start)[:, None]
    apart += along * (along * _dot(bone, bone)[:, None] - 2 * ahead) - 2 * _products(vertices_m, start)
    # Where two bones meet, both are as near: the first is taken, whatever the rounding.
    owner = (apart <= apart.min(-1, keepdims=True) + _ALIKE_SQ_M).argmax(-1)
    along, apart = (np.take_along_axis(values, owner[..., None], 2)[..., 0] for values in (along, apart))
    return owner, along, np.sqrt(np.maximum(apart, 0))


@dataclass(frozen=True)
class Nearest:
    """The closest points of every left and right capsule.

    along, across (P, C, C): their positions along each, 0..1. gap_m (P, C, C): the distance of the
    surfaces, negative if they overlap.
    """

    along: Floats
    across: Floats
    gap_m: Floats

    def behind_m(self, left_m: Floats, right_m: Floats) -> Floats:
        """(P, C, C) how much farther from the camera the left capsules (ends left_m, P, C, 2, 3) are
        than the right, at those points.
        """
        left, right = left_m[:, :, None, :, 2], right_m[:, None, :, :, 2]
        own = left[..., 0] + self.along * (left[..., 1] - left[..., 0])
        return own - (right[..., 0] + self.across * (right[..., 1] - right[..., 0]))


def nearest_points(left_m: Floats, right_m: Floats, capsules: Capsules) -> Nearest:
    """The closest points of left and right capsules, from their ends (P, C, 2, 3).

    Computed by matrix products of coordinates, without an array of (P, C, C) vectors.
    """
    middle = left_m[:, :1, 0]
    start, other_start = left_m[:, :, 0] - middle, right_m[:, :, 0] - middle
    own, other = left_m[:, :, 1] - left_m[:, :, 0], right_m[:, :, 1] - right_m[:, :, 0]
    a, e = _dot(own, own)[:, :, None], _dot(other, other)[:, None]
    b = _products(own, other)
    c = _dot(own, start)[:, :, None] - _products(own, other_start)
    f = _products(start, other) - _dot(other, other_start)[:, None]
    across = _share(b * _share(b * f - c * e, np.maximum(a * e - b * b, 1e-12)) + f, e)
    ahead = b * across - c
    along = _share(ahead, a)
    apart = _dot(start, start)[:, :, None] + _dot(other_start, other_start)[:, None]
    apart -= 2 * _products(start, other_start)
    apart += along * (a * along - 2 * ahead)
    apart += across * (e * across - 2 * f)
    reach_m = capsules.radii_m[0][:, None] + capsules.radii_m[1]
    return Nearest(along, across, np.sqrt(np.maximum(apart, 0)) - reach_m)


def _share(part: Floats, whole: Floats) -> Floats:
    return np.clip(part / whole, 0, 1)


def _dot(first: Floats, second: Floats) -> Floats:
    """(...) products of vectors (..., 3)."""
    return first[..., 0] * second[..., 0] + first[..., 1] * second[..., 1] + first[..., 2] * second[..., 2]


def _products(first: Floats, second: Floats) -> Floats:
    """(P, n, m) products of each two of vectors (P, n, 3) and (P, m, 3)."""
    return first @ np.swapaxes(second, 1, 2)
