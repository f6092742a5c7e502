# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery of hands that the tracks lost but neighbouring frames predict.

Following a hand ends where it is hidden, and detection finds it again only once its palm shows. In between, the hand
is often clear enough to read if one knows where to look. Each hand found improves the prediction for the neighbouring
frames, so a gap is searched forwards and backwards. A hand that moves too fast for interpolation is sought at the end
of its arm, if a body is in view.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from inference_core.footage.records import Frame
from inference_core.landmarks.body_reader import ELBOW, WRIST, find_arms
from inference_core.landmarks.crop_readings import RefinedLandmarks
from inference_core.landmarks.crop_squares import HAND_IN_CROP, crops_from_arms, crops_from_landmarks
from inference_core.landmarks.hand_crops import Features, crop_features
from inference_core.landmarks.head_reader import HeadWithLandmarks, points_in_frame, world_in_frame
from inference_core.landmarks.networks import PoseNetworks
from inference_core.landmarks.odds import probability
from inference_core.landmarks.partner_search import read_partner
from inference_core.shared.presence import FILLED, SEEN
from inference_core.tracking.arms import forearm_ends
from inference_core.tracking.bodies import is_body
from inference_core.tracking.expected_hands import SEEN_SCORE
from inference_core.tracking.hand_tracks import HandTracks, record_hand
from inference_core.tracking.interpolate import MAX_GAP_FRAMES, MAX_HOLD_FRAMES, interpolated
from inference_core.tracking.leaving import LEAVING_MARGIN
from inference_core.tracking.partners import record_partner
from inference_core.tracking.people import is_same_body
from inference_core.tracking.tracklets import SAME_HAND

# An arm counts if elbow and wrist have at least this score. A hand there is accepted at this presence, if its
# wrist lies this close to the arm's (share of the crop's side). An arm that ends farther than _REACH crop
# sides from the predicted hand is someone else's.
_SURE_ARM, _PRESENCE_AT_ARM, _AT_ARM, _REACH = 0.7, 0.25, 0.3, 2.0
# Crop sizes tried at the arm, as multiples of the hand's last size (it may be blurred); the score of a hand
# placed at its arm without being read.
_LARGER, _CARRIED_SCORE = (1.0, 1.5), 0.15
_MIDDLE_MCP, _MOST_BENT_RAD = 9, np.pi / 2
# A hand is beside the other one if their forearms are this near, in sizes of a hand.
_BESIDE = 2.0
# Images held at once.
_MOST_FRAMES, _MOST_BYTES = 48, 200_000_000

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]


def hands_in_crops(
    features: Features, head: HeadWithLandmarks
) -> tuple[NDArray[np.float32], RefinedLandmarks]:
    """(N,) presence 0..1 of a hand of the crop's side in each crop, and the head's reading of it.

    Presence is 0 if the head takes it for the other side. features (N, 112, 14, 14):
    the landmark network's early ones.
    """
    read = head.network(features)
    return head.landmarks.read(features).presence * (read.right > 0), read


