# SPDX-License-Identifier: GPL-3.0-or-later
"""The second hand of a pair that the tracks lack: found where most questions find it, and asked for nowhere else."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inference_core.footage.records import Frame
from inference_core.landmarks.body_reader import WRIST
from inference_core.landmarks.crop_readings import Partners, RefinedLandmarks
from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.hand_crops import crop_features, points_to_crop
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.landmarks.partner_search import asked_square
from inference_core.runtime.ahead import in_turn
from inference_core.shared.presence import ABSENT, SEEN
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking import mixed_up
from inference_core.tracking.detections import ShotDetections
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.tracking.pair_search import Pair, likeliest_pair
from inference_core.tracking.pairs_ahead import PairsAhead
from inference_core.tracking.partners import with_partners
from inference_core.tracking.tracklets import Sighting, Tracklets

DEMO = files("inference_core") / "demo"
WIDTH, FRAMES = 640, 40
# The frame in which the hands are nearest.
STILL = 55


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    """The bundled clip's first frame."""
    frame = cv2.VideoCapture(str(DEMO / "two_hands.mp4")).read()[1]
    size = (WIDTH, round(WIDTH * frame.shape[0] / frame.shape[1]))
    small = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


@pytest.fixture(scope="module")
def hands_px() -> NDArray[np.float64]:
    """(2, 21, 2) where the frame's hands truly are."""
    with np.load(str(DEMO / "two_hands_truth.npz")) as truth:
        seen = truth["landmarks_cam_m"][0] @ truth["K"].T
        return seen[..., :2] / seen[..., 2:] * WIDTH / truth["size_px"][0]


def alone(hands_px: NDArray[np.float64], side: int) -> HandTracks:
    """Tracks of FRAMES frames that know the hand of one side only."""
    landmarks_px = np.full((FRAMES, 2, 21, 3), np.nan, np.float32)
    landmarks_px[..., 2] = 0
    landmarks_px[:, side, :, :2], landmarks_px[:, side, :, 2] = hands_px[side], 1
    world_m = np.full((FRAMES, 2, 21, 3), np.nan, np.float32)
    world_m[:, side] = 0
    present = np.full((FRAMES, 2), ABSENT, np.uint8)
    present[:, side] = SEEN
    return HandTracks(landmarks_px, world_m, present, np.zeros((FRAMES, 2), np.float32))


def sightings(points_px: NDArray[np.float64], at: list[int]) -> ShotDetections:
    """The same sighting in some frames."""
    count = len(at)
    points = np.tile(np.concatenate([points_px, np.zeros((21, 1))], -1), (count, 1, 1)).astype(np.float32)
    one = np.ones(count, np.float32)
    crops = np.zeros((count, 4), np.float32)
    return ShotDetections(
        np.array(at), np.arange(count), points, points, one, one, crops, np.arange(FRAMES) / 24, (WIDTH, 360)
    )


def told(
    head: HeadWithLandmarks, hands_px: NDArray[np.float64], side: int, place: NDArray[np.float64]
) -> HeadWithLandmarks:
    """The head beside a network that tells of a hand at place (21, 2) if it is asked about one hand, and of none if
    about several, as in a search of pairs.
    """
    points = points_to_crop(place[None], asked_square(hands_px[side])[None], np.array([side]))

    def partner(features: NDArray[np.float32]) -> Partners:
        count = len(features)
        everywhere = np.broadcast_to(points, (count, 21, 2))
        return Partners(np.full(count, 9.0 if count == 1 else -9.0), everywhere, np.zeros(count))

    return replace(head, partner=partner)


@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_a_partner_missing_throughout_the_shot_is_found(
    head: HeadWithLandmarks, image: NDArray[np.uint8], hands_px: NDArray[np.float64], side: int
) -> None:
    tracks, other = alone(hands_px, side), hands_px[1 - side]
    found = with_partners(
        tracks,
        sightings(other, []),
        lambda frames: (image for _ in frames),
        told(head, hands_px, side, other),
    )
    seen = np.flatnonzero(found.present[:, 1 - side] == SEEN)
    assert seen[0] == 0 and seen[-1] >= FRAMES - 12 and len(seen) < FRAMES / 4
    off = np.linalg.norm(found.landmarks_px[seen, 1 - side, :, :2] - other, axis=-1).mean(-1)
    assert (off < 0.08 * crops_from_landmarks(other)[2]).all()
    assert (found.landmarks_px[seen, 1 - side, :, 2] >= 0.5).all() and np.isfinite(found.world_m[seen]).all()
    np.testing.assert_array_equal(found.landmarks_px[:, side], tracks.landmarks_px[:, side])
    assert (tracks.present[:, 1 - side] == ABSENT).all(), "what was given stays as it is"


