# SPDX-License-Identifier: GPL-3.0-or-later
"""Squares of hand crops: as in `landmarks.crop_squares`, but in tangents (x and y over z) instead of pixels."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.geometry.rotations import turn_to_ray
from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.hand_crops import points_to_crop, world_to_crop
from training.hand_crops.scenes import HandScene
from training.synthetic.randomness import Randomness

# Errors of a tracker's crop: as shares of its side (position; logarithm of size), and radians; how much
# larger they are for interpolated hands, and the share of those.
_OFF, _GROWN, _TURNED = 0.05, 0.08, 0.15
_INTERPOLATED, _INTERPOLATED_OFF = 0.15, 2.5
# The share of crops wider than a tracker's (`tracking.wider_square` reads hands in them too), and by how much.
_WIDE, _WIDER = 0.4, (1.15, 1.4)
# The share of crops that are mirrored wrongly.
_WRONG_WAY = 0.25
# A crop shows its hand if the hand's middle is within this distance, in half sides.
_INSIDE = 0.8

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Windows:
    """N hands of B pictures, each in the middle of its window.

    picture, side (N,) int64; square (N, 4): centre x, y and side in tangents, rotation; points (N, 21, 2): landmarks in
    tangents; landmarks_m (N, 21, 3): in the camera; partner (N, 21, 2): as points, of the other hand, NaN without one.
    """

    picture: Tensor
    side: Tensor
    square: Floats
    points: Floats
    landmarks_m: Tensor
    partner: Floats

    def rows(self, chosen: Tensor) -> "Windows":
        """Some of them, by number."""
        numbers = chosen.numpy()
        return Windows(
            self.picture[chosen],
            self.side[chosen],
            self.square[numbers],
            self.points[numbers],
            self.landmarks_m[chosen],
            self.partner[numbers],
        )


@dataclass(frozen=True)
class Cuts:
    """N crops with their truth: square (N, 4) as in Windows; shown (N,): the side that the crop is mirrored for; points
    (N, 21, 2), world_m (N, 21, 3) and right (N,): see `LandmarkHead`'s crops; partner (N, 21, 2): as points, of the
    other hand, NaN without one.
    """

    square: Floats
    shown: NDArray[np.int64]
    points: Tensor
    world_m: Tensor
    right: Tensor
    partner: Tensor


def windows_of(scene: HandScene) -> Windows:
    """Windows around all present hands wholly in front of the camera, in the order of pictures."""
    landmarks_m = scene.posed.landmarks21_m
    return windows_round(landmarks_m, scene.present & (landmarks_m[..., 2].amin(-1) > 0.05))


def windows_round(landmarks_m: Tensor, there: Tensor) -> Windows:
    """Windows round the hands that are there (B, S), of landmarks (B, S, 21, 3) in the camera."""
    landmarks_m, there = landmarks_m.cpu(), there.cpu()
    picture, side = there.nonzero(as_tuple=True)
    tangents = (landmarks_m[..., :2] / landmarks_m[..., 2:]).double().numpy()
    points = tangents[picture, side]
    other = np.where(there[picture, 1 - side, None, None], tangents[picture, 1 - side], np.nan)
    return Windows(picture, side, crops_from_landmarks(points), points, landmarks_m[picture, side], other)


def draw_cuts(random: Randomness, windows: Windows) -> Cuts:
    """A crop of each window, placed as by a tracker, or wider; random: one picture per window."""
    interpolated = random.chance("told", _INTERPOLATED).numpy()
    off = np.where(interpolated, _INTERPOLATED_OFF, 1.0)[:, None]
    wider = random.uniform("how wide", 1, low=_WIDER[0], high=_WIDER[1])
    wide = torch.where(random.chance("wide", _WIDE, 1), wider, 1.0).double().numpy()
    square = windows.square
    moved = random.normal("cut moved", 4).double().numpy()
    square = np.concatenate(
        [
            square[:, :2] + _OFF * off * square[:, 2:3] * moved[:, :2],
            square[:, 2:3] * wide * np.exp(_GROWN * off * moved[:, 2:3]),
            square[:, 3:] + _TURNED * off * moved[:, 3:],
        ],
        -1,
    )
    right = ~random.chance("wrong way", _WRONG_WAY)
    side = windows.side.numpy()
    shown = np.where(right.numpy(), side, 1 - side)
    return Cuts(
        square=square,
        shown=shown,
        points=torch.from_numpy(points_to_crop(windows.points, square, shown)).float(),
        world_m=world_in_crop(windows.landmarks_m.double(), windows.points, square, shown),
        right=right,
        partner=torch.from_numpy(points_to_crop(windows.partner, square, shown)).float(),
    )


def world_in_crop(landmarks_m: Tensor, points: Floats, square: Floats, shown: NDArray[np.int64]) -> Tensor:
    """World landmarks (N, 21, 3) as a crop shows them: about their middle, along the line of sight to it, in the crop's
    axes. landmarks_m: in camera axes, wherever their origin; points (N, 21, 2): where they stand, in tangents.
    """
    ray = np.concatenate([points.mean(1), np.ones((len(points), 1))], -1)
    about = landmarks_m - landmarks_m.mean(1, keepdim=True)
    along = (about @ turn_to_ray(torch.from_numpy(ray))).numpy()
    return torch.from_numpy(world_to_crop(along, square, shown)).float()


def tells(points: Tensor) -> Tensor:
    """(N,) bool for landmarks (N, 21, 2) in crops: whether the crop shows its hand."""
    return points.mean(1).abs().amax(-1) < _INSIDE
