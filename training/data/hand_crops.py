# SPDX-License-Identifier: GPL-3.0-or-later
"""The hand crops of a batch of two-hand crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.hand_crops import Floats, crop_features
from inference_core.landmarks.networks import LandmarkNetworks


@dataclass(frozen=True)
class HandCrops:
    """The hand crops of B two-hand crops.

    features (B, S, 112, 14, 14): the landmark network's early ones. crops (B, S, 4): squares in pixels of the whole
    picture; of side 0 where no hand is known. uv_from_px (B, 3, 3): homography from those pixels to the two-hand crop.
    """

    features: Tensor
    crops: Tensor
    uv_from_px: Tensor

    @staticmethod
    def joined(parts: Sequence[HandCrops]) -> HandCrops:
        """One batch of several."""
        names = (field.name for field in fields(HandCrops))
        return HandCrops(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def cut_hand_crops(
    images: Sequence[NDArray[np.uint8]],
    points_px: Floats,
    known: NDArray[np.bool_],
    uv_from_px: Floats,
    networks: LandmarkNetworks,
) -> HandCrops:
    """Crops of the known hands (B, S) of RGB images whose landmarks are at points_px (B, S, 21, 2)."""
    rows, sides = np.nonzero(known)
    crops = crops_from_landmarks(points_px[rows, sides])
    found = torch.from_numpy(crop_features([images[row] for row in rows], crops, sides, networks))
    hand_crops = HandCrops(
        found.new_zeros(*known.shape, *found.shape[1:]),
        torch.zeros(*known.shape, 4),
        torch.from_numpy(uv_from_px).float(),
    )
    hand_crops.features[rows, sides] = found
    hand_crops.crops[rows, sides] = torch.from_numpy(crops).float()
    return hand_crops
