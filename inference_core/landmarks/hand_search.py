# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands without a visible palm, found by the landmark network alone.

Two hands that clasp or lie palm to palm hide what the palm detector looks for, yet the landmark network reads them
well if given the right crop. So it searches everywhere: squares cover the picture or the surroundings of a known
hand, those with the highest presence are read again in the crops that they propose, and duplicates are removed. The
results still include forearms and shadows, for which the landmark head expects far larger errors.
"""

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.hand_crops import crop_features
from inference_core.landmarks.hand_reader import HandReadings, read_hands
from inference_core.landmarks.head_reader import HeadWithLandmarks, expected_errors
from inference_core.landmarks.networks import LandmarkNetworks
from inference_core.shared.skeleton import LEFT, RIGHT

# Squares over the whole picture: sides as shares of its shorter one, stride as a share of their side, number
# of rotations, and how far the outer squares' centres lie within the border.
_SIDES, _STRIDE, _TURNS, _MIDDLE = (0.55, 0.85), 0.45, 8, 0.3
# Squares around a known hand: distance of their centres, as shares of its crop's side.
_ASIDE = 0.3
# A quarter of the squares is read first: every place, in two rotations. The rest is skipped if the highest presence is
# below this: with hands it is at least 0.34, in empty rooms up to 0.27.
_FIRST_EVERY, _NOTHING = 4, 0.3
# How many of those with the highest presence are read again, and how often.
_KEPT, _ROUNDS = 16, 2
_LEAST_PRESENCE, _SURE_PRESENCE = 0.3, 0.5
# A reading beside a known hand may be another's if its presence exceeds this, and its crop's centre lies further from
# the known one's than this share of its side.
_FAINT, _AWAY = 0.1, 0.15
# Two readings closer than this (share of the crop's side) are of one hand; readings of different sides only
# if they are closer than the second distance.
_SAME, _SAME_OF_OTHER_SIDE, _OTHER_SIDE = 0.13, 0.06, 0.8
# Readings whose expected landmark error (in half crop sides) is larger are not hands.
WORST_ERROR = 0.2

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]


def crops_over(width: int, height: int) -> Floats:
    """Crops (N, 4) that cover a picture: some 300 for 16 : 9."""
    places = [
        (x, y, side)
        for side in (share * min(width, height) for share in _SIDES)
        for y in _spread(height, side)
        for x in _spread(width, side)
    ]
    return _turned(places)


def _spread(length: int, side: float) -> Floats:
    """Centres of squares along a border of the picture; the outer ones extend a little beyond it."""
    room = length - 2 * _MIDDLE * side
    return np.linspace(_MIDDLE * side, length - _MIDDLE * side, 1 + max(1, round(room / (_STRIDE * side))))


def crops_about(crop: Floats) -> Floats:
    """Crops (N, 4) that may contain a hand touching the one in `crop` (4,)."""
    steps = np.array([-_ASIDE, 0.0, _ASIDE]) * crop[2]
    return _turned([(crop[0] + x, crop[1] + y, float(crop[2])) for y in steps for x in steps])


def search_hands(
    image: Image, crops: Floats, networks: LandmarkNetworks, known: Floats | None = None
) -> HandReadings:
    """The hands found in an RGB image (H, W, 3) from these crops (N, 4), highest presence first.

    known (4,): the crop of a hand that is known already. A picture with nothing like a hand, or like another hand,
    costs a quarter of the time.
    """
    first = _is_first(len(crops))
    found = read_hands([image] * int(first.sum()), crops[first], networks)
    nothing = (
        found.presence.max() < _NOTHING if known is None else not _is_another(image, found, known, networks)
    )
    if nothing:
        return _rows(found, np.array([], np.int64))
    found = _joined(found, read_hands([image] * int((~first).sum()), crops[~first], networks))
    found = _rows(found, np.argsort(-found.presence, kind="stable")[:_KEPT])
    for _ in range(_ROUNDS):
        found = _rows(found, np.flatnonzero(found.presence > _LEAST_PRESENCE))
        if not len(found.presence):
            return found
        found = _thinned(read_hands([image] * len(found.presence), found.next_crops, networks))
    return _rows(found, np.flatnonzero(found.presence >= _SURE_PRESENCE))


def likely_crops(image: Image, crops: Floats, networks: LandmarkNetworks) -> Floats:
    """Where these crops (N, 4) of an RGB image (H, W, 3) lead to, (N, 4), highest presence first."""
    found = read_hands([image] * len(crops), crops, networks)
    return found.next_crops[np.argsort(-found.presence, kind="stable")]


def _is_first(count: int) -> NDArray[np.bool_]:
    """Which of `count` squares are read first."""
    numbers = np.arange(count)
    return (numbers + numbers // _TURNS) % _FIRST_EVERY == 0


def _is_another(image: Image, found: HandReadings, known: Floats, networks: LandmarkNetworks) -> bool:
    """Whether some of these readings, read again in the crops that they propose, lead elsewhere than to the known
    hand's crop (4,).
    """
    for again in range(_ROUNDS + 1):
        away_px = np.linalg.norm(found.next_crops[:, :2] - known[:2], axis=-1)
        least = _LEAST_PRESENCE if again else _FAINT
        found = _rows(found, np.flatnonzero((found.presence > least) & (away_px > _AWAY * known[2])))
        if not len(found.presence) or again == _ROUNDS:
            break
        found = read_hands([image] * len(found.presence), found.next_crops, networks)
    return bool(len(found.presence))


def plausible(image: Image, crops: Floats, head: HeadWithLandmarks) -> NDArray[np.bool_]:
    """Which of the crops (N, 4) of an RGB image (H, W, 3) the landmark head accepts as a hand of either side."""
    return errors_of_hands(image, crops, head) < WORST_ERROR


def errors_of_hands(image: Image, crops: Floats, head: HeadWithLandmarks) -> Floats:
    """(N,) the error that the landmark head expects in crops (N, 4) of an RGB image (H, W, 3), in half crop sides, as a
    hand of the likelier side.
    """
    count = len(crops)
    if not count:
        return np.zeros(0)
    both, shown = np.tile(crops, (2, 1)), np.repeat([LEFT, RIGHT], count)
    read = head.network(crop_features([image] * (2 * count), both, shown, head.landmarks))
    return expected_errors(read).reshape(2, count).min(0)


def _turned(places: list[tuple[float, float, float]]) -> Floats:
    turns = np.arange(_TURNS) * (2 * np.pi / _TURNS)
    return np.array([(*place, turn) for place in places for turn in turns], np.float64).reshape(-1, 4)


def _thinned(found: HandReadings) -> HandReadings:
    """One reading per hand, the one with the highest presence."""
    kept: list[int] = []
    for row in np.argsort(-found.presence, kind="stable"):
        if not any(_is_same(found, int(row), other) for other in kept):
            kept.append(int(row))
    return _rows(found, np.array(kept, np.int64))


def _is_same(found: HandReadings, one: int, other: int) -> bool:
    apart_px = np.linalg.norm(found.points_px[one, :, :2] - found.points_px[other, :, :2], axis=-1).mean()
    alike = abs(found.right[one] - found.right[other]) < _OTHER_SIDE
    return bool(apart_px < (_SAME if alike else _SAME_OF_OTHER_SIDE) * found.crops[[one, other], 2].max())


def _joined(first: HandReadings, second: HandReadings) -> HandReadings:
    names = [field.name for field in fields(HandReadings)]
    return HandReadings(
        **{name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in names}
    )


def _rows(found: HandReadings, rows: NDArray[np.int64]) -> HandReadings:
    return HandReadings(**{field.name: getattr(found, field.name)[rows] for field in fields(HandReadings)})