class Recovery:
    """The search for lost hands. tracks: the tracks so far; lost (T, S) bool: hands known in other frames only.
    bars_px: of the picture, see `ShotDetections`. body_px (T, S, 3, 3): the arms of the person whose hands these are,
    where others are in view; NaN where they are not known.

    A Recovery made from the tracks of an interrupted search continues it.
    """

    def __init__(
        self,
        tracks: HandTracks,
        head: HeadWithLandmarks,
        pose: PoseNetworks | None = None,
        bars_px: tuple[int, int, int, int] = (0, 0, 0, 0),
        body_px: Floats | None = None,
    ) -> None:
        self._pose, self._bars_px, self._body_px = pose, np.array(bars_px), body_px
        self.tracks = HandTracks(**{name: values.copy() for name, values in vars(tracks).items()})
        self._head = head
        scored = (np.nan_to_num(tracks.landmarks_px[..., 2]) > 0).any(-1)
        self._known = scored & np.isfinite(tracks.landmarks_px).all((-1, -2))
        self.lost = ~self._known & self._known.any(0)

    def run(self, frames: Iterable[Frame], start: int = 0) -> Iterator[int]:
        """Search frames from the shot's frame `start` on; yields the number of finished frames now and then.

        Holds a few dozen images at most.
        """
        waiting: dict[int, Image] = {}
        for at, frame in enumerate(frames, start):
            if self.lost[at].any() and frame.image is not None:
                waiting[at] = frame.image
            full = (
                len(waiting) == _MOST_FRAMES or sum(image.nbytes for image in waiting.values()) > _MOST_BYTES
            )
            if waiting and (full or not self.lost[at].any()):
                self._through(waiting)
                waiting = {}
                yield at + 1
        self._through(waiting)

    def _through(self, images: Mapping[int, Image]) -> None:
        """Search some frames for their lost hands, forwards and then backwards."""
        if not images:
            return
        around = slice(max(0, min(images) - MAX_GAP_FRAMES), max(images) + MAX_GAP_FRAMES + 1)
        there = self._between(around)
        looked = np.full_like(there, np.nan)
        forwards = list(images)
        for at in (*forwards, *reversed(forwards)):
            row = at - around.start
            for side in np.flatnonzero(self.lost[at]):
                points_px = there[row, side]
                if not np.isfinite(points_px).all() or np.array_equal(points_px, looked[row, side]):
                    continue
                first = np.isnan(looked[row, side]).all()
                looked[row, side] = points_px
                hand = images[at], at, int(side), points_px
                if self._look_in_place(*hand) or (
                    first and (self._look_at_arm(*hand) or self._look_beside(*hand))
                ):
                    there = self._between(around)

    def _between(self, around: slice) -> Floats:
        points_px = self.tracks.landmarks_px[around, ..., :2].astype(np.float64)
        return interpolated(points_px, self._known[around])[0]

    def _look_in_place(self, image: Image, at: int, side: int, points_px: Floats) -> bool:
        """Look where the hand is predicted; True if it is found and recorded.

        If a body is in view, a hand before its first or after its last sighting is only sought at its arm: sleeves
        and laps look like hands at a predicted position.
        """
        known = np.flatnonzero(self._known[:, side])
        following = int(np.searchsorted(known, at))
        between = 0 < following < len(known) and known[following] - known[following - 1] <= MAX_GAP_FRAMES
        if self._pose is not None and not between:
            return False
        return self._look(image, at, side, crops_from_landmarks(points_px[None]), SEEN_SCORE)

    def _look_at_arm(self, image: Image, at: int, side: int, points_px: Floats) -> bool:
        """Look at the end of the arm of a body in view; True if the hand is read there, or placed there unread."""
        if self._pose is None:
            return False
        arms = find_arms([image], self._pose)
        if arms.score[0, side, ELBOW:].min() < _SURE_ARM:
            return False
        elbow_px, wrist_px = arms.points_px[0, side, ELBOW], arms.points_px[0, side, WRIST]
        side_px = float(crops_from_landmarks(points_px)[2])
        body = np.concatenate((arms.points_px[0], arms.score[0, ..., None]), -1)
        if not is_body(body, HAND_IN_CROP * side_px, (image.shape[1], image.shape[0])):
            return False
        if self._body_px is not None and not _may_be_same(body, self._body_px[at]):
            return False
        if (
            not self._in_picture(wrist_px, image)
            or np.linalg.norm(wrist_px - points_px[0]) > _REACH * side_px
        ):
            return False
        at_arm = (crops_from_arms(elbow_px, wrist_px, larger * side_px) for larger in _LARGER)
        for crop in (arms.crops[0, side], *at_arm):
            if np.isfinite(crop).all() and self._look(
                image, at, side, crop[None], _PRESENCE_AT_ARM, wrist_px
            ):
                return True
        return self._carry(image, at, side, elbow_px, wrist_px, side_px)

    def _carry(
        self, image: Image, at: int, side: int, elbow_px: Floats, wrist_px: Floats, side_px: float
    ) -> bool:
        """Place a hand that cannot be read, but was read shortly before or after, at the
        end of its arm; True if placed.
        """
        read = np.flatnonzero(self.tracks.present[:, side] == SEEN)
        nearest = read[np.argmin(np.abs(read - at))]
        points_px = self.tracks.landmarks_px[nearest, side, :, :2].astype(np.float64)
        turn = turn_to_arm(points_px, elbow_px, wrist_px)
        points_px = wrist_px + (points_px - points_px[0]) @ turn.T
        margin_px = LEAVING_MARGIN * np.ptp(points_px, axis=0).max()
        if abs(nearest - at) > MAX_HOLD_FRAMES or not self._in_picture(points_px.mean(0), image, margin_px):
            return False
        if self._is_other(points_px, at, side, side_px):
            return False
        world_m = self.tracks.world_m[nearest, side]
        turned_m = np.concatenate([world_m[:, :2] @ turn.T, world_m[:, 2:]], -1)
        self.tracks.landmarks_px[at, side] = np.concatenate([points_px, np.full((21, 1), _CARRIED_SCORE)], -1)
        self.tracks.world_m[at, side] = turned_m
        self.tracks.present[at, side] = FILLED
        self._known[at, side], self.lost[at, side] = True, False
        return True

    def _look(
        self, image: Image, at: int, side: int, crop: Floats, least: float, wrist_px: Floats | None = None
    ) -> bool:
        """Read the crop (1, 4); True if it holds the hand with presence of at least `least`, which is then recorded.

        wrist_px: if given, the wrist must be there.
        """
        sides = np.array([side])
        features = crop_features([image], crop, sides, self._head.landmarks)
        (presence,), read = hands_in_crops(features, self._head)
        found_px = points_in_frame(read, crop, sides)[0]
        if presence < least or self._is_other(found_px, at, side, float(crop[0, 2])):
            return False
        if wrist_px is not None and np.linalg.norm(found_px[0] - wrist_px) > _AT_ARM * crop[0, 2]:
            return False
        world_m = world_in_frame(read, crop, sides)[0]
        right_side = float(probability(read.right[0]))
        record_hand(self.tracks, at, side, found_px, world_m, float(presence), right_side)
        self._known[at, side], self.lost[at, side] = True, False
        return True

    def _look_beside(self, image: Image, at: int, side: int, points_px: Floats) -> bool:
        """Look where the partner network places the hand beside the other one; True if it is found and recorded.

        It must be on its own forearm: of palms pressed together, the upper one is easily read again.
        """
        if self._pose is not None or self.tracks.present[at, 1 - side] != SEEN:
            return False
        other_px = self.tracks.landmarks_px[at, 1 - side, :, :2].astype(np.float64)
        found = read_partner(image, other_px, 1 - side, self._head)
        if found is None or not found.good:
            return False
        hands_px = np.stack([found.points_px, points_px, other_px])
        size_px = HAND_IN_CROP * crops_from_landmarks(hands_px)[:, 2]
        own, expected, others = forearm_ends(hands_px, size_px)[0]
        to_other_px = np.linalg.norm(own - others)
        if to_other_px > _BESIDE * size_px[2] or np.linalg.norm(own - expected) > to_other_px:
            return False
        record_partner(self.tracks, at, found)
        self._known[at, side], self.lost[at, side] = True, False
        return True

    def _in_picture(self, point_px: Floats, image: Image, margin_px: float = 0.0) -> bool:
        """Whether a point is in the picture, off its bars, and this far from its borders."""
        low_px = self._bars_px[:2] + margin_px
        high_px = np.array(image.shape[1::-1]) - self._bars_px[2:] - margin_px
        return bool(((point_px >= low_px) & (point_px < high_px)).all())

    def _is_other(self, found_px: Floats, at: int, side: int, crop_px: float) -> bool:
        if not self._known[at, 1 - side]:
            return False
        other_px = self.tracks.landmarks_px[at, 1 - side, :, :2]
        return bool(np.linalg.norm(found_px - other_px, axis=-1).mean() < SAME_HAND * crop_px)


def turn_to_arm(points_px: Floats, elbow_px: Floats, wrist_px: Floats) -> Floats:
    """Rotation (2, 2) that aligns a hand with its arm if it would point back along it,
    as no wrist bends; else identity.
    """
    hand, arm = points_px[_MIDDLE_MCP] - points_px[0], wrist_px - elbow_px
    angle = np.arctan2(hand[0] * arm[1] - hand[1] * arm[0], hand @ arm)
    if abs(angle) <= _MOST_BENT_RAD:
        return np.eye(2)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _may_be_same(arms: Floats, own: Floats) -> bool:
    """Whether arms (S, 3, 3) may be a person's whose own, where known, are these."""
    return not np.isfinite(own[..., :2]).all() or is_same_body(arms, own)
