# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose hands they are, where more than two are in view at once.

A hand is that of the body whose wrist it is at, or of somebody whose body is not found. Whoever's hands are the largest
and in view for longest is the subject; the hands of others are left out.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.body_reader import SHOULDER, WRIST
from inference_core.tracking.arms import arms_between
from inference_core.tracking.bodies import with_true_bodies
from inference_core.tracking.detections import ShotDetections, of_rows
from inference_core.tracking.segments import Segment, cut_segments

# Others are in view if there are more than two hands in so many of so many frames.
_OTHERS_FRAMES, _OF_FRAMES = 10, 24
# A body whose shoulders are less than their distance from those of an earlier one is the same person's.
_SAME_BODY = 1.0
# A hand this far from the wrists of a body is not this person's: in sizes of the hand, or of one that fits the
# shoulders, as shares of their distance.
_REACH, _LARGEST_HAND = 3.0, 0.8
_WRIST_POINT = 0
_NOBODY, _UNKNOWN = -1, -2


def with_one_person(detections: ShotDetections) -> tuple[ShotDetections, bool]:
    """The detections without the hands and bodies of other people, and whether there are any."""
    # Cutting segments leaves hands out, so that most shots need no cutting here.
    if not _are_many(detections.at):
        return detections, False
    segments = cut_segments(detections)
    if not segments or not _are_many(np.concatenate([one.at for one in segments])):
        return detections, False
    found = with_true_bodies(detections, detections.hand_sizes_px)
    persons = _persons(found.arms_px)
    of_segment = _of_bodies(segments, found, persons)
    seen = sorted(set(of_segment) - {_UNKNOWN})
    if len(seen) < 2:
        return detections, True
    subject = max(seen, key=lambda person: _worth(segments, of_segment, person))
    others = [
        one.rows
        for one, person in zip(segments, of_segment, strict=True)
        if person not in (subject, _UNKNOWN)
    ]
    return _without(found, np.concatenate(others), (persons != subject) & (persons != _NOBODY)), True


def _are_many(at: NDArray[np.int64]) -> bool:
    """Whether more than two hands, seen in frames at (N,), are in view at once for long enough."""
    many = np.bincount(at, minlength=1) > 2
    return bool(np.convolve(many, np.ones(_OF_FRAMES)).max() >= _OTHERS_FRAMES)


def _persons(arms_px: NDArray[np.float32]) -> NDArray[np.int64]:
    """(T,) the person whose arms are in each row; -1 where there are none."""
    persons, known = np.full(len(arms_px), _NOBODY), list[NDArray[np.float32]]()
    for at in np.flatnonzero(np.isfinite(arms_px).all((-1, -2, -3))).tolist():
        away = [_bodies_apart(arms_px[at], other) for other in known]
        own = int(np.argmin(away)) if away and min(away) < _SAME_BODY else len(known)
        known[own : own + 1] = [arms_px[at]]
        persons[at] = own
    return persons


def is_same_body(arms: NDArray[np.floating], other: NDArray[np.floating]) -> bool:
    """Whether arms (S, 3, ...) of x, y in pixels, found within a second or so, are one person's."""
    return _bodies_apart(arms, other) < _SAME_BODY


def _bodies_apart(arms: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """The distance of two bodies' shoulders, as a share of that between the wider ones."""
    shoulders = [one[:, SHOULDER, :2].astype(np.float64) for one in (arms, other)]
    widths = [float(np.linalg.norm(one[0] - one[1])) for one in shoulders]
    return float(np.linalg.norm(shoulders[0].mean(0) - shoulders[1].mean(0)) / max(*widths, 1e-9))


def _of_bodies(segments: list[Segment], detections: ShotDetections, persons: NDArray[np.int64]) -> list[int]:
    """The person of each segment; -1 for nobody whose body is found, -2 where no body is found nearby in time."""
    apart = np.full((persons.max(initial=_NOBODY) + 1, len(detections.at)), np.nan)
    own_px, size_px = detections.points_px[:, _WRIST_POINT, :2].astype(np.float64), detections.hand_sizes_px
    for person in range(len(apart)):
        arms_px = np.where((persons == person)[:, None, None, None], detections.arms_px, np.float32(np.nan))
        drawn_px = arms_between(detections, arms_px)[detections.at, ..., :2]
        across_px = np.linalg.norm(drawn_px[:, 0, SHOULDER] - drawn_px[:, 1, SHOULDER], axis=-1)
        apart[person] = np.linalg.norm(drawn_px[:, :, WRIST] - own_px[:, None], axis=-1).min(-1)
        apart[person] /= np.minimum(size_px, _LARGEST_HAND * across_px)
    return [_nearest(apart[:, one.rows]) for one in segments]


def _nearest(apart: NDArray[np.float64]) -> int:
    """The person nearest to a segment, by the distances (P, n) in its frames; NaN where a body is not known."""
    known = {person: row[np.isfinite(row)] for person, row in enumerate(apart)}
    usual = {person: float(np.median(row)) for person, row in known.items() if len(row)}
    if not usual:
        return _UNKNOWN
    nearest = min(usual, key=lambda person: usual[person])
    return nearest if usual[nearest] < _REACH else _NOBODY


def _worth(segments: list[Segment], of_segment: list[int], person: int) -> float:
    """How large and how long in view two hands of a person are."""
    own = [one for one, other in zip(segments, of_segment, strict=True) if other == person]
    at, size_px = (np.concatenate([getattr(one, name) for one in own]) for name in ("at", "size_px"))
    order = np.lexsort((-size_px, at))
    at, size_px = at[order], size_px[order]
    place = np.arange(len(at)) - np.searchsorted(at, at)
    return float((size_px[place < 2] ** 2).sum())


def _without(
    detections: ShotDetections, rows: NDArray[np.int64], frames: NDArray[np.bool_]
) -> ShotDetections:
    """The detections without these rows, and without the arms in these frames (T,)."""
    kept = np.ones(len(detections.at), bool)
    kept[rows] = False
    of_others = frames[:, None, None, None]
    return replace(
        of_rows(detections, kept),
        arms_px=np.where(of_others, np.float32(np.nan), detections.arms_px),
        arms_m=np.where(of_others, np.float32(np.nan), detections.arms_m),
    )
