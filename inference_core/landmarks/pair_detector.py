# SPDX-License-Identifier: GPL-3.0-or-later
"""Proposes hands in a square of the picture, where two of them touch too.

The palm detector looks for palms, which hands that clasp or lie on one another hide. This detector shares its fine
features and has the rest anew: each of 12 x 12 cells says for either side whether a hand's crop has its middle there,
and how large and how rotated that is. It is taught the sides, but has not learnt to tell them (docs/experiments.md), so
they are not asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import cut
from inference_core.landmarks.formats import PALM_PX
from inference_core.landmarks.networks import LandmarkNetworks

CELLS = 12
# Crops are told relative to this share of the square's side.
USUAL_SIZE = 0.5
# Cells less likely than this (log) tell nothing; a picture in which none is likelier than that shows no hand.
LEAST, _NOTHING = -5.0, -2.0
# How many hands of the whole picture are looked at again, and in which squares: so much larger than the hand's crop,
# and about two hands at once.
_ABOUT, _NEAR, _ROUND_BOTH = 2, 2.2, 1.7
# Hands whose middles are farther from each other than this, of the larger crop's side, are apart; how many proposals
# are looked at for them.
_APART, _LOOKED_AT = 0.4, 12
# Crops that differ by less are one: place (of its side), size (logarithm), rotation (rad).
_SAME = (0.12, 0.25, 0.5)

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class ToldHands:
    """What squares of a picture tell: crops (N, 4) of hands, and how likely (log) each is, (N,)."""

    crops: Floats
    likely: Floats

    def rows(self, rows: NDArray[np.int64]) -> ToldHands:
        """Some of them."""
        return ToldHands(self.crops[rows], self.likely[rows])

    def best(self, count: int) -> ToldHands:
        """The likeliest (at most `count`) that differ, likeliest first."""
        kept: list[int] = []
        for row in np.argsort(-self.likely, kind="stable").tolist():
            if len(kept) == count:
                break
            if not kept or _differ(self.crops[row], self.crops[kept]).all():
                kept.append(row)
        return self.rows(np.array(kept, np.int64))


def proposed_crops(image: Image, known: Floats, count: int, networks: LandmarkNetworks) -> Floats:
    """Crops (at most `count`, 4) of hands that an RGB image (H, W, 3) may show, likeliest first; none if it shows
    nothing like a hand.

    It is looked at as a whole, and near known hands with crops (N, 4) or near those that are likeliest in it.
    """
    whole = told_hands(image, _whole(image), networks)
    if not len(known) and whole.likely.max(initial=LEAST) < _NOTHING:
        return np.empty((0, 4))
    about = known if len(known) else whole.best(_ABOUT).crops
    squares = [np.append(crop[:2], _NEAR * crop[2]) for crop in about]
    if len(about) > 1:
        apart_px = np.linalg.norm(np.ptp(about[:, :2], axis=0))
        squares.append(np.append(about[:, :2].mean(0), apart_px + _ROUND_BOTH * about[:, 2].mean()))
    near = told_hands(image, np.array(squares), networks)
    crops, likely = (
        np.concatenate(both) for both in ((whole.crops, near.crops), (whole.likely, near.likely))
    )
    return ToldHands(crops, likely).best(count).crops


def proposed_apart(image: Image, known: Floats, count: int, networks: LandmarkNetworks) -> ToldHands:
    """At most `count` hands that an RGB image (H, W, 3) shows as a whole, apart from each other and from known hands
    with crops (N, 4); likeliest first.
    """
    told = told_hands(image, _whole(image), networks)
    told = told.rows(np.flatnonzero(told.likely > _NOTHING)).best(_LOOKED_AT)
    kept, rows = known, list[int]()
    for row, crop in enumerate(told.crops):
        apart_px = np.linalg.norm(crop[:2] - kept[:, :2], axis=-1)
        if len(rows) < count and (apart_px > _APART * np.maximum(crop[2], kept[:, 2])).all():
            kept = np.concatenate([kept, crop[None]])
            rows.append(row)
    return told.rows(np.array(rows, np.int64))


def told_hands(image: Image, squares: Floats, networks: LandmarkNetworks) -> ToldHands:
    """What squares (N, 3), middle x, y and side in pixels, of an RGB image (H, W, 3) tell of hands."""
    upright = np.concatenate([squares, np.zeros((len(squares), 1))], 1)
    maps = networks.run_pairs(np.stack([cut(image, square, PALM_PX) for square in upright]))
    maps = np.moveaxis(maps.astype(np.float64), 2, -1)
    likely = -np.logaddexp(0, -maps[..., 0]) - np.logaddexp(0, -maps[..., 6]) / 2
    at = (np.arange(CELLS) + 0.5) / CELLS - 0.5
    side_px = squares[:, 2, None, None, None]
    x = squares[:, 0, None, None, None] + side_px * (at + maps[..., 1] / CELLS)
    y = squares[:, 1, None, None, None] + side_px * (at[:, None] + maps[..., 2] / CELLS)
    size = side_px * USUAL_SIZE * np.exp(maps[..., 3])
    crops = np.stack([x, y, size, np.arctan2(maps[..., 5], maps[..., 4])], -1)
    told = likely > LEAST
    return ToldHands(crops[told], likely[told])


def _whole(image: Image) -> Floats:
    """(1, 3) the square about an image."""
    height, width = image.shape[:2]
    return np.array([[width / 2, height / 2, max(width, height)]])


def _differ(crop: Floats, others: Floats) -> NDArray[np.bool_]:
    """(N,) whether a crop (4,) is another one than each of others (N, 4)."""
    apart = np.linalg.norm(crop[:2] - others[:, :2], axis=-1) / crop[2]
    grown = np.log(crop[2] / others[:, 2])
    turned = np.remainder(crop[3] - others[:, 3] + np.pi, 2 * np.pi) - np.pi
    place, size, rotation = _SAME
    differ: NDArray[np.bool_] = (apart / place) ** 2 + (grown / size) ** 2 + (turned / rotation) ** 2 > 1
    return differ
