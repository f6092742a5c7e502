# SPDX-License-Identifier: GPL-3.0-or-later
"""Best rigid and similarity alignments of point sets (Procrustes), any leading axes."""

from dataclasses import dataclass

from inference_core.geometry.array_api import Array, array_namespace


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation. scale (...,), rotation (..., 3, 3), translation (..., 3)."""

    scale: Array
    rotation: Array
    translation: Array

    def apply(self, points: Array) -> Array:
        """Moved points (..., N, 3)."""
        turned = points @ array_namespace(points).matrix_transpose(self.rotation)
        return self.scale[..., None, None] * turned + self.translation[..., None, :]


def fit_rigid(source: Array, target: Array) -> Similarity:
    """Best rigid motion (scale 1) of points `source` (..., N, 3) onto `target`."""
    return _fit(source, target, with_scale=False)


def fit_similarity(source: Array, target: Array) -> Similarity:
    """Best rotation, shift and scale of points `source` (..., N, 3) onto `target` (Umeyama 1991)."""
    return _fit(source, target, with_scale=True)


def _fit(source: Array, target: Array, with_scale: bool) -> Similarity:
    xp = array_namespace(source, target)
    share = 1 / source.shape[-2]
    source_centre, target_centre = (share * source).sum(-2), (share * target).sum(-2)
    source_arms = source - source_centre[..., None, :]
    target_arms = target - target_centre[..., None, :]
    rotation, gain = _proper_rotation(xp.matrix_transpose(target_arms) @ (share * source_arms))
    if with_scale:
        spread = (share * source_arms * source_arms).sum((-2, -1))
        scale = gain / spread.clip(min=xp.finfo(spread.dtype).smallest_normal)
    else:
        scale = xp.ones_like(gain)
    translation = target_centre - scale[..., None] * (rotation @ source_centre[..., None])[..., 0]
    return Similarity(scale, rotation, translation)


def _proper_rotation(covariance: Array) -> tuple[Array, Array]:
    """The rotation (..., 3, 3) nearest a covariance and trace(rotation.T @ covariance) (...,)."""
    xp = array_namespace(covariance)
    u, singular, vh = xp.linalg.svd(covariance)
    sign = xp.sign(xp.linalg.det(u @ vh))
    signs = xp.stack([xp.ones_like(sign), xp.ones_like(sign), sign], axis=-1)
    return (u * signs[..., None, :]) @ vh, (singular * signs).sum(-1)
