# SPDX-License-Identifier: GPL-3.0-or-later
"""Tracks that are on the other hand, or between the two.

Where hands lie on one another, following a hand may end on the other one, or on a mixture of both; and the hand that is
sought beside such a track is that hand again. So both hands are chosen together in a few frames, as in stills. If
certain pairs, or less certain ones in which hands stay where they are, put a hand elsewhere than its track, the tracks
are set right there, and between them: what is read on the other hand goes over to that hand's track, or is dropped;
what is read elsewhere than the pairs lead to is read again, there too, and the likelier reading stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.shared.presence import SEEN
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.hand_tracks import HandTracks, forget_hand, record_hand, record_vouched
from inference_core.tracking.interpolate import MAX_GAP_FRAMES, interpolated
from inference_core.tracking.pair_choice import Candidates
from inference_core.tracking.pair_search import Pair, likeliest_pair, read_as, search

# Hands nearer than this, by the mean distance of their landmarks in sides of their squares, may be mixed up.
_NEAR = 0.5
# Frames from one choice to the next where hands may be mixed up, twice as many after each that puts no hand elsewhere,
# up to the second number; from one that does on, to how far.
_EVERY, _RAREST, _EVERY_WRONG, _REACH = 12, 48, 4, 12
_SIDES = np.array([LEFT, RIGHT])
# Readings nearer than the first, in sides of their squares, agree; those farther apart than the second are of different
# hands, or one is no hand.
_AGREE, _ELSEWHERE = 0.06, 0.08
# So many choices in a run put a hand elsewhere where tracks are wrong.
_LEAST = 3
# Choices as likely as this (log odds) count too if they put the same hand elsewhere while both move less than this from
# one to the next, in sides of their squares: wrong ones jump.
_LIKELY, _STEADY = 2.0, 0.08

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]
Pictures = Callable[[Sequence[int]], Iterator[Image | None]]


@dataclass(frozen=True)
class Searched:
    """What `search_near` read about a left and a right hand at hands_px (2, 21, 2)."""

    hands_px: Floats
    read: Candidates | None


NOTHING_SEARCHED: Mapping[int, Searched] = {}


def search_near(image: Image, head: HeadWithLandmarks, hands_px: Floats) -> Searched:
    """Searches an RGB image (H, W, 3) about a left and a right hand (2, 21, 2). head: with a partner network."""
    return Searched(hands_px, search(image, head, hands_px, "hands"))


class Turns:
    """In which frames, of rising ones in which hands are near one another, both are chosen together."""

    def __init__(self) -> None:
        self._next, self._wait = 0, _EVERY

    def come(self, at: int) -> bool:
        """Whether it is this frame's turn."""
        return at >= self._next

    def chosen(self, at: int, elsewhere: bool = False) -> None:
        """A choice was made in the frame; elsewhere: it puts a hand elsewhere than its track."""
        wait = _EVERY if elsewhere else self._wait
        self._next, self._wait = at + wait, min(2 * wait, _RAREST)


def set_right(
    tracks: HandTracks,
    known: dict[int, Pair],
    pictures: Pictures,
    head: HeadWithLandmarks,
    searched: Mapping[int, Searched],
) -> None:
    """Sets right, in place, tracks that are on the same hand, on each other's, or between them.

    known: pairs that do so, by frame, as far as they are known. pictures: the shot's pictures of some frames, RGB
    (H, W, 3). head: with a partner network. searched: what was read in some frames already.
    """
    choices = _Choices(tracks, known, pictures, head, searched)
    turns = Turns()
    for at in np.flatnonzero(choices.near & choices.seen.all(1)).tolist():
        if turns.come(at):
            turns.chosen(at, elsewhere=choices.choose(at))
    choices.follow_wrong()
    choices.add_steady()
    for run in _runs(sorted(choices.pairs)):
        chosen = _of_one_order({at: choices.pairs[at] for at in run})
        if len(choices.wrong.intersection(chosen)) >= _LEAST:
            _follow(tracks, chosen, pictures, head)


