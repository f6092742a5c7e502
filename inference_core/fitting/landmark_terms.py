# SPDX-License-Identifier: GPL-3.0-or-later
"""Residuals of landmarks in the picture and of world landmarks.

Each robust term uses its current weights (pseudo-Huber: quadratic near zero, linear far out). Residuals are in units of
their own standard deviation. Terms are weights and pulls on the points first, and only then on the unknowns: that is
half the work.
"""

from dataclasses import dataclass

import numpy as np

from inference_core.fitting.arrays import Floats, Floats32, lengths, means
from inference_core.fitting.normal_equations import (
    NormalEquations,
    diagonal,
    flat_rows,
    on_unknowns,
    pseudo_huber,
)
from inference_core.fitting.observations import Observations
from inference_core.fitting.parameterisation import LANDMARKS, PosedPoints
from inference_core.geometry.projection import project_pinhole

# Standard deviations. Landmarks: as a share of the diagonal of the hand's box (346 px: 3 px). MediaPipe's own
# 2D and world landmarks disagree by 6 px there, hence the wide sigma of the latter.
_PIXEL_SHARE, _PIXEL_DELTA = 0.009, 2.5
# The number of steps that find the size error common to a hand's landmarks.
_SIZE_STEPS = 3
_WORLD_M, _WORLD_DELTA = 0.0068, 2.7
# A network has seen the world landmarks: beside a fully confident one, they lose this share of their weight.
_WORLD_READ = 0.8


def landmark_cost(seen: Observations, posed: PosedPoints, world_scale: Floats) -> Floats:
    """(N,) cost of the landmark terms."""
    return _pixel_errors(seen, posed).total + _world_errors(seen, posed, world_scale).cost


def landmark_normal(
    seen: Observations, posed: PosedPoints, jacobian: Floats32, world_scale: Floats, by_scale: bool = False
) -> NormalEquations:
    """Normal equations of the landmark terms for any unknowns by which the landmarks have derivatives (N, 3, 21, K).

    world_scale (S,): the model's size over the world's. by_scale: its logarithm is one more unknown, the last one.
    """
    pixel, world = _pixel_errors(seen, posed), _world_errors(seen, posed, world_scale)
    by_points = _pixels_by_points(seen, posed)
    weighed = by_points * pixel.weight[..., None, None]
    pulls = np.stack([pixel.residual, pixel.size], 2) @ weighed
    # Where the size error v is eliminated, the weights are W - c v v'. The residual is at its optimum already, so that
    # the gradient stays as it is.
    variance = seen.size_sigma**2
    hidden = np.sqrt(variance / (1 + variance * (pixel.weight * _dot(pixel.size, pixel.size)).sum(1)))
    gradient, size = on_unknowns(
        [pulls[:, :, 0] + world.pull(world.residual), pulls[:, :, 1] * hidden[:, None, None]], jacobian
    )
    weight = np.swapaxes(weighed, -1, -2) @ by_points
    diagonal(weight)[:] += world.stiffness[..., None]
    hessian = _weights_on_unknowns(weight, jacobian) - _hidden(world.stiffness, size, jacobian)
    normal = NormalEquations(hessian.astype(np.float64), gradient, pixel.total + world.cost)
    return _with_scale(normal, seen, world, jacobian) if by_scale else normal


def reprojection_px(seen: Observations, posed: PosedPoints) -> Floats:
    """(N, 21) distance of the projected from the observed landmarks, pixels."""
    return lengths(project_pinhole(posed.points_m[:, LANDMARKS], seen.K) - seen.pixels)


@dataclass(frozen=True)
class _PixelErrors:
    """Landmark residuals (N, 21, 2) without the size error, their weights (N, 21), and what all cost (N,).

    size (N, 21, 2): the residuals' derivative by the size error.
    """

    residual: Floats
    weight: Floats
    size: Floats
    total: Floats


def _pixel_errors(seen: Observations, posed: PosedPoints) -> _PixelErrors:
    """The residuals with the size error eliminated, which all landmarks of a hand share:
    it is what obscures the distance.

    It is eliminated at its own optimum in each frame, so the derivatives by the unknowns are unaffected.
    """
    sigma_px = _PIXEL_SHARE * seen.diagonal_px[:, None, None]
    share = seen.score[:, None] / np.maximum(seen.score.sum(-1), 1e-9)[:, None, None]
    size = (seen.pixels - share @ seen.pixels) / sigma_px
    residual = (project_pinhole(posed.points_m[:, LANDMARKS], seen.K) - seen.pixels) / sigma_px
    # Of each landmark's squared error: without a size error, and what this one adds.
    square, mixed, square_size = _dot(residual, residual), _dot(residual, size), _dot(size, size)
    precision = seen.size_sigma**-2
    expected, common, root = seen.size_error * precision, seen.size_error, np.ones_like(seen.score)
    for _ in range(_SIZE_STEPS):
        weight = seen.score / root
        common = (expected - (weight * mixed).sum(1)) / (precision + (weight * square_size).sum(1))
        square_error = square + common[:, None] * (2 * mixed + common[:, None] * square_size)
        root = np.sqrt(1 + np.maximum(square_error, 0) / _PIXEL_DELTA**2)
    cost = _PIXEL_DELTA**2 * ((root - 1) * seen.score).sum(-1)
    off = (common - seen.size_error) / seen.size_sigma
    residual = residual + common[:, None, None] * size
    return _PixelErrors(residual, seen.score / root, size, cost + 0.5 * off**2)


