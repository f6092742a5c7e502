# SPDX-License-Identifier: GPL-3.0-or-later
"""Where footage is cut: two pictures of unlike content, each like its neighbour on its own side.

Pictures are compared as thumbnails, by correlation, which a change of exposure leaves as it is. A fast hand before
black, or a pan, changes them for several frames; a cut between two.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# Rows and columns of a thumbnail; of each of its fields, so many pixels are read each way.
_ROWS, _COLUMNS, _READ = 18, 32, 2
# Thumbnails differ by less than this many levels without any change.
_NOISE = 4.0
# Pictures on either side of a cut differ by at least this much (1: nothing in common; real footage changes by up to
# 0.3 from frame to frame), and so many times more than their neighbours do.
_UNLIKE, _MORE = 0.4, 3.0
# Up to so many frames between pictures that differ by less than that are a flash, and no piece of their own.
_FLASH_FRAMES, _ALIKE = 3, 0.2

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]


class PictureChanges:
    """How much each picture of a shot differs from the ones before it.

    before: the last pictures of the frames known so far; changes: theirs (T, 4), as `known`.
    """

    def __init__(self, before: Sequence[Image | None] = (), changes: Floats | None = None) -> None:
        # In one array for each `add`: small ones among pictures would hold the pages between these.
        self._known: list[Floats] = [] if changes is None else [changes]
        self._thumbnails: list[Floats | None] = []
        for image in before:
            self._keep(image)

    def add(self, images: Iterable[Image | None]) -> list[int]:
        """The next frames of the shot; returns those of them that seem to begin a piece, as far as is known yet."""
        count, last = sum(map(len, self._known)), [part[-1:, 0] for part in self._known[-1:]]
        found = list[list[float]]()
        for image in images:
            self._keep(image)
            own, *earlier = reversed(self._thumbnails)
            changes = [0.0 if own is None or one is None else _change(own, one) for one in earlier]
            found.append(changes + [0.0] * (1 + _FLASH_FRAMES - len(earlier)))
        self._known.append(np.array(found, np.float32).reshape(-1, 1 + _FLASH_FRAMES))
        recent = np.concatenate([*last, self._known[-1][:, 0]])
        first = count - len(recent) + len(found)
        return [first + place for place in _unlike(recent).tolist() if place]

    @property
    def known(self) -> Floats:
        """(T, 4): how much each frame's picture differs from the one 1, 2, 3 and 4 frames earlier; 0: not at all."""
        return np.concatenate([np.zeros((0, 1 + _FLASH_FRAMES), np.float32), *self._known])

    def _keep(self, image: Image | None) -> None:
        """Keep a frame's thumbnail; without a picture, the one before it, if any."""
        before = self._thumbnails[-1] if self._thumbnails else None
        self._thumbnails.append(before if image is None else _thumbnail(image))
        del self._thumbnails[: -2 - _FLASH_FRAMES]


def cut_frames(changes: Floats) -> NDArray[np.int64]:
    """(C,) the frames that begin a piece, apart from the first, by a shot's changes (T, 4)."""
    cuts = _unlike(changes[:, 0]).tolist()
    flashes = {
        at
        for before, after in pairwise(cuts)
        if after - before <= _FLASH_FRAMES and changes[after, after - before] < _ALIKE
        for at in (before, after)
    }
    return np.array([at for at in cuts if at not in flashes], np.int64)


def _unlike(change: Floats) -> NDArray[np.int64]:
    """The frames whose change (T,) stands out."""
    around = np.pad(change, 1)
    beside = np.maximum(around[:-2], around[2:])
    return np.flatnonzero((change > _UNLIKE) & (change > _MORE * beside))


def _thumbnail(image: Image) -> Floats:
    """(18, 32, 3) about the mean of each channel."""
    rows, columns = (
        np.linspace(0, side - 1, _READ * count).astype(int)
        for side, count in zip(image.shape, (_ROWS, _COLUMNS), strict=False)
    )
    read = image[rows[:, None], columns].astype(np.float32)
    read = read.reshape(_ROWS, _READ, _COLUMNS, _READ, 3)
    small = sum(read[:, i, :, j] for i in range(_READ) for j in range(_READ)) / np.float32(_READ**2)
    return small - small.mean((0, 1))


def _change(one: Floats, other: Floats) -> float:
    """1 minus the correlation of two thumbnails."""
    noise = _NOISE**2 * one.size
    alike = np.vdot(one, other) + noise
    return float(1 - alike / np.sqrt((np.vdot(one, one) + noise) * (np.vdot(other, other) + noise)))