def test_dropped_sightings_help_where_the_network_is_inaccurate(
    head: HeadWithLandmarks, image: NDArray[np.uint8], hands_px: NDArray[np.float64]
) -> None:
    other = hands_px[RIGHT]
    rough = told(head, hands_px, LEFT, other + 0.9 * np.ptp(other, axis=0) * [0.2, -0.2])

    def off(seen: ShotDetections) -> float:
        found = with_partners(alone(hands_px, LEFT), seen, lambda frames: (image for _ in frames), rough)
        return float(np.linalg.norm(found.landmarks_px[0, RIGHT, :, :2] - other, axis=-1).mean())

    assert off(sightings(other, [0])) < 0.08 * crops_from_landmarks(other)[2]
    # The known hand's own sighting tempts nobody.
    without, own = off(sightings(other, [])), off(sightings(hands_px[LEFT], [0]))
    np.testing.assert_allclose(own, without)


def test_a_partner_that_tells_of_no_other_hand_in_turn_is_ignored(
    head: HeadWithLandmarks, image: NDArray[np.uint8], hands_px: NDArray[np.float64]
) -> None:
    other, asked = hands_px[RIGHT], asked_square(hands_px[LEFT])[None]
    own = crop_features([image], asked, np.array([LEFT]), head.landmarks)
    network = told(head, hands_px, LEFT, other)

    def one_sided(features: NDArray[np.float32]) -> Partners:
        assert network.partner is not None
        is_own = len(features) == 1 and np.allclose(features, own, atol=1e-5)
        return replace(network.partner(features), there=np.full(len(features), 9.0 if is_own else -9.0))

    for partner, found_there in ((network.partner, True), (one_sided, False)):
        asked_of = replace(head, partner=partner)
        found = with_partners(
            alone(hands_px, LEFT), sightings(other, []), lambda frames: (image for _ in frames), asked_of
        )
        assert (found.present[:, RIGHT] == SEEN).any() == found_there


