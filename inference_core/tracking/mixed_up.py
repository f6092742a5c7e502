# SPDX-License-Identifier: GPL-3.0-or-later
"""Both tracks on the same hand, or a track that went over to the other hand.

Where hands lie on one another, following a hand may end on the other one; and the hand that is sought beside a track on
the wrong hand is that hand again. So where both tracks almost coincide, both hands are chosen together in a few frames,
as in stills. If most of these choices put a hand elsewhere than its track, the tracks are set right there, and what
lies between on the wrong hand goes over to that hand's track, or is dropped: recovery finds the hands again from the
frames set right.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.shared.presence import SEEN
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.hand_tracks import HandTracks, forget_hand, record_hand, record_vouched
from inference_core.tracking.interpolate import MAX_GAP_FRAMES, interpolated
from inference_core.tracking.pair_search import Pair, certain_pair

# Hands nearer than this, by the mean distance of their landmarks in sides of their squares, may be one.
_NEAR = 0.27
# Frames from one choice to the next where hands may be one; from one that puts a hand elsewhere on, to how far.
_EVERY, _EVERY_WRONG, _REACH = 12, 4, 12
# So many choices that follow one another put a hand elsewhere where tracks are on the wrong hand.
_LEAST = 3

Floats = NDArray[np.float64]
Picture = Callable[[int], NDArray[np.uint8] | None]


def set_right(
    tracks: HandTracks, against: dict[int, Pair], picture: Picture, head: HeadWithLandmarks
) -> None:
    """Sets right, in place, tracks that are on the same hand or on each other's.

    against: certain pairs, by frame, that put a hand elsewhere than its track, if some are known. picture: the shot's
    n-th one, RGB (H, W, 3). head: with a partner network.
    """
    points_px = tracks.landmarks_px[..., :2].astype(np.float64)
    seen = tracks.present == SEEN
    expected_px = interpolated(points_px, seen)[0]
    near = _near(expected_px)
    pairs, asked, wrong = dict(against), set[int](), list[int]()

    def choose(at: int) -> bool:
        """Whether a pair is certain in a frame."""
        if at not in asked:
            asked.add(at)
            pair = pairs.get(at) or _choice(picture(at), expected_px[at], head)
            if pair is not None:
                pairs[at] = pair
                if (_on_other(points_px[at], pair.hands.points_px) & seen[at]).any():
                    wrong.append(at)
        return at in pairs

    for at in (*against, *_spaced(np.flatnonzero(near & seen.all(1)))):
        choose(at)
    # These become more on the way.
    for at in wrong:
        for way in (-1, 1):
            further = at + way * np.arange(_EVERY_WRONG, _REACH + 1, _EVERY_WRONG)
            further = further[(further >= 0) & (further < len(near))]
            any(choose(next_at) for next_at in further[near[further]].tolist())
    for run in _runs(sorted(pairs)):
        chosen = _of_one_order({at: pairs[at] for at in run})
        if len(set(chosen) & set(wrong)) >= _LEAST:
            _follow(tracks, chosen)


def _near(expected_px: Floats) -> NDArray[np.bool_]:
    """(T,) whether both hands are expected, so near that they may be one."""
    near = np.isfinite(expected_px).all((1, 2, 3))
    hands_px = expected_px[near]
    if len(hands_px):
        size_px = np.sqrt(crops_from_landmarks(hands_px.reshape(-1, 21, 2))[:, 2].reshape(-1, 2).prod(1))
        near[near] = _apart_px(hands_px[:, LEFT], hands_px[:, RIGHT]) < _NEAR * size_px
    return near


def _spaced(frames: NDArray[np.int64]) -> list[int]:
    """Some of these frames, at least _EVERY apart."""
    some: list[int] = []
    for at in frames.tolist():
        if not some or at - some[-1] >= _EVERY:
            some.append(at)
    return some


def _runs(frames: list[int]) -> list[list[int]]:
    """The frames, parted where hands cannot be followed from one to the next."""
    parts = np.split(np.array(frames), 1 + np.flatnonzero(np.diff(frames) > MAX_GAP_FRAMES))
    return [part.tolist() for part in parts if len(part)]


def _choice(image: NDArray[np.uint8] | None, known_px: Floats, head: HeadWithLandmarks) -> Pair | None:
    """The pair about two hands (S, 21, 2), if it is certain."""
    return None if image is None else certain_pair(image, head, known_px, np.array([LEFT, RIGHT]), "hands")


def _on_other(points_px: Floats, hands_px: Floats) -> NDArray[np.bool_]:
    """(S,) which of the tracks' hands, at points_px (S, 21, 2), are nearer to the other one of hands_px (S, 21, 2) than
    to their own.
    """
    return _apart_px(points_px, hands_px[::-1]) < _apart_px(points_px, hands_px)


def _of_one_order(pairs: dict[int, Pair]) -> dict[int, Pair]:
    """Those of the pairs, by frame, whose hands move on to hands of the same side, as most and the surest do: a pair
    exchanged as a whole looks as good as the right one.
    """
    frames = sorted(pairs)
    order, sure = [1], [_sides_sure(pairs[frames[0]])]
    for before, at in pairwise(frames):
        earlier_px, later_px = pairs[before].hands.points_px, pairs[at].hands.points_px
        crossed = _apart_px(earlier_px, later_px[::-1]).sum() < _apart_px(earlier_px, later_px).sum()
        order.append(-order[-1] if crossed else order[-1])
        sure.append(_sides_sure(pairs[at]))
    usual = 1 if np.dot(order, sure) >= 0 else -1
    return {at: pairs[at] for at, way in zip(frames, order, strict=True) if way == usual}


def _sides_sure(pair: Pair) -> float:
    """Nats for the sides of its hands."""
    return 1.0 + float(pair.hands.odds.clip(0, 3).sum())


def _follow(tracks: HandTracks, pairs: dict[int, Pair]) -> None:
    """Writes the pairs into the tracks, and sorts the readings about them by which hand they are on."""
    at_px = np.full((len(tracks.present), 2, 21, 2), np.nan)
    for at, pair in pairs.items():
        at_px[at] = pair.hands.points_px
    there_px = interpolated(at_px, np.isfinite(at_px).all((-1, -2)))[0]
    for at in np.flatnonzero(np.isfinite(there_px).all((1, 2, 3))).tolist():
        if at not in pairs:
            _sort(tracks, at, there_px[at])
    for at, pair in pairs.items():
        hands, points_px = pair.hands, tracks.landmarks_px[at, ..., :2].astype(np.float64)
        written = (tracks.present[at] != SEEN) | _on_other(points_px, hands.points_px)
        for side in np.flatnonzero(written).tolist():
            record_vouched(
                tracks,
                at,
                side,
                hands.points_px[side],
                hands.world_m[side],
                float(hands.presence[side]),
                float(hands.odds[side]),
            )


def _sort(tracks: HandTracks, at: int, there_px: Floats) -> None:
    """Moves readings to the side whose hand they are on, unless that has its own; there_px (S, 21, 2): the hands."""
    seen, landmarks_px = tracks.present[at] == SEEN, tracks.landmarks_px[at].copy()
    world_m, side_score = tracks.world_m[at].copy(), tracks.side_score[at].copy()
    wrong = seen & _on_other(landmarks_px[..., :2].astype(np.float64), there_px)
    for side in np.flatnonzero(wrong | ~seen).tolist():
        other = 1 - side
        if wrong[other]:
            points_px, score = landmarks_px[other, :, :2], float(landmarks_px[other, 0, 2])
            record_hand(tracks, at, side, points_px, world_m[other], score, 1 - side_score[other])
        else:
            forget_hand(tracks, at, side)


def _apart_px(one_px: Floats, other_px: Floats) -> Floats:
    """Mean distance of landmarks (..., 21, 2)."""
    return np.linalg.norm(one_px - other_px, axis=-1).mean(-1)
