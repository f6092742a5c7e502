# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of a capture. Each takes the record of the shot and returns it with its own part added.

    detect -> track -> recover -> (refine -> initial fit -> predict) -> solve

The three in brackets work on single frames, in one pass: `read`. Whole-shot work is done once. Stages that read
footage save their results in the run's resume cache.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from inference_core import __version__
from inference_core.chosen_network import ChosenNetwork
from inference_core.fitting.initial_fit import shot_shape
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.shot import solve_shot
from inference_core.fitting.single_frame import ShotShape
from inference_core.fitting.solution import ShotSolution
from inference_core.footage import Footage, Frame
from inference_core.geometry.camera import Camera
from inference_core.hand_model.hand import HandModel
from inference_core.landmarks.kept_readings import KeptReadings
from inference_core.landmarks.landmark_head import HeadWithLandmarks
from inference_core.landmarks.weights import PoseNetworks, load_landmark_networks, load_pose_networks
from inference_core.reading import FrameReader, part
from inference_core.resume_cache import ResumeCache
from inference_core.runtime import stopwatch
from inference_core.runtime.ahead import ahead
from inference_core.runtime.process import give_back_memory
from inference_core.runtime.stopwatch import DECODE, FIT, LOAD, SEARCH, SIDES, SOLVE, timed, timed_items
from inference_core.shared.messages import Progress
from inference_core.shared.stages import DETECT, READ, RECOVER, TRACK
from inference_core.tracking.arms import body_in_view, with_arms
from inference_core.tracking.assign import TrackSettings, build_tracks
from inference_core.tracking.detect import ShotDetector
from inference_core.tracking.detections import ShotDetections
from inference_core.tracking.expected_hands import ExpectedHands, expected_hands
from inference_core.tracking.hand_tracks import HandTracks, with_gaps_filled
from inference_core.tracking.handedness import with_handedness
from inference_core.tracking.leaving import out_of_picture
from inference_core.tracking.partners import with_partners
from inference_core.tracking.recover import Recovery
from inference_core.tracking.refine import HandReadings, refined_tracks
from inference_core.two_hand.crop import shot_crops
from inference_core.two_hand.predictions import TwoHandPredictions
from inference_core.two_hand.predictor import with_presence_of_shot

# A stage saves its results after this many frames: about ten seconds of work.
PIECE_FRAMES = 480
# Frames decoded ahead while hands are followed through earlier ones.
_AHEAD_FRAMES = 4
# Names what the partner network added before lost hands are recovered.
_PARTNERS = "partners"
# Prefix of the hands' readings in a piece that also holds the network's.
_HANDS = "hands_"

Arrays = Mapping[str, NDArray[Any]]
Known = TypeVar("Known")