def _dot(first: Floats, second: Floats) -> Floats:
    return first[..., 0] * second[..., 0] + first[..., 1] * second[..., 1]


def _pixels_by_points(seen: Observations, posed: PosedPoints) -> Floats:
    """(N, 21, 2, 3) derivatives of the landmarks' residuals in the picture by the points."""
    points = posed.points_m[:, LANDMARKS]
    depth = np.maximum(points[..., 2:], 1e-3)
    focal_px = np.diagonal(seen.K, axis1=1, axis2=2)[:, None, :2]
    gain = focal_px / (_PIXEL_SHARE * seen.diagonal_px)[:, None, None] / depth
    out = np.zeros((*points.shape[:2], 2, 3))
    diagonal(out[..., :2])[:] = gain
    out[..., 2] = -gain * points[..., :2] / depth
    return out


@dataclass(frozen=True)
class _WorldErrors:
    """World landmarks' residuals (N, 21, 3), their weights (N, 21), and what they cost (N,). gain (N,): a residual's
    derivative by its point, as it moves about the mean of all.
    """

    residual: Floats
    weight: Floats
    gain: Floats
    cost: Floats

    @property
    def stiffness(self) -> Floats:
        """(N, 21) weights on the points."""
        return self.weight * self.gain[:, None] ** 2

    def pull(self, residual: Floats) -> Floats:
        """(N, 21, 3) of residuals on the points."""
        pulls = residual * (self.weight * self.gain[:, None])[..., None]
        return pulls - means(pulls)


def _world_errors(seen: Observations, posed: PosedPoints, scale: Floats) -> _WorldErrors:
    points = posed.points_m[:, LANDMARKS]
    # In the world landmarks' own metres: in the model's, a smaller hand would always have a smaller error.
    gain = 1 / (_WORLD_M * scale[seen.side])
    arms = (points - means(points)) * gain[:, None, None]
    residual = arms - seen.world_m / _WORLD_M
    weight, cost = pseudo_huber(lengths(residual), _WORLD_DELTA)
    share = seen.score
    if seen.network is not None:
        share = share * (1 - _WORLD_READ * np.minimum(seen.network.confidence, 1)[:, None])
    return _WorldErrors(residual, weight * share, gain, (cost * share).sum(-1))


def _weights_on_unknowns(weight: Floats, jacobian: Floats32) -> Floats32:
    """(N, K, K) weights (N, 21, 3, 3) on points as weights on the unknowns."""
    weighed = np.empty_like(jacobian)
    np.matmul(weight.astype(np.float32), np.swapaxes(jacobian, 1, 2), out=np.swapaxes(weighed, 1, 2))
    return np.swapaxes(flat_rows(jacobian), -1, -2) @ flat_rows(weighed)


def _hidden(stiffness: Floats, size: Floats, jacobian: Floats32) -> Floats32:
    """(N, K, K) what of the weights does not count: world landmarks' common motion, and the size error's (N, K).

    In the world, points count about their mean m: sum w (J - m)'(J - m) = sum w J'J - s'm - m'(s - sum w m), where s is
    the sum of w J.
    """
    shares = np.stack([np.full_like(stiffness, 1 / stiffness.shape[1]), stiffness], 1).astype(np.float32)
    mean, total = np.moveaxis(shares[:, None] @ jacobian, 2, 0)
    rest = total - stiffness.sum(1).astype(np.float32)[:, None, None] * mean
    of_size = size.astype(np.float32)[:, None]
    left, right = np.concatenate([total, mean, of_size], 1), np.concatenate([mean, rest, of_size], 1)
    return np.swapaxes(left, -1, -2) @ right


def _with_scale(
    normal: NormalEquations, seen: Observations, world: _WorldErrors, jacobian: Floats32
) -> NormalEquations:
    """The normal equations with the logarithm of the world scale as the last unknown."""
    count, size = normal.gradient.shape
    by_scale = -(world.residual + seen.world_m / _WORLD_M)
    weighed = world.weight[..., None] * by_scale
    hessian, gradient = np.zeros((count, size + 1, size + 1)), np.zeros((count, size + 1))
    hessian[:, :size, :size], gradient[:, :size] = normal.hessian, normal.gradient
    hessian[:, size, :size] = hessian[:, :size, size] = on_unknowns([world.pull(by_scale)], jacobian)[0]
    hessian[:, size, size] = (weighed * by_scale).sum((1, 2))
    gradient[:, size] = (weighed * world.residual).sum((1, 2))
    return NormalEquations(hessian, gradient, normal.cost)