class _Choices:
    """The pairs chosen in some of a shot's frames. The arguments as in `set_right`.

    near, seen (T,), (T, S) bool: hands that may be mixed up; hands that the tracks see. pairs: believed rather than the
    tracks. wrong: the frames in which these put a hand elsewhere.
    """

    def __init__(
        self,
        tracks: HandTracks,
        known: dict[int, Pair],
        pictures: Pictures,
        head: HeadWithLandmarks,
        searched: Mapping[int, Searched],
    ) -> None:
        self._points_px = tracks.landmarks_px[..., :2].astype(np.float64)
        self._pictures, self._head, self._searched = pictures, head, searched
        self.seen = tracks.present == SEEN
        self._expected_px = interpolated(self._points_px, self.seen)[0]
        self.near = np.isfinite(self._expected_px).all((1, 2, 3))
        self.near[self.near] = are_near(self._expected_px[self.near])
        self.pairs, self.wrong = dict(known), set[int]()
        self._asked, self._unsure = set(known), dict[int, Pair]()
        for at in known:
            self.choose(at)

    def choose(self, at: int) -> bool:
        """Whether a certain pair puts a hand elsewhere in a frame."""
        if at not in self._asked:
            self._asked.add(at)
            pair = self._likeliest(at)
            if pair is not None and pair.sets_right:
                self.pairs[at] = pair
            elif pair is not None and pair.odds > _LIKELY:
                self._unsure[at] = pair
        if at in self.pairs and self._elsewhere(at).any():
            self.wrong.add(at)
        return at in self.wrong

    def follow_wrong(self) -> None:
        """Choose further about the wrong frames, which become more on the way."""
        waiting = sorted(self.wrong)
        for at in waiting:
            for way in (-1, 1):
                for further in range(_EVERY_WRONG, _REACH + 1, _EVERY_WRONG):
                    next_at = at + way * further
                    if self._is_near(next_at) and self.choose(next_at):
                        if next_at not in waiting:
                            waiting.append(next_at)
                        break

    def add_steady(self) -> None:
        """Believe unsure pairs as well that put the same hand elsewhere, steadily."""
        for at in sorted(self._unsure):
            if at in self._unsure and self._elsewhere(at).any() and len(run := self._steady(at)) >= _LEAST:
                self.pairs |= {each: self._unsure.pop(each) for each in run if each in self._unsure}
                self.wrong.update(run)

    def _steady(self, at: int) -> list[int]:
        """The frames about one in which hands stay and the same one is put elsewhere."""
        run, hands = [at], self._elsewhere(at)
        for way in (-1, 1):
            last, following = at, at + way * _EVERY_WRONG
            while self._is_near(following):
                self.choose(following)
                chosen = self._chosen(following)
                if chosen is None or not _is_steady(self._chosen(last), chosen):
                    break
                if not (self._elsewhere(following) & hands).any():
                    break
                run.append(following)
                last, following = following, following + way * _EVERY_WRONG
        return run

    def _chosen(self, at: int) -> Pair | None:
        return self.pairs.get(at) or self._unsure.get(at)

    def _elsewhere(self, at: int) -> NDArray[np.bool_]:
        """(S,) which hands of the frame's pair are elsewhere than the tracks'."""
        pair = self._chosen(at)
        assert pair is not None
        return _is_elsewhere(self._points_px[at], pair) & self.seen[at]

    def _is_near(self, at: int) -> bool:
        return 0 <= at < len(self.near) and bool(self.near[at])

    def _likeliest(self, at: int) -> Pair | None:
        expected_px, about = self._expected_px[at], self._searched.get(at)
        if about is None or not np.array_equal(about.hands_px, expected_px):
            image = next(self._pictures([at]))
            if image is None:
                return None
            about = search_near(image, self._head, expected_px)
        return likeliest_pair(about.read, about.hands_px, _SIDES)


def _is_steady(before: Pair | None, after: Pair) -> bool:
    """Whether neither hand moves from one pair to the other."""
    if before is None:
        return False
    moved_px = _apart_px(before.hands.points_px, after.hands.points_px)
    return bool((moved_px < _STEADY * after.hands.crops[:, 2]).all())


def are_near(hands_px: Floats) -> NDArray[np.bool_]:
    """(N,) whether two hands (N, 2, 21, 2) are so near that they may be mixed up."""
    size_px = np.sqrt(crops_from_landmarks(hands_px.reshape(-1, 21, 2))[:, 2].reshape(-1, 2).prod(1))
    return _apart_px(hands_px[:, LEFT], hands_px[:, RIGHT]) < _NEAR * size_px


def _runs(frames: list[int]) -> list[list[int]]:
    """The frames, parted where hands cannot be followed from one to the next."""
    parts = np.split(np.array(frames), 1 + np.flatnonzero(np.diff(frames) > MAX_GAP_FRAMES))
    return [part.tolist() for part in parts if len(part)]


