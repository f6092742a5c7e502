# SPDX-License-Identifier: GPL-3.0-or-later
"""The landmark head with a cache: a crop that was read for its handedness is not read again for its landmarks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from inference_core.footage.records import Frame
from inference_core.landmarks.hand_crops import Floats, Sides, crop_features
from inference_core.landmarks.landmark_head import HeadWithLandmarks, RefinedLandmarks

# Readings kept: some 30 MB.
_MOST_KEPT = 40_000

_Key = tuple[int, int, bytes]


class KeptReadings:
    """A head, and its readings in this run."""

    def __init__(self, head: HeadWithLandmarks) -> None:
        self._head = head
        self._kept: dict[_Key, tuple[Tensor, ...]] = {}

    def read(
        self, frames: Sequence[Frame], crops: Floats, sides: Sides, keep: bool = False
    ) -> RefinedLandmarks:
        """How the head reads crop n (4,) of frame n, which has a picture, as a hand of side n; N > 0.

        keep: cache the reading for a later caller. A cached reading is returned once.
        """
        keys: list[_Key] = [
            (frame.index, int(side), crop.tobytes())
            for frame, side, crop in zip(frames, sides, crops, strict=True)
        ]
        known = [self._kept.pop(key, None) for key in keys]
        rest = [row for row, reading in enumerate(known) if reading is None]
        if rest:
            found = self._read([frames[row] for row in rest], crops[rest], sides[rest])
            for row, reading in zip(rest, found, strict=True):
                known[row] = reading
        readings = [reading for reading in known if reading is not None]
        if keep and len(self._kept) < _MOST_KEPT:
            self._kept.update(zip(keys, readings, strict=True))
        return RefinedLandmarks(*(torch.stack(values) for values in zip(*readings, strict=True)))

    def _read(self, frames: Sequence[Frame], crops: Floats, sides: Sides) -> list[tuple[Tensor, ...]]:
        images = [frame.image for frame in frames if frame.image is not None]
        with torch.inference_mode():
            found = self._head.network(crop_features(images, crops, sides, self._head.landmarks))
        fields = (found.points, found.world_m, found.log_sigma, found.right)
        return list(zip(*(values.float().cpu().unbind() for values in fields), strict=True))