def test_a_network_that_is_not_sure_is_soon_asked_again(
    head: HeadWithLandmarks, image: NDArray[np.uint8], hands_px: NDArray[np.float64]
) -> None:
    network, questions, looked = told(head, hands_px, LEFT, hands_px[RIGHT]), itertools.count(), list[int]()

    def unsure_at_first(features: NDArray[np.float32]) -> Partners:
        assert network.partner is not None
        answer = network.partner(features)
        return replace(answer, there=np.minimum(answer.there, 0 if next(questions) == 0 else np.inf))

    def pictures(frames: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        looked.extend(frames)
        return (image for _ in frames)

    asked_of = replace(head, partner=unsure_at_first)
    found = with_partners(alone(hands_px, LEFT), sightings(hands_px[RIGHT], []), pictures, asked_of)
    assert looked[:2] == [0, 6] and found.present[6, RIGHT] == SEEN


def test_a_partner_seen_in_few_frames_is_ignored(
    head: HeadWithLandmarks, image: NDArray[np.uint8], hands_px: NDArray[np.float64]
) -> None:
    other = hands_px[RIGHT]
    bare = image.copy()
    low, high = other.min(0).astype(int) - 20, other.max(0).astype(int) + 20
    bare[max(0, low[1]) : high[1], max(0, low[0]) : high[0]] = 60
    tracks, network = alone(hands_px, LEFT), told(head, hands_px, LEFT, other)
    found = with_partners(
        tracks, sightings(other, []), lambda frames: (image if at < 6 else bare for at in frames), network
    )
    assert (found.present[:, RIGHT] == ABSENT).all()


def test_no_frame_is_read_where_neighbouring_frames_know_the_hand(
    head: HeadWithLandmarks, image: NDArray[np.uint8], hands_px: NDArray[np.float64]
) -> None:
    def never(frames: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        raise AssertionError(f"frames {frames} are read")

    tracks = alone(hands_px, LEFT)
    known = np.arange(FRAMES) % 20 == 10
    tracks.landmarks_px[known, RIGHT, :, :2] = hands_px[RIGHT]
    tracks.present[known, RIGHT] = SEEN
    network = told(head, hands_px, LEFT, hands_px[RIGHT])
    found = with_partners(tracks, sightings(hands_px[RIGHT], []), never, network)
    np.testing.assert_array_equal(found.present, tracks.present)
    with_partners(alone(hands_px, LEFT), sightings(hands_px[RIGHT], []), never, replace(head, partner=None))


@pytest.mark.parametrize("is_hidden", [False, True])
def test_a_partner_that_is_not_where_the_first_hand_tells_is_found_with_it_as_a_pair(
    head: HeadWithLandmarks, is_hidden: bool
) -> None:
    picture, true_px = still_of_two_hands()
    if is_hidden:
        low, high = true_px[RIGHT].min(0).astype(int) - 8, true_px[RIGHT].max(0).astype(int) + 8
        picture[low[1] : high[1], low[0] : high[0]] = 60
    wrong = told(head, true_px, LEFT, true_px[LEFT] + 2 * np.ptp(true_px[LEFT], axis=0)).partner

    def asked(features: NDArray[np.float32]) -> Partners:
        assert wrong is not None and head.partner is not None
        return wrong(features) if len(features) == 1 else head.partner(features)

    network = replace(head, partner=asked)
    found = with_partners(
        alone(true_px, LEFT), sightings(true_px[LEFT], []), lambda frames: (picture for _ in frames), network
    )
    if is_hidden:
        assert (found.present[:, RIGHT] == ABSENT).all()
        return
    seen = np.flatnonzero(found.present[:, RIGHT] == SEEN)
    assert seen[0] == 0 and seen[-1] >= FRAMES - 12
    off_px = np.linalg.norm(found.landmarks_px[seen, RIGHT, :, :2] - true_px[RIGHT], axis=-1).mean(-1)
    assert (off_px < 0.08 * crops_from_landmarks(true_px[RIGHT])[2]).all()


def still_of_two_hands() -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The bundled clip's frame in which the hands are nearest, RGB, and where they truly are, (2, 21, 2)."""
    movie = cv2.VideoCapture(str(DEMO / "two_hands.mp4"))
    movie.set(cv2.CAP_PROP_POS_FRAMES, STILL)
    small = cv2.resize(movie.read()[1], (WIDTH // 2, WIDTH // 2 * 9 // 16), interpolation=cv2.INTER_AREA)
    still = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)
    with np.load(str(DEMO / "two_hands_truth.npz")) as truth:
        seen = truth["landmarks_cam_m"][STILL] @ truth["K"].T
        return still, seen[..., :2] / seen[..., 2:] * still.shape[1] / truth["size_px"][0]


@pytest.mark.parametrize("read_twice", [False, True])
def test_both_hands_of_a_still_are_found_unless_its_body_has_them_elsewhere(
    head: HeadWithLandmarks, read_twice: bool
) -> None:
    still, true_px = still_of_two_hands()
    left = alone(true_px, LEFT)
    first = HandTracks(**{name: values[:1].copy() for name, values in vars(left).items()})
    first.present[:] = SEEN if read_twice else ABSENT
    first.landmarks_px[:, RIGHT], first.world_m[:, RIGHT] = first.landmarks_px[:, LEFT], 0

    def found(wrists_px: NDArray[np.float64]) -> HandTracks:
        arms_px = np.ones((1, 2, 3, 3), np.float32)
        arms_px[0, :, WRIST, :2] = wrists_px
        seen = replace(sightings(true_px[LEFT], []), arms_px=arms_px)
        return with_partners(first, seen, lambda frames: (still for _ in frames), head)

    both = found(true_px[:, 0])
    assert (both.present == SEEN).all()
    off_px = np.linalg.norm(both.landmarks_px[0, ..., :2] - true_px, axis=-1).mean(-1)
    assert (off_px < 0.08 * crops_from_landmarks(true_px)[:, 2]).all()
    np.testing.assert_array_equal(found(true_px[::-1, 0]).present, first.present)


def test_a_still_is_not_searched_if_two_hands_are_known_far_apart(
    head: HeadWithLandmarks, hands_px: NDArray[np.float64]
) -> None:
    tracks = alone(hands_px, LEFT)
    first = HandTracks(**{name: values[:1].copy() for name, values in vars(tracks).items()})
    first.present[:] = SEEN
    first.landmarks_px[:, RIGHT], first.world_m[:, RIGHT] = first.landmarks_px[:, LEFT] + (400, 0, 0), 0

    def never(features: NDArray[np.float32]) -> RefinedLandmarks:
        raise AssertionError("the still is searched")

    grey = np.full((360, WIDTH, 3), 90, np.uint8)
    found = with_partners(
        first,
        sightings(hands_px[LEFT], []),
        lambda frames: (grey for _ in frames),
        replace(head, network=never),
    )
    np.testing.assert_array_equal(found.landmarks_px, first.landmarks_px)


def on(hands_px: NDArray[np.float64], left: NDArray[np.int64], right: NDArray[np.int64]) -> HandTracks:
    """Tracks that are on these of the hands (2, 21, 2), by frame; -1 where a track has none."""
    tracks = alone(hands_px, LEFT)
    for side, which in enumerate((left, right)):
        known = which >= 0
        tracks.present[:, side] = np.where(known, SEEN, ABSENT)
        tracks.landmarks_px[:, side] = np.nan
        tracks.landmarks_px[known, side, :, :2], tracks.landmarks_px[:, side, :, 2] = (
            hands_px[which[known]],
            known[:, None],
        )
        tracks.world_m[:, side] = np.where(known[:, None, None], 0, np.nan)
    return tracks


def test_of_two_tracks_on_one_hand_the_wrong_one_is_set_right(head: HeadWithLandmarks) -> None:
    still, true_px = still_of_two_hands()
    frames = np.arange(FRAMES)
    from_12_on = np.where(frames < 12, RIGHT, LEFT)
    tracks = on(true_px, np.full(FRAMES, LEFT), from_12_on)
    found = with_partners(tracks, sightings(true_px[LEFT], []), lambda frames: (still for _ in frames), head)
    np.testing.assert_array_equal(found.landmarks_px[:, LEFT], tracks.landmarks_px[:, LEFT])
    np.testing.assert_array_equal(found.landmarks_px[:12, RIGHT], tracks.landmarks_px[:12, RIGHT])
    seen = np.flatnonzero(found.present[:, RIGHT] == SEEN)
    assert np.diff(seen).max() <= 6 and seen[-1] >= FRAMES - 6
    off_px = np.linalg.norm(found.landmarks_px[seen, RIGHT, :, :2] - true_px[RIGHT], axis=-1).mean(-1)
    assert (off_px < 0.08 * crops_from_landmarks(true_px[RIGHT])[2]).all()


def test_a_track_between_both_hands_is_set_right(head: HeadWithLandmarks) -> None:
    still, true_px = still_of_two_hands()
    tracks = on(true_px, np.full(FRAMES, LEFT), np.full(FRAMES, RIGHT))
    tracks.landmarks_px[10:, RIGHT, :, :2] = true_px.mean(0)
    found = with_partners(tracks, sightings(true_px[LEFT], []), lambda frames: (still for _ in frames), head)
    seen = np.flatnonzero(found.present[:, RIGHT] == SEEN)
    off_px = np.linalg.norm(found.landmarks_px[seen, RIGHT, :, :2] - true_px[RIGHT], axis=-1).mean(-1)
    assert seen[-1] >= FRAMES - 6 and (off_px < 0.08 * crops_from_landmarks(true_px[RIGHT])[2]).all()
    np.testing.assert_array_equal(found.landmarks_px[:, LEFT], tracks.landmarks_px[:, LEFT])


@pytest.mark.parametrize("jump", [0.0, 0.2])
def test_pairs_that_are_not_certain_set_right_only_what_they_put_elsewhere_steadily(
    jump: float, head: HeadWithLandmarks, monkeypatch: pytest.MonkeyPatch
) -> None:
    still, true_px = still_of_two_hands()
    tracks = on(true_px, np.full(FRAMES, LEFT), np.full(FRAMES, RIGHT))
    tracks.landmarks_px[:, RIGHT, :, :2] = true_px.mean(0)
    chosen: list[Pair] = []

    def unsure(*arguments: Any) -> Pair | None:
        """Every second pair is as far off as `jump`, of the hand's square."""
        pair = likeliest_pair(*arguments)
        assert pair is not None
        hands, off = pair.hands, jump * (len(chosen) % 2)
        moved_px = hands.points_px + off * hands.crops[:, None, 2:3]
        chosen.append(Pair(replace(hands, points_px=moved_px), 2.5))
        return chosen[-1]

    monkeypatch.setattr(mixed_up, "likeliest_pair", unsure)
    found = with_partners(tracks, sightings(true_px[LEFT], []), lambda frames: (still for _ in frames), head)
    if jump:
        np.testing.assert_array_equal(found.landmarks_px, tracks.landmarks_px)
        return
    seen = np.flatnonzero(found.present[:, RIGHT] == SEEN)
    off_px = np.linalg.norm(found.landmarks_px[seen, RIGHT, :, :2] - true_px[RIGHT], axis=-1).mean(-1)
    assert len(seen) and (off_px < 0.08 * crops_from_landmarks(true_px[RIGHT])[2]).all()


def test_readings_of_a_track_on_the_wrong_hand_go_over_to_the_other_track(head: HeadWithLandmarks) -> None:
    still, true_px = still_of_two_hands()
    tracks = on(true_px, np.full(FRAMES, RIGHT), np.where(np.arange(FRAMES) % 4 == 0, RIGHT, -1))
    found = with_partners(tracks, sightings(true_px[LEFT], []), lambda frames: (still for _ in frames), head)
    for side in (LEFT, RIGHT):
        seen = found.present[:, side] == SEEN
        assert seen.mean() > (0.2 if side == LEFT else 0.9)
        off_px = np.linalg.norm(found.landmarks_px[seen, side, :, :2] - true_px[side], axis=-1).mean(-1)
        assert (off_px < 0.08 * crops_from_landmarks(true_px[side])[2]).all()
        assert (
            np.isnan(found.landmarks_px[~seen, side, :, :2]).all()
            and (found.side_score[~seen, side] == 0).all()
        )


def test_tracks_on_one_hand_stay_where_few_frames_or_no_second_hand_tell_against_them(
    head: HeadWithLandmarks,
) -> None:
    still, true_px = still_of_two_hands()
    bare = still.copy()
    low, high = true_px[RIGHT].min(0).astype(int) - 8, true_px[RIGHT].max(0).astype(int) + 8
    bare[low[1] : high[1], low[0] : high[0]] = 60
    briefly = np.where(np.arange(FRAMES) // 6 == 2, LEFT, RIGHT)
    for picture, right in ((still, briefly), (bare, np.full(FRAMES, LEFT))):
        tracks = on(true_px, np.full(FRAMES, LEFT), right)
        found = with_partners(
            tracks, sightings(true_px[LEFT], []), lambda frames, shown=picture: (shown for _ in frames), head
        )
        np.testing.assert_array_equal(found.landmarks_px, tracks.landmarks_px)


def test_what_is_searched_beside_detection_is_not_searched_again(head: HeadWithLandmarks) -> None:
    still, true_px = still_of_two_hands()
    true_px[RIGHT] += 0.5 * (true_px[LEFT].mean(0) - true_px[RIGHT].mean(0))
    tracks = on(true_px, np.full(FRAMES, LEFT), np.full(FRAMES, RIGHT))
    read: list[int] = []

    def pictures(frames: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        read.extend(frames)
        return (still for _ in frames)

    tracklets, nothing = Tracklets(), np.zeros((21, 3), np.float32)
    for at in range(FRAMES):
        for side in (RIGHT, LEFT):
            crop = crops_from_landmarks(true_px[side])
            tracklets.start(
                Sighting(at, tracks.landmarks_px[at, side], nothing, 1.0, float(side == RIGHT), crop, crop)
            )
    pairs = PairsAhead(lambda: head)
    with in_turn() as later:
        pairs.ask({at: Frame(at, at / 24, still) for at in range(FRAMES)}, tracklets, later)
        searched = pairs.searched()
    seen = sightings(true_px[LEFT], [])
    without = with_partners(tracks, seen, pictures, head)
    needed = len(read)
    found = with_partners(tracks, seen, pictures, head, searched)
    assert searched and len(read) - needed == needed - len(searched)
    for name, values in vars(without).items():
        np.testing.assert_array_equal(values, getattr(found, name))

    elsewhere = on(true_px + 4, np.full(FRAMES, LEFT), np.full(FRAMES, RIGHT))
    before = len(read)
    with_partners(elsewhere, seen, pictures, head, searched)
    assert len(read) - before == needed
