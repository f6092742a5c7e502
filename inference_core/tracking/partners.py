# SPDX-License-Identifier: GPL-3.0-or-later
"""The second hand of a pair that was never told from the first.

Of two hands that lie on one another, detection thins the second away, takes both for the same side, or finds one only.
Once the first is known to be a left or a right hand, the partner network is asked for the other one. Where it tells of
one, both are also chosen together from all readings about the first, which may be on the wrong hand. The other one must
tell of the first in turn, or be one of that pair. Few frames are asked, and of a shot's answers most have to agree:
what lies between is for recovery and interpolation.

In a still, which no other frame can help, both are chosen together from all that it may show, unless two hands are
found that lie apart.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.body_reader import WRIST
from inference_core.landmarks.crop_squares import HAND_IN_CROP, crops_from_landmarks
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.landmarks.partner_search import (
    ALONE,
    SURE,
    PartnerReading,
    is_told_of,
    read_partner,
    told_by,
)
from inference_core.shared.presence import SEEN
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.detections import ShotDetections
from inference_core.tracking.hand_tracks import HandTracks, record_vouched
from inference_core.tracking.interpolate import interpolated
from inference_core.tracking.mixed_up import NOTHING_SEARCHED, Pictures, Searched, set_right
from inference_core.tracking.pair_search import Pair, certain_pair

# Frames from one question to the next after an answer, or where the partner network is not sure; after the first one
# without, if it is sure of another hand, or of none; after each further one without, twice as many.
_EVERY, _EVERY_SURE, _EVERY_ALONE = 6, 12, 24
# A shot of at most this many frames is searched for pairs in all of them.
_STILL_FRAMES = 2
# Two hands whose middles are this far apart, in sides of their squares, do not touch.
_APART = 1.0
# A chosen reading this near to the known one of its side, in sides of its square, is of the same hand.
_SAME_HAND = 0.1
# The hands of a still have their wrists this near to those of the body, if one is in view (hand sizes): touching hands
# within 0.5.
_AT_ARM = 1.0
# Questions without an answer after which earlier frames are asked no more.
_MISSES = 2


def with_partners(
    tracks: HandTracks,
    detections: ShotDetections,
    pictures: Pictures,
    head: HeadWithLandmarks,
    searched: Mapping[int, Searched] = NOTHING_SEARCHED,
) -> HandTracks:
    """The tracks with hands read beside ones that seem to be alone. detections: what the tracks were made of. pictures:
    the shot's pictures of some frames, RGB (H, W, 3). searched: see `set_right`.
    """
    found = HandTracks(**{name: values.copy() for name, values in vars(tracks).items()})
    if head.partner is None:
        return found
    known = tracks.present == SEEN
    points_px = tracks.landmarks_px[..., :2].astype(np.float64)
    expected = np.isfinite(interpolated(points_px, known)[0]).all((-1, -2))
    pairs: dict[int, Pair] = {}
    for side in (LEFT, RIGHT):
        alone = np.flatnonzero(known[:, side] & ~expected[:, 1 - side])
        answers, others = _answers(alone, points_px[:, side], side, detections, pictures, head)
        for at, answer in answers.items():
            record_partner(found, at, answer)
        pairs |= others
    if len(found.present) > _STILL_FRAMES:
        set_right(found, pairs, pictures, head, searched)
        return found
    for at, image in enumerate(pictures(range(len(found.present)))):
        _choose_pair(found, at, image, detections.arms_px, head)
    return found


def _choose_pair(
    tracks: HandTracks,
    at: int,
    image: NDArray[np.uint8] | None,
    arms_px: NDArray[np.float32],
    head: HeadWithLandmarks,
) -> None:
    """Writes both hands of a frame into the tracks, in place, if one is missing or they may touch, and two are certain.

    arms_px (N, S, 3, 3): of the shot's body, NaN where none is seen.
    """
    known = tracks.present[at] == SEEN
    known_px = tracks.landmarks_px[at, known, :, :2].astype(np.float64)
    if image is None or (known.all() and _apart(known_px)):
        return
    pair = certain_pair(image, head, known_px, np.flatnonzero(known), "picture")
    if pair is None:
        return
    hands = pair.hands
    if _off_arms(hands.points_px[:, 0], HAND_IN_CROP * hands.crops[:, 2], arms_px):
        return
    for side, odds in enumerate(hands.odds):
        points_px, own_px = hands.points_px[side], tracks.landmarks_px[at, side, :, :2].astype(np.float64)
        off_px = np.linalg.norm(points_px - own_px, axis=-1).mean()
        if known[side] and off_px < _SAME_HAND * hands.crops[side, 2]:
            points_px = (points_px + own_px) / 2
        record_vouched(tracks, at, side, points_px, hands.world_m[side], hands.presence[side], odds)


def _apart(hands_px: NDArray[np.float64]) -> bool:
    """Whether two hands (2, 21, 2) do not touch."""
    between_px = np.linalg.norm(np.diff(hands_px.mean(1), axis=0))
    return bool(between_px > _APART * crops_from_landmarks(hands_px)[:, 2].mean())


def _off_arms(
    wrists_px: NDArray[np.float64], size_px: NDArray[np.float64], arms_px: NDArray[np.float32]
) -> bool:
    """Whether a body is in view that has its wrists elsewhere than hands of size_px (S,) have theirs, (S, 2)."""
    off = np.linalg.norm(arms_px[:, :, WRIST, :2] - wrists_px, axis=-1) / size_px
    return bool((off > _AT_ARM).any())


def record_partner(tracks: HandTracks, at: int, hand: PartnerReading) -> None:
    """Writes the hand into the tracks, in place."""
    record_vouched(tracks, at, hand.side, hand.points_px, hand.world_m, hand.presence, hand.odds)


def _answers(
    frames: NDArray[np.int64],
    points_px: NDArray[np.float64],
    side: int,
    detections: ShotDetections,
    pictures: Pictures,
    head: HeadWithLandmarks,
) -> tuple[dict[int, PartnerReading], dict[int, Pair]]:
    """The partners, by frame, of the hand of `side` at points_px (T, 21, 2), if most answers tell of one; and pairs
    that set tracks right.
    """
    good: dict[int, PartnerReading] = {}
    pairs: dict[int, Pair] = {}
    asked, against, unsure = set[int](), set[int](), set[int]()

    def ask(at: int) -> float:
        """Asks in a frame, and returns the partner network's log odds of another hand there."""
        image = next(pictures([at]))
        if image is None:
            return ALONE
        asked.add(at)
        told = told_by(image, points_px[at], side, head)
        there = float(told.there[0])
        sighted_px = detections.points_px[detections.at == at, :, :2].astype(np.float64)
        answer = read_partner(image, points_px[at], side, head, sighted_px, told)
        if answer is None and not good and not against:
            if ALONE < there < SURE:
                unsure.add(at)
            return there
        pair = certain_pair(image, head, points_px[at, None], np.array([side]), "about hands")
        keeps = pair is not None and _keeps(pair, points_px[at], side)
        if pair is not None and pair.sets_right:
            pairs[at] = pair
        if pair is not None and pair.sets_right and not keeps:
            against.add(at)
        elif answer is not None and answer.good and is_told_of(image, answer, head):
            good[at] = answer
        elif pair is not None and keeps:
            good[at] = _partner_of(pair, points_px[at], side)
        elif pair is not None:
            against.add(at)
        return there

    due, longer = 0, 1
    for at in frames.tolist():
        if at < due:
            continue
        there = ask(at)
        if at in good or at in against:
            due, longer = at + _EVERY, 1
        elif at in unsure:
            due = at + _EVERY
        else:
            due, longer = at + longer * (_EVERY_SURE if there >= SURE else _EVERY_ALONE), 2 * longer
    # Where a hand is found after rare questions, it was there before.
    last, misses = -1, 0
    for at in frames[::-1].tolist():
        if last >= 0 and misses < _MISSES and last - at >= _EVERY * (1 + misses) and at not in asked:
            ask(at)
            misses += 1
        if at in good or at in against:
            last, misses = at, 0
    return (good if 2 * len(good) > len(asked - unsure) - len(against) else {}), pairs


def _keeps(pair: Pair, known_px: NDArray[np.float64], side: int) -> bool:
    """Whether the pair's hand of `side` is the known one (21, 2)."""
    off_px = np.linalg.norm(pair.hands.points_px[side] - known_px, axis=-1).mean()
    return bool(off_px < _SAME_HAND * pair.hands.crops[side, 2])


def _partner_of(pair: Pair, known_px: NDArray[np.float64], side: int) -> PartnerReading:
    """The other hand of the pair that holds the known one (21, 2) of `side`."""
    hands, other = pair.hands, 1 - side
    apart = np.linalg.norm(hands.points_px[other] - known_px, axis=-1).mean() / hands.crops[other, 2]
    return PartnerReading(
        points_px=hands.points_px[other],
        world_m=hands.world_m[other],
        crop=hands.crops[other],
        side=other,
        there=float(hands.there[side]),
        odds=float(hands.odds[other]),
        presence=float(hands.presence[other]),
        error=float(hands.error[other]),
        off=0.0,
        apart=float(apart),
    )
