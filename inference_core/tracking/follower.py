# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands followed from frame to frame through the images in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.hand_reader import HandReadings, read_hands
from inference_core.landmarks.networks import LandmarkNetworks
from inference_core.tracking.settings import DetectionSettings
from inference_core.tracking.tracklets import Sighting, Tracklets

Image = NDArray[np.uint8]
_FORWARDS, _BACKWARDS = 1, -1
_STILL = np.zeros(2)
# A hand whose apparent size (logarithm) or rotation (radians) changes this much between frames needs at least
# this presence to be accepted; smaller changes need less.
_FULL_GROWTH, _FULL_TURN, _FULL_PRESENCE = 0.45, 1.0, 0.85


@dataclass(frozen=True)
class Front:
    """The end of a tracklet that is being followed: from frame `at`, look in `crop` next.

    motion_px (2,): how far the hand moved in the last step.
    """

    tracklet: int
    at: int
    crop: NDArray[np.float64]
    motion_px: NDArray[np.float64]


class Follower:
    """Reads hands in the images held and extends the tracklets with what it reads.

    images: those held at the moment, by the frame's place in the shot; None where a frame has no picture.
    """

    def __init__(
        self,
        networks: LandmarkNetworks,
        settings: DetectionSettings,
        tracklets: Tracklets,
        images: Mapping[int, Image | None],
    ) -> None:
        self._images = images
        self._networks = networks
        self._settings = settings
        self._tracklets = tracklets

    def both_ways(self, fresh: Sequence[Front], waiting: Sequence[Front] = ()) -> None:
        """Follow tracklets that wait at an earlier frame and fresh ones forwards, then back from where the
        fresh ones begin.
        """
        self._follow([*waiting, *fresh], _FORWARDS)
        self._follow(self._loose_starts(fresh), _BACKWARDS)

    def started(self, sightings: Sequence[Sighting]) -> list[Front]:
        """New tracklets from sightings of hands not known in their frame."""
        fronts: list[Front] = []
        for sighting in sightings:
            if self._is_hand(sighting) and self._tracklets.same_hand(sighting) is None:
                fronts.append(Front(self._tracklets.start(sighting), sighting.at, sighting.next_crop, _STILL))
        return fronts

    def ends(self) -> list[Front]:
        """Tracklets that reach the window's last frame, to be followed further when more frames come."""
        last = max((at for at, image in self._images.items() if image is not None), default=-1)
        return [
            Front(tracklet, last, sighting.next_crop, _STILL)
            for tracklet, sighting in self._tracklets.last_of(last)
        ]

    def read(self, frames: Sequence[int], crops: Sequence[NDArray[np.float64]]) -> list[Sighting]:
        """A reading for each crop (4,) of a frame."""
        if not frames:
            return []
        images = [image for at in frames if (image := self._images[at]) is not None]
        return sightings_of(frames, read_hands(images, np.stack(crops), self._networks))

    def _follow(self, fronts: Sequence[Front], step: int) -> None:
        """Follow tracklets frame by frame, all together, until each meets another,
        loses its hand or leaves the window.
        """
        while fronts:
            moved = [place for front in fronts if (place := self._next_place(front, step)) is not None]
            readings = self._read_fronts(moved)
            # If two tracklets reach the same hand, the one that moved less has the better claim.
            order = np.argsort([_shift(sighting) for sighting in readings], kind="stable")
            fronts = [
                Front(
                    moved[n].tracklet, moved[n].at, readings[n].next_crop, _motion_px(moved[n], readings[n])
                )
                for n in order
                if self._accept(moved[n], readings[n])
            ]

    def _next_place(self, front: Front, step: int) -> Front | None:
        """The front moved to the next frame that has an image; None at the window's border."""
        at = front.at + step
        while at in self._images:
            if self._images[at] is not None:
                return replace(front, at=at)
            at += step
        return None

    def _accept(self, front: Front, sighting: Sighting) -> bool:
        """Add a reading to its tracklet, or merge tracklets where it meets another; True
        if it is to be followed further.
        """
        if not self._goes_on(front, sighting):
            return False
        other = self._tracklets.same_hand(sighting)
        if other is not None:
            self._tracklets.join(front.tracklet, other)
            return False
        self._tracklets.add(front.tracklet, sighting)
        return True

    def _is_hand(self, sighting: Sighting) -> bool:
        return sighting.presence >= self._settings.min_presence

    def _goes_on(self, front: Front, sighting: Sighting) -> bool:
        """Whether a reading is of the front's hand: the more the hand seems to change,
        the higher its presence must be.
        """
        grown = abs(float(np.log(sighting.next_crop[2] / front.crop[2])))
        turned = abs((sighting.next_crop[3] - front.crop[3] + np.pi) % (2 * np.pi) - np.pi)
        change = min(1.0, grown / _FULL_GROWTH + turned / _FULL_TURN)
        least = self._settings.min_presence
        return sighting.presence >= least + change * max(0.0, _FULL_PRESENCE - least)

    def _loose_starts(self, fronts: Sequence[Front]) -> list[Front]:
        """Where to follow backwards: the starts of tracklets begun at these fronts that continue no earlier one."""
        loose: list[Front] = []
        for front in fronts:
            if self._tracklets.first_frame(front.tracklet) == front.at:
                sighting = self._tracklets.sighting(front.tracklet, front.at)
                loose.append(Front(front.tracklet, front.at, sighting.next_crop, _STILL))
        return loose

    def _read_fronts(self, fronts: Sequence[Front]) -> list[Sighting]:
        """A reading for each front. Lost hands are sought where their motion leads, in a larger crop.

        Readings whose crop was off centre are repeated in a centred one.
        """
        readings = self.read([front.at for front in fronts], [front.crop for front in fronts])
        lost = [n for n, sighting in enumerate(readings) if not self._is_hand(sighting)]
        ahead = [_ahead(fronts[n], self._settings.widen_lost) for n in lost]
        self._replace(readings, lost, self.read([fronts[n].at for n in lost], ahead))
        poor = [n for n, sighting in enumerate(readings) if self._fits_poorly(sighting)]
        fitting = [readings[n].next_crop for n in poor]
        self._replace(readings, poor, self.read([fronts[n].at for n in poor], fitting))
        return readings

    def _replace(self, readings: list[Sighting], places: Sequence[int], others: Sequence[Sighting]) -> None:
        for place, other in zip(places, others, strict=True):
            if other.presence >= readings[place].presence:
                readings[place] = other

    def _fits_poorly(self, sighting: Sighting) -> bool:
        return self._is_hand(sighting) and _shift(sighting) > self._settings.reread_shift


def sightings_of(frames: Sequence[int], readings: HandReadings) -> list[Sighting]:
    """The readings as sightings, one for each of the frames."""
    return [
        Sighting(
            at,
            readings.points_px[n].astype(np.float32),
            readings.world_m[n].astype(np.float32),
            float(readings.presence[n]),
            float(readings.right[n]),
            readings.crops[n],
            readings.next_crops[n],
        )
        for n, at in enumerate(frames)
    ]


def _shift(sighting: Sighting) -> float:
    """How far the hand is from the expected place, as a share of the crop's side."""
    return float(np.linalg.norm(sighting.next_crop[:2] - sighting.crop[:2]) / sighting.crop[2])


def _motion_px(front: Front, sighting: Sighting) -> NDArray[np.float64]:
    """How far the hand moved (2,) from where `front` expected it."""
    return sighting.next_crop[:2] - front.crop[:2]


def _ahead(front: Front, widen: float) -> NDArray[np.float64]:
    """A wider crop (4,) where the front's motion leads."""
    return np.concatenate((front.crop[:2] + front.motion_px, front.crop[2:3] * widen, front.crop[3:]))
