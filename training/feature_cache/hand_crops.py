# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand crops with their truth, a row a hand: those of a feature cache's samples, and files of hand crops alone.

    SET/hand_crops/look-000000.safetensors, ...

A file of hand crops alone holds no features of whole pictures, so far more of them fit an hour and a disk. Some of
them are mirrored the wrong way, for the head to tell the sides.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.geometry.rotations import turn_to_ray
from inference_core.hand_model.hand import HandModel
from inference_core.landmarks.hand_crops import crop_features, points_to_crop, world_to_crop
from inference_core.landmarks.weights import LandmarkNetworks
from inference_core.tracking.expected_hands import SEEN_SCORE
from inference_core.two_hand.crop import mapped
from training.data.synthetic_source import made_samples
from training.feature_cache.from_stills import pictures, present_hands, tracked_crops
from training.feature_cache.store import from_bytes, read_columns, read_look_columns, to_bytes, write_columns
from training.synthetic.settings import Settings

LOOKS = "hand_crops"
STILLS_A_LOOK_FILE = 128
# A look tells of its hand where the hand's middle lies within it, in its half side.
_INSIDE = 0.8
# Of hand crops alone, how many are mirrored the wrong way.
_WRONG_WAY = 0.35
_BATCH = 32

Floats = NDArray[np.float64]
Sides = NDArray[np.int64]


@dataclass(frozen=True)
class LookRows:
    """N hand crops with their truth.

    features (N, 112, 14, 14) uint8: as stored. points (N, 21, 2), world_m (N, 21, 3): see LandmarkHead. seen (N,) bool:
    the landmark network finds a hand there. right (N,) bool: the look shows a right hand, as it should; else it is
    mirrored the wrong way.
    """

    features: Tensor
    points: Tensor
    world_m: Tensor
    seen: Tensor
    right: Tensor

    def chosen(self, rows: Tensor) -> "LookRows":
        """Some of the rows."""
        return LookRows(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def joined(parts: list["LookRows"]) -> "LookRows":
        """One of several."""
        names = (field.name for field in fields(LookRows))
        return LookRows(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


class LookSet:
    """N hand crops that show something of their hand, held in memory: of samples, of files of crops, or of both."""

    def __init__(self, folder: Path, paths: list[Path]) -> None:
        """Raises SetError where there is nothing, or a file is damaged."""
        alone = [path for path in paths if path.parent.name == LOOKS]
        of_samples = [path for path in paths if path.parent.name != LOOKS]
        parts = [_alone(path) for path in alone]
        if of_samples or not parts:
            parts.append(_of_samples(folder, of_samples))
        rows = LookRows.joined(parts)
        self._rows = rows.chosen(rows.points.mean(1).abs().amax(-1) < _INSIDE)
        self.points, self.world_m = self._rows.points, self._rows.world_m
        self.seen, self.right = self._rows.seen, self._rows.right

    def __len__(self) -> int:
        return len(self.points)

    def features(self, rows: Tensor) -> Tensor:
        """(N, 112, 14, 14) of some rows."""
        return from_bytes(self._rows.features[rows])


def made_looks(
    settings: Settings, hand: HandModel, networks: LandmarkNetworks, seed: int, first: int, count: int
) -> LookRows:
    """Looks at the hands of pictures number first ... of the stream `seed`."""
    sample = made_samples(settings, hand, seed, first, count, torch.device("cpu"))
    random = np.random.default_rng((seed, first))
    assert sample.landmarks_rel_m is not None
    rows, sides, points_px = present_hands(sample)
    crops, _ = tracked_crops(points_px, random)
    right = random.random(len(rows)) >= _WRONG_WAY
    shown = np.where(right, sides, 1 - sides)
    images = pictures(sample)
    features = crop_features([images[row] for row in rows], crops, shown, networks.landmark)
    with torch.inference_mode():
        presence = torch.cat([networks.landmark.read(part).presence for part in features.split(_BATCH)])
    # The crop's camera looks at its middle.
    middle_px = sample.image.shape[-1] / 2
    tangent = torch.from_numpy(points_px.mean(1) - middle_px) / sample.K[rows, 0, :1].double()
    world_m = _world_m(sample.landmarks_rel_m[rows, sides].double(), tangent, crops, shown)
    points = torch.from_numpy(points_to_crop(points_px, crops, shown)).float()
    return LookRows(to_bytes(features), points, world_m, presence >= SEEN_SCORE, torch.from_numpy(right))


def write_looks(path: Path, hand_crops: LookRows) -> None:
    """Stores hand crops alone. Raises SetError; nothing half-written is left."""
    write_columns(path, {field.name: getattr(hand_crops, field.name) for field in fields(hand_crops)})


def look_path(folder: Path, number: int) -> Path:
    """The file of hand crops alone of that number."""
    return folder / LOOKS / f"look-{number:06d}.safetensors"


def _alone(path: Path) -> LookRows:
    columns = read_columns(path, [field.name for field in fields(LookRows)])
    return LookRows(**columns)


def _of_samples(folder: Path, paths: list[Path]) -> LookRows:
    columns = read_look_columns(folder, paths)
    crops, uv = columns["look_crops"], columns["landmarks_uv"]
    rows, sides = (crops[..., 2] > 0).nonzero(as_tuple=True)
    crops, numbers = crops[rows, sides].double().numpy(), sides.numpy()
    uv = uv[rows, sides].double()
    px = mapped(uv.numpy(), np.linalg.inv(columns["look_uv_from_px"][rows].double().numpy()))
    tangent = uv.mean(1) / columns["evidence_focal_uv"][rows].double()[:, None]
    return LookRows(
        features=columns["crop_features"][rows, sides],
        points=torch.from_numpy(points_to_crop(px, crops, numbers)).float(),
        world_m=_world_m(columns["landmarks_rel_m"][rows, sides].double(), tangent, crops, numbers),
        seen=columns["evidence_hand_score"][rows, sides] >= SEEN_SCORE,
        right=torch.ones(len(rows), dtype=torch.bool),
    )


def _world_m(landmarks_m: Tensor, tangent: Tensor, crops: Floats, sides: Sides) -> Tensor:
    """Landmarks (N, 21, 3) in camera axes as a look shows them; tangent (N, 2): slopes of the line of sight."""
    ray = torch.cat([tangent, torch.ones_like(tangent[:, :1])], -1)
    along = (landmarks_m - landmarks_m.mean(1, keepdim=True)) @ turn_to_ray(ray)
    return torch.from_numpy(world_to_crop(along.numpy(), crops, sides)).float()
