# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands followed from frame to frame through the images in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.hand_reader import HandReadings, read_hands
from inference_core.landmarks.networks import LandmarkNetworks
from inference_core.tracking.settings import DetectionSettings
from inference_core.tracking.strides import between, blended, crop_ahead, is_sure, unsteadiness
from inference_core.tracking.tracklets import Sighting, Tracklets, is_same_hand

Image = NDArray[np.uint8]
_FORWARDS, _BACKWARDS = 1, -1
_STILL = np.zeros(2)
# A hand whose apparent size (logarithm) or rotation (radians) changes this much between frames needs at least
# this presence to be accepted; smaller changes need less.
_FULL_GROWTH, _FULL_TURN, _FULL_PRESENCE = 0.45, 1.0, 0.85
# Hands whose crops are nearer than this (of the crop's side) are read in every frame.
_NEAR = 0.42


@dataclass(frozen=True)
class Front:
    """The end of a tracklet that is being followed: from frame `at`, look in `crop` next.

    motion_px (2,): how far the hand moved in the last frame. most: frames that may be followed at once. across: the
    sightings from which it is followed across several frames, the last one and one before it.
    """

    tracklet: int
    at: int
    crop: NDArray[np.float64]
    motion_px: NDArray[np.float64]
    most: int = 1
    across: tuple[Sighting, Sighting] | None = None


