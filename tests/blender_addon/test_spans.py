# SPDX-License-Identifier: GPL-3.0-or-later
"""Doubtful spans of a hand's motion: low confidence, filled frames, and excursions however confident."""

from dataclasses import replace

import numpy as np
import pytest

from blender_addon.scene.spans import Sightings, Verdict, uncertain_spans, verdicts_of
from inference_core.shared import quaternions
from inference_core.shared.presence import ABSENT, FILLED

COUNT = 60


def steady() -> Sightings:
    """A hand that waves at 2 Hz (30 frames a second) by 60 degrees, and moves to and fro by 10 cm."""
    phase = 2 * np.pi * 2 * np.arange(COUNT) / 30
    turns = quaternions.exp(np.sin(phase)[:, None] * [0.3, 1.0, 0.1])
    return Sightings(
        np.full(COUNT, 0.9), np.ones(COUNT, int), 0.5 + 0.05 * np.sin(phase / 2), turns, np.zeros(COUNT, int)
    )


def turned_over(hand: Sightings, rows: slice) -> Sightings:
    turns = hand.turns_wxyz.copy()
    turns[rows] = quaternions.multiply(turns[rows], quaternions.exp(np.array([0.0, 0.0, 2.6])))
    return replace(hand, turns_wxyz=turns)


def leaping(hand: Sightings, rows: slice, by_m: float) -> Sightings:
    distance = hand.distance_m.copy()
    distance[rows] += by_m
    return replace(hand, distance_m=distance)


def test_a_waving_hand_is_not_doubtful() -> None:
    assert uncertain_spans(steady()) == []


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize(
    ("damaged", "verdict"),
    [
        (lambda hand, rows: turned_over(hand, rows), Verdict.FLIP),
        (lambda hand, rows: leaping(hand, rows, 0.12), Verdict.LEAP),
        (lambda hand, rows: leaping(hand, rows, -0.12), Verdict.LEAP),
    ],
)
def test_brief_glitches_are_found_whatever_their_confidence(length, damaged, verdict) -> None:
    hand = damaged(steady(), slice(20, 20 + length))
    (span,) = uncertain_spans(hand)
    assert (span.first, span.last, span.verdict) == (20, 19 + length, verdict)
    assert [found for found in verdicts_of(hand) if found is not Verdict.GOOD] == [verdict] * length


def test_a_lasting_rotation_is_not_a_glitch() -> None:
    assert uncertain_spans(turned_over(steady(), slice(20, COUNT))) == []


def test_motion_beyond_an_absence_does_not_make_a_glitch() -> None:
    hand = leaping(steady(), slice(20, 21), 0.2)
    present = hand.present.copy()
    present[19] = ABSENT
    assert uncertain_spans(replace(hand, present=present)) == []


def test_the_worst_frame_of_a_span_is_its_least_confident_one() -> None:
    confidence = np.full(COUNT, 0.9)
    confidence[10:30] = 0.45
    confidence[26] = 0.09
    (span,) = uncertain_spans(replace(steady(), confidence=confidence))
    assert (span.first, span.last, span.worst, span.verdict) == (10, 29, 26, Verdict.BAD)


def test_a_glitch_is_the_worst_frame_of_its_span() -> None:
    confidence = np.full(COUNT, 0.9)
    confidence[10:30] = 0.3
    (span,) = uncertain_spans(turned_over(replace(steady(), confidence=confidence), slice(14, 15)))
    assert (span.worst, span.verdict) == (14, Verdict.FLIP)


def test_the_middle_of_equally_bad_frames_is_the_worst() -> None:
    present, confidence = np.ones(COUNT, int), np.full(COUNT, 0.9)
    present[10:21], confidence[10:21] = FILLED, 0.2
    (span,) = uncertain_spans(replace(steady(), present=present, confidence=confidence))
    assert (span.worst, span.verdict) == (15, Verdict.FILLED)


def test_nearby_spans_are_joined_and_sorted_worst_first() -> None:
    confidence = np.full(COUNT, 0.9)
    confidence[[3, 4, 5, 8]], confidence[30] = 0.4, 0.1
    found = uncertain_spans(replace(steady(), confidence=confidence))
    assert [(span.first, span.last) for span in found] == [(30, 30), (3, 8)]


def test_a_hand_does_not_leap_or_turn_over_where_the_footage_is_cut() -> None:
    """Two frames of another scene, which a cut begins and another ends."""
    hand = leaping(turned_over(steady(), slice(20, 22)), slice(20, 22), 0.12)
    cut = replace(hand, piece=np.searchsorted([20, 22], np.arange(COUNT), side="right"))
    assert uncertain_spans(hand) and not uncertain_spans(cut)
