# SPDX-License-Identifier: GPL-3.0-or-later
"""The landmark head with a cache: a crop that was read for its handedness is not read again for its landmarks."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from inference_core.footage.records import Frame
from inference_core.landmarks.crop_readings import RefinedLandmarks
from inference_core.landmarks.formats import LANDMARKS
from inference_core.landmarks.hand_crops import Features, Floats, Picture, Sides, crop_features, features_of
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.landmarks.networks import LandmarkNetworks

# How many readings are kept: 24 MB.
_MOST_KEPT = 40_000
# Points, world landmarks, expected errors, handedness.
_WIDTHS = (2 * LANDMARKS, 3 * LANDMARKS, 2 * LANDMARKS, 1)

_Key = tuple[int, int, bytes]
_Readings = NDArray[np.float32]


class KeptReadings:
    """A head and its readings in this run.

    The readings are rows of one array: as small arrays, allocated between the features of crops, they would leave
    gaps too small for the next features, which cost 80 KB of memory per reading.
    """

    def __init__(self, head: HeadWithLandmarks) -> None:
        self._head = head
        self._row_of: dict[_Key, int] = {}
        self._kept = np.empty((_MOST_KEPT, sum(_WIDTHS)), np.float32)
        self._free = list(reversed(range(_MOST_KEPT)))

    @property
    def landmarks(self) -> LandmarkNetworks:
        """The landmark networks of the head."""
        return self._head.landmarks

    def read(
        self, frames: Sequence[Frame], crops: Floats, sides: Sides, keep: bool = False
    ) -> RefinedLandmarks:
        """The head's readings of crop n (4,) of frame n, which has a picture, as a hand of side n; N > 0.

        keep: cache the reading for a later caller. A cached reading is returned once.
        """
        keys = _keys([frame.index for frame in frames], crops, sides)
        readings = np.empty((len(keys), sum(_WIDTHS)), np.float32)
        rest: list[int] = []
        for at, key in enumerate(keys):
            row = self._row_of.pop(key, None)
            if row is None:
                rest.append(at)
            else:
                readings[at] = self._kept[row]
                self._free.append(row)
        if rest:
            images = [image for at in rest if (image := frames[at].image) is not None]
            features = crop_features(images, crops[rest], sides[rest], self._head.landmarks)
            readings[rest] = self._read(features)
        if keep:
            self._keep(keys, readings)
        return _refined(readings)

    def read_cut(self, pictures: Iterable[Picture]) -> RefinedLandmarks:
        """The head's readings of hands that are cut out already (224, 224, 3), left ones mirrored."""
        return _refined(self._read(features_of(pictures, self._head.landmarks)))

    def keep(
        self, numbers: Sequence[int], crops: Floats, sides: Sides, pictures: Sequence[Picture]
    ) -> RefinedLandmarks:
        """The same for hands that are cut out already, left ones mirrored, cached. numbers: their frames' indices."""
        readings = self._read(features_of(pictures, self._head.landmarks))
        self._keep(_keys(numbers, crops, sides), readings)
        return _refined(readings)

    def _keep(self, keys: Sequence[_Key], readings: _Readings) -> None:
        for key, reading in zip(keys[: len(self._free)], readings, strict=False):
            row = self._row_of[key] = self._free.pop()
            self._kept[row] = reading

    def _read(self, features: Features) -> _Readings:
        """(N, sum of _WIDTHS) readings."""
        found = self._head.network(features)
        fields = (found.points, found.world_m, found.log_sigma, found.right)
        return np.concatenate([values.reshape(len(features), -1) for values in fields], 1)


def _keys(numbers: Sequence[int], crops: Floats, sides: Sides) -> list[_Key]:
    return [
        (number, int(side), crop.tobytes()) for number, side, crop in zip(numbers, sides, crops, strict=True)
    ]


def _refined(readings: _Readings) -> RefinedLandmarks:
    points, world_m, log_sigma, right = np.split(readings, np.cumsum(_WIDTHS)[:-1], 1)
    shape = len(readings), LANDMARKS, -1
    return RefinedLandmarks(
        points.reshape(shape), world_m.reshape(shape), log_sigma.reshape(shape), right[:, 0]
    )