@dataclass(frozen=True)
class Run:
    """What the stages work with. network: None for landmarks alone. cache: None if nothing is to be saved.

    share: which pieces are read: the first one, and the step to the next."""

    footage: Footage
    camera: Camera
    hand_model: HandModel
    device: torch.device
    network: ChosenNetwork | None
    tracking: TrackSettings
    solving: SolveSettings
    cache: ResumeCache | None
    progress: Progress
    share: tuple[int, int] = (0, 1)

    @property
    def head(self) -> HeadWithLandmarks | None:
        """The landmark head, if there is one."""
        return self.network.head if self.network else None

    def frames(self, stage: str, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """The footage's frames from `start` to `stop`; reports the run's progress as they are read."""
        count = self.footage.info.count
        frames = timed_items(DECODE, self.footage.part(start, count if stop is None else stop))
        for at, frame in enumerate(frames, start + 1):
            yield frame
            self.progress(stage, at, count)

    def load(self, stage: str, depends_on: Mapping[str, Any]) -> dict[str, NDArray[Any]] | None:
        """The arrays saved by an earlier run of the same request; None if there are none."""
        return None if self.cache is None else self.cache.load(stage, self._key(depends_on))

    def keep(self, stage: str, depends_on: Mapping[str, Any], arrays: Arrays) -> None:
        """Save arrays for a resumed run, replacing those under the same key."""
        if self.cache is not None:
            self.cache.save(stage, self._key(depends_on), arrays)

    def once(
        self, stage: str, depends_on: Mapping[str, Any], work: Callable[[], Arrays]
    ) -> dict[str, NDArray[Any]]:
        """The arrays that `work` returns, or returned in an earlier run."""
        arrays = self.load(stage, depends_on)
        if arrays is None:
            arrays = dict(work())
            self.keep(stage, depends_on, arrays)
        return arrays

    def in_pieces(
        self, stage: str, depends_on: Mapping[str, Any], work: Callable[[int, int], Arrays]
    ) -> dict[str, NDArray[Any]]:
        """The arrays of all frames, from work(start, stop) on pieces of the shot, joined along the first axis; of a
        run's share of the pieces, if it has only a share."""
        count = self.footage.info.count
        self.progress(stage, 0, count)
        pieces: list[dict[str, NDArray[Any]]] = []
        first, every = self.share
        for start in range(first * PIECE_FRAMES, count, every * PIECE_FRAMES):
            stop = min(start + PIECE_FRAMES, count)
            key = {**depends_on, "start": start, "stop": stop}
            pieces.append(self.once(stage, key, lambda start=start, stop=stop: work(start, stop)))
            give_back_memory()
            self.progress(stage, stop, count)
        return {
            name: np.concatenate([piece[name] for piece in pieces]) for name in (pieces[0] if pieces else ())
        }

    def _key(self, depends_on: Mapping[str, Any]) -> dict[str, Any]:
        info = self.footage.info
        return {"version": __version__, "footage": info.identity, "numbers": str(info.numbers), **depends_on}


@dataclass(frozen=True)
class Shot:
    """The record of the shot; every stage adds its part.

    detections: after detect. tracks: after track; recover adds lost hands, and read replaces the readings of all.
    head: the landmark head, with its readings so far. expected: each hand in each frame according to the recovered
    tracks. squares_px (T, 3): the two-hand crops. predictions: after read. solution: after solve. None before
    that, and if the run has no network.
    """

    detections: ShotDetections
    tracks: HandTracks | None = None
    expected: ExpectedHands | None = None
    squares_px: NDArray[np.float64] | None = None
    head: KeptReadings | None = None
    predictions: TwoHandPredictions | None = None
    solution: ShotSolution | None = None


def detect(run: Run) -> Shot:
    """All sightings of hands in the footage."""
    count, depends_on = run.footage.info.count, {"device": run.device.type, "head": _identity(run)}
    with timed(LOAD):
        networks, pose = load_landmark_networks(run.device), load_pose_networks(run.device)
    detector = ShotDetector(networks, pose=pose, head=run.head, state=run.load(DETECT, depends_on))
    kept = detector.done
    run.progress(DETECT, kept, count)
    if kept < count:
        frames = timed_items(DECODE, run.footage.part(detector.next_frame, count))
        for done in timed_items(stopwatch.DETECT, detector.run(ahead(frames, _AHEAD_FRAMES))):
            if done - kept >= PIECE_FRAMES or done == count:
                run.keep(DETECT, depends_on, detector.state())
                kept = done
            run.progress(DETECT, done, count)
    found = Shot(detector.detections())
    del detector  # and its pictures
    give_back_memory()
    return found


@timed(SIDES)
def track(run: Run, shot: Shot) -> Shot:
    """The sightings on a left and a right track, with handedness from arms and, if there is one, the landmark head."""
    detections, head = shot.detections, None if run.head is None else KeptReadings(run.head)
    if head is not None and len(detections.at):

        def tell() -> Arrays:
            return {"right": with_handedness(run.frames(TRACK), detections, head).right}

        found = run.once(TRACK, {"head": _identity(run), "detections": _digest(detections)}, tell)
        detections = replace(detections, right=found["right"])
    detections = with_arms(detections)
    return replace(shot, detections=detections, tracks=build_tracks(detections, run.tracking), head=head)


@timed(SEARCH)
def recover(run: Run, shot: Shot) -> Shot:
    """The tracks with lost hands recovered; without a landmark head the tracks are unchanged."""
    tracks = _known(shot.tracks)
    if run.head is not None:
        pose = load_pose_networks(run.device) if body_in_view(shot.detections) else None
        tracks = _recovered(run, _with_partners(run, tracks, shot.detections, run.head), run.head, pose)
        tracks = with_gaps_filled(tracks, shot.detections.time_s, run.tracking.max_gap_s)
    if run.network is None:
        return replace(shot, tracks=tracks)
    return replace(shot, tracks=tracks, expected=expected_hands(tracks), squares_px=shot_crops(tracks))


def _with_partners(
    run: Run, tracks: HandTracks, detections: ShotDetections, head: HeadWithLandmarks
) -> HandTracks:
    """The tracks with second hands that were never told from the first, unless one side only is asked for."""
    if run.tracking.hands != "both":
        return tracks

    def picture(at: int) -> NDArray[np.uint8] | None:
        return next(iter(run.footage.part(at, at + 1))).image

    def look() -> Arrays:
        return vars(with_partners(tracks, detections, picture, head))

    depends_on = {"head": _identity(run), "tracks": _digest(tracks), "sightings": _digest(detections)}
    return HandTracks(**run.once(_PARTNERS, depends_on, look))


def _recovered(
    run: Run, tracks: HandTracks, head: HeadWithLandmarks, pose: PoseNetworks | None
) -> HandTracks:
    depends_on = {"head": _identity(run), "tracks": _digest(tracks), "arms": pose is not None}
    arrays = run.load(RECOVER, depends_on)
    done = 0
    if arrays is not None:
        done = int(arrays.pop("done"))
        tracks = HandTracks(**arrays)
    recovery = Recovery(tracks, head, pose)
    lost = np.flatnonzero(recovery.lost.any(1))
    start, stop = (max(done, int(lost[0])), int(lost[-1]) + 1) if len(lost) else (done, done)
    if start < stop:
        kept = start
        for done in recovery.run(run.frames(RECOVER, start, stop), start):
            if done - kept >= PIECE_FRAMES:
                run.keep(RECOVER, depends_on, {**vars(recovery.tracks), "done": np.array(done)})
                kept = done
        run.keep(RECOVER, depends_on, {**vars(recovery.tracks), "done": np.array(stop)})
    return recovery.tracks


def read(run: Run, shot: Shot) -> Shot:
    """The shot with each frame's readings: landmarks refined by the head, the initial
    fit, and the network's predictions.

    Each only if the run's network has it.
    """
    if run.network is None:
        return shot
    arrays, tracks, tracked = read_pieces(run, shot), _known(shot.tracks), _known(shot.expected)
    readings = HandReadings(**{name: arrays.pop(f"{_HANDS}{name}") for name in HandReadings.__annotations__})
    tracks = refined_tracks(tracks, tracked, readings)
    gone = out_of_picture(tracks, run.camera.size_px)
    predictions = with_presence_of_shot(TwoHandPredictions(**arrays), tracks.present, gone)
    return replace(shot, tracks=tracks, predictions=predictions)


def read_pieces(run: Run, shot: Shot) -> dict[str, NDArray[Any]]:
    """The networks' readings of each frame, piece by piece: of all frames, or of the run's share."""
    network, tracks = run.network, _known(shot.tracks)
    if network is None:
        return {}
    tracked, squares_px = _known(shot.expected), _known(shot.squares_px)
    shape = _shape_for(run, network, tracked, squares_px)
    reader = FrameReader(run.camera, network.predictor, shot.head, shape)

    def work(start: int, stop: int) -> Arrays:
        rows = slice(start, stop)
        hands, predictions = reader.read(run.frames(READ, start, stop), part(tracked, rows), squares_px[rows])
        return {**vars(predictions), **{f"{_HANDS}{name}": values for name, values in vars(hands).items()}}

    depends_on = {
        "network": network.identity,
        "tracks": _digest(tracks),
        "expected": _digest(tracked),
        "squares": _digest(squares_px),
        "camera": _digest(run.camera.K),
    }
    return run.in_pieces(READ, depends_on, work)


@timed(FIT)
def _shape_for(
    run: Run, network: ChosenNetwork, tracked: ExpectedHands, squares_px: NDArray[np.float64]
) -> ShotShape | None:
    """The shape of the initial fit; None for a network without conditioning."""
    if not network.predictor.card.configuration.conditioning:
        return None
    hand = run.hand_model.to("cpu", torch.float64)
    return shot_shape(tracked, squares_px, run.camera, hand, head_read=network.head is not None)


@timed(SOLVE)
def solve(run: Run, shot: Shot) -> Shot:
    """The smooth, metric motion of both hands."""
    solution = solve_shot(
        _known(shot.tracks),
        run.camera,
        shot.detections.time_s,
        run.hand_model,
        run.solving,
        shot.predictions,
        progress=run.progress,
    )
    return replace(shot, solution=solution)


def _known(value: Known | None) -> Known:
    """A part of the shot added by an earlier stage."""
    assert value is not None, "the stages run in their order"
    return value


def _identity(run: Run) -> str:
    return run.network.identity if run.network else ""


def _digest(value: Any) -> str:
    """The digest of an array, or of a record of arrays."""
    arrays = [value] if isinstance(value, np.ndarray) else vars(value).values()
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