class Follower:
    """Reads hands in the images held and extends the tracklets with what it reads.

    images: those held at the moment, by the frame's place in the shot; None where a frame has no picture. cuts: the
    frames before which hands are not followed back, nor into which from before. by_strides: whether hands that move
    steadily are followed across several frames at once.
    """

    def __init__(
        self,
        networks: LandmarkNetworks,
        settings: DetectionSettings,
        tracklets: Tracklets,
        images: Mapping[int, Image | None],
        cuts: Set[int] = frozenset(),
    ) -> None:
        self._images, self._cuts = images, cuts
        self._networks = networks
        self._settings = settings
        self._tracklets = tracklets
        self.by_strides = True

    def forwards(self, waiting: Sequence[Front]) -> None:
        """Follow tracklets that wait at an earlier frame."""
        self._follow(waiting, _FORWARDS)

    def both_ways(self, fresh: Sequence[Front], waiting: Sequence[Front] = ()) -> None:
        """Follow tracklets that wait at an earlier frame and fresh ones forwards, then back from where the
        fresh ones begin.
        """
        self._follow([*waiting, *fresh], _FORWARDS)
        self._follow(self._loose_starts(fresh), _BACKWARDS)

    def is_plain(self, sighting: Sighting) -> bool:
        """Whether a hand is seen surely, and no other one is near."""
        return self.by_strides and is_sure(sighting) and self._is_alone(sighting)

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
            Front(tracklet, last, sighting.next_crop, _STILL, self._settings.longest_stride)
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
            paths = self._paths(moved, readings)
            # If two tracklets reach the same hand, the one that moved less has the better claim.
            order = np.argsort([_shift(sighting) for sighting in readings], kind="stable")
            fronts = [front for n in order if (front := self._moved_on(moved[n], paths[n])) is not None]

    def _next_place(self, front: Front, step: int) -> Front | None:
        """The front moved to the next frame that has an image, or across several; None at the window's border."""
        known = self._known(front, step)
        if known is not None and (stride := self._stride(front, step)) > 1:
            at = front.at + step * stride
            return replace(front, at=at, crop=crop_ahead(*known, at), across=known)
        at = front.at
        while self._leads_on(at, step):
            at += step
            if self._images[at] is not None:
                return replace(front, at=at, across=None)
        return None

    def _leads_on(self, at: int, step: int) -> bool:
        """Whether the next frame is held and of the same piece."""
        return at + step in self._images and max(at, at + step) not in self._cuts

    def _known(self, front: Front, step: int) -> tuple[Sighting, Sighting] | None:
        """The front's sighting and one a few frames before, from which to follow a hand across several frames; None if
        that is not possible.
        """
        last = self._tracklets.sighting(front.tracklet, front.at)
        if not self.is_plain(last):
            return None
        for back in range(2 * self._settings.longest_stride, 0, -1):
            before = self._tracklets.find(front.tracklet, front.at - step * back)
            if before is not None:
                return (before, last) if self._is_alone(before) else None
        return None

    def _is_alone(self, sighting: Sighting) -> bool:
        """Whether no other hand is known near this one."""
        return all(
            other is sighting
            or np.linalg.norm(other.next_crop[:2] - sighting.next_crop[:2]) > _NEAR * sighting.next_crop[2]
            for _, other in self._tracklets.last_of(sighting.at)
        )

    def _stride(self, front: Front, step: int) -> int:
        """How many frames the front may be followed at once."""
        stride = min(front.most, self._settings.longest_stride)
        while stride > 1:
            frames = range(front.at, front.at + step * stride, step)
            if all(self._leads_on(at, step) and self._images[at + step] is not None for at in frames):
                break
            stride //= 2
        return stride

    def _moved_on(self, front: Front, path: Sequence[Sighting]) -> Front | None:
        """Add the sightings of a front's move to its tracklet, or merge tracklets where it meets another; the front
        from which to follow it further, if it is to be.

        A hand that is lost across several frames is followed frame by frame.
        """
        if not path:
            last = front.across[1] if front.across else None
            return replace(front, at=last.at, crop=last.next_crop, most=1) if last else None
        for each in path:
            other = self._tracklets.same_hand(each)
            if other is not None:
                self._tracklets.join(front.tracklet, other)
                return None
            self._tracklets.add(front.tracklet, each)
        most = min(self._settings.longest_stride, 2 * front.most)
        return Front(front.tracklet, front.at, path[-1].next_crop, _motion_px(front, path[-1]), most)

    def _paths(self, fronts: Sequence[Front], readings: Sequence[Sighting]) -> list[list[Sighting]]:
        """For each front the sightings from where it was to its reading; none if that is not its hand.

        Across several frames, the middle one is drawn if the hand moves steadily, else read; then those beside it.
        """
        paths: list[list[Sighting]] = []
        shares = [0.0] * len(fronts)
        for n, (front, found) in enumerate(zip(fronts, readings, strict=True)):
            goes_on = self._goes_on(front, found) and (front.across is None or is_sure(found))
            paths.append([found] if goes_on else [])
            if goes_on and front.across is not None:
                paths[n] = [*between(*front.across, found), found]
                shares[n] = unsteadiness(*front.across, found)
        self._read_between(
            paths, {n: (len(paths[n]) // 2 - 1,) for n in range(len(fronts)) if shares[n]}, shares
        )
        beside: dict[int, tuple[int, ...]] = {}
        for n, (front, path) in enumerate(zip(fronts, paths, strict=True)):
            if shares[n] and len(path) == 4 and front.across is not None:
                last, middle, found = front.across[1], path[1], path[-1]
                path[0], path[2] = between(found, last, middle)[0], between(last, middle, found)[0]
                shares[n] = min(shares[n], unsteadiness(last, middle, found))
                if shares[n]:
                    beside[n] = (0, 2)
        self._read_between(paths, beside, shares)
        return paths

    def _read_between(
        self, paths: list[list[Sighting]], places: Mapping[int, Sequence[int]], shares: Sequence[float]
    ) -> None:
        """Read drawn sightings of paths, at these places in each, by the path's share; a path whose hand is not found
        there becomes empty.
        """
        asked = [(n, place) for n, some in places.items() for place in some]
        drawn = [paths[n][place] for n, place in asked]
        found = self.read([one.at for one in drawn], [one.next_crop for one in drawn])
        for (n, place), one, other in zip(asked, drawn, found, strict=True):
            if paths[n] and self._is_hand(other) and is_same_hand(one, other):
                paths[n][place] = blended(one, other, shares[n])
            else:
                paths[n] = []

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
                loose.append(
                    Front(front.tracklet, front.at, sighting.next_crop, _STILL, self._settings.longest_stride)
                )
        return loose

    def _read_fronts(self, fronts: Sequence[Front]) -> list[Sighting]:
        """A reading for each front. Lost hands are sought where their motion leads, in a larger crop.

        Readings whose crop was off centre are repeated in a centred one.
        """
        readings = self.read([front.at for front in fronts], [front.crop for front in fronts])
        lost = [
            n for n, front in enumerate(fronts) if front.across is None and not self._is_hand(readings[n])
        ]
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
    """How far the hand moved (2,) a frame, from where the front was or expected it."""
    if front.across is None:
        return sighting.next_crop[:2] - front.crop[:2]
    last = front.across[1]
    return (sighting.next_crop[:2] - last.next_crop[:2]) / abs(sighting.at - last.at)


def _ahead(front: Front, widen: float) -> NDArray[np.float64]:
    """A wider crop (4,) where the front's motion leads."""
    return np.concatenate((front.crop[:2] + front.motion_px, front.crop[2:3] * widen, front.crop[3:]))