def _is_elsewhere(points_px: Floats, pair: Pair) -> NDArray[np.bool_]:
    """(S,) which of the pair's hands are elsewhere than the tracks' at points_px (S, 21, 2)."""
    hands_px = pair.hands.points_px
    return ~_agrees(points_px, hands_px, _ELSEWHERE) | _on_other(points_px, hands_px)


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


def _follow(tracks: HandTracks, pairs: dict[int, Pair], pictures: Pictures, head: HeadWithLandmarks) -> None:
    """Writes the pairs into the tracks, and sets right the readings about them."""
    at_px = np.full((len(tracks.present), 2, 21, 2), np.nan)
    for at, pair in pairs.items():
        at_px[at] = pair.hands.points_px
    there_px = interpolated(at_px, np.isfinite(at_px).all((-1, -2)))[0]
    reached = np.flatnonzero(np.isfinite(there_px).all((1, 2, 3))).tolist()
    for at in reached:
        if at not in pairs:
            _sort(tracks, at, there_px[at])
    for at, pair in pairs.items():
        missing = np.flatnonzero(tracks.present[at] != SEEN)
        for side in (*missing, *_off(tracks, at, pair.hands.points_px)):
            _record(tracks, at, pair.hands, int(side), int(side))
    between = [at for at in reached if at not in pairs]
    off = [at for at in between if len(_off(tracks, at, there_px[at]))]
    for at, image in zip(off, pictures(off), strict=True):
        if image is not None:
            _read_again(tracks, at, there_px[at], image, head)


def _sort(tracks: HandTracks, at: int, there_px: Floats) -> None:
    """Moves readings to the side whose hand they are on, unless that has its own, and drops those between the hands;
    there_px (S, 21, 2): the hands.
    """
    seen, landmarks_px = tracks.present[at] == SEEN, tracks.landmarks_px[at].copy()
    world_m, side_score = tracks.world_m[at].copy(), tracks.side_score[at].copy()
    points_px = landmarks_px[..., :2].astype(np.float64)
    wrong, on_other = seen & _on_other(points_px, there_px), _agrees(points_px, there_px[::-1], _ELSEWHERE)
    for side in np.flatnonzero(wrong | ~seen).tolist():
        other = 1 - side
        if wrong[other] and on_other[other]:
            score = float(landmarks_px[other, 0, 2])
            record_hand(tracks, at, side, points_px[other], world_m[other], score, 1 - side_score[other])
        else:
            forget_hand(tracks, at, side)


def _agrees(points_px: Floats, there_px: Floats, within: float) -> NDArray[np.bool_]:
    """(S,) which hands at points_px (S, 21, 2) are at there_px (S, 21, 2), within that part of their squares' sides."""
    return _apart_px(points_px, there_px) < within * crops_from_landmarks(there_px)[:, 2]


def _off(tracks: HandTracks, at: int, there_px: Floats) -> NDArray[np.int64]:
    """The hands that are read elsewhere than at there_px (S, 21, 2)."""
    points_px = tracks.landmarks_px[at, ..., :2].astype(np.float64)
    return np.flatnonzero((tracks.present[at] == SEEN) & ~_agrees(points_px, there_px, _AGREE))


def _read_again(tracks: HandTracks, at: int, there_px: Floats, image: Image, head: HeadWithLandmarks) -> None:
    """Reads hands off there_px (S, 21, 2) again, about themselves and there, and keeps the likelier reading."""
    sides = _off(tracks, at, there_px)
    own_px = tracks.landmarks_px[at, sides, :, :2].astype(np.float64)
    crops = crops_from_landmarks(np.concatenate([own_px, there_px[sides]]))
    read = read_as(image, crops, np.tile(sides, 2), head)
    rows = read.own_costs.reshape(2, -1).argmin(0) * len(sides) + np.arange(len(sides))
    for row, side in zip(rows.tolist(), sides.tolist(), strict=True):
        other_px = tracks.landmarks_px[at, 1 - side, :, :2].astype(np.float64)
        if not _agrees(other_px[None], read.points_px[[row]], _AGREE)[0]:
            _record(tracks, at, read, row, side)


def _record(tracks: HandTracks, at: int, read: Candidates, row: int, side: int) -> None:
    """Writes a reading into the tracks, in place."""
    record_vouched(
        tracks,
        at,
        side,
        read.points_px[row],
        read.world_m[row],
        float(read.presence[row]),
        float(read.odds[row]),
    )


def _apart_px(one_px: Floats, other_px: Floats) -> Floats:
    """Mean distance of landmarks (..., 21, 2)."""
    return np.linalg.norm(one_px - other_px, axis=-1).mean(-1)
