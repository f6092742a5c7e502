# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of a capture. Each takes the record of the shot and returns it with its own part added.

    detect -> track -> recover -> (refine -> initial fit -> predict) -> solve

The three in brackets work on single frames, in one pass: `read`. Whole-shot work is done once. Stages that read
footage save their results in the run's resume cache.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from inference_core.chosen_network import LoadedNetwork
from inference_core.fitting.initial_fit import shot_shape
from inference_core.fitting.lens import LensEstimate, estimate_lens
from inference_core.fitting.shot import solve_shot
from inference_core.fitting.single_frame import ShotShape
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.landmarks.kept_readings import KeptReadings
from inference_core.landmarks.networks import (
    PoseNetworks,
    forget_landmark_networks,
    forget_pose_networks,
    load_pose_networks,
)
from inference_core.reading import FrameReader, joined, part
from inference_core.run import PIECE_FRAMES, Arrays, Run, Shot
from inference_core.runtime.ahead import beside
from inference_core.runtime.imports_ahead import forget
from inference_core.runtime.process import give_back_memory
from inference_core.runtime.stopwatch import FIT, SEARCH, SIDES, SOLVE, timed
from inference_core.shared.stages import READ, RECOVER, TRACK
from inference_core.tracking.arms import arms_between, body_in_view, with_arms
from inference_core.tracking.assign import build_tracks
from inference_core.tracking.detections import joined_pieces, pieces_of, without_sightings
from inference_core.tracking.expected_hands import ExpectedHands, expected_hands
from inference_core.tracking.hand_tracks import HandTracks, with_gaps_filled
from inference_core.tracking.handedness import with_handedness
from inference_core.tracking.interpolate import drawn_from, parts_of_shot
from inference_core.tracking.leaving import out_of_picture
from inference_core.tracking.partners import with_partners
from inference_core.tracking.people import with_one_person
from inference_core.tracking.read_frames import pair_shares, reading_shares, with_frames_between
from inference_core.tracking.recover import Recovery
from inference_core.tracking.refine import HandReadings, asked_widely, refined_tracks
from inference_core.tracking.seen_apart import with_sides_apart
from inference_core.tracking.wider_square import with_sizes
from inference_core.two_hand.crop import shot_crops
from inference_core.two_hand.predictions import TwoHandPredictions
from inference_core.two_hand.predictor import Predictor, with_presence_of_shot

# Names what the partner network added before lost hands are recovered.
_PARTNERS = "partners"
# Prefix of the hands' readings in a piece that also holds the network's.
_HANDS = "hands_"

# Shots of up to this many frames are read closely: stills, and a few frames around one.
_FEW_FRAMES = 4

Known = TypeVar("Known")


@timed(SIDES)
def track(run: Run, shot: Shot) -> Shot:
    """The sightings of one person's hands on a left and a right track, with handedness from arms and, if there is one,
    the landmark head; without it as large as wider squares show them. Each piece of the footage by itself.
    """
    detections, head = shot.detections, shot.head
    if head is None and run.head is not None:
        head = KeptReadings(run.head)
    if head is not None and len(detections.at):

        def tell() -> Arrays:
            return {"right": with_handedness(partial(run.frames, TRACK), detections, head).right}

        found = run.once(TRACK, {"head": run.network_identity, "detections": _digest(detections)}, tell)
        detections = replace(detections, right=found["right"])
        give_back_memory()
    ones = [with_one_person(piece) for piece in pieces_of(detections)]
    pieces = [with_sides_apart(with_arms(one, by_head=head is not None)) for one, _ in ones]
    pieces = [with_sizes(piece, run.camera.focal_px) for piece in pieces]
    tracks = joined([build_tracks(piece, run.tracking) for piece in pieces])
    others = any(there for _, there in ones)
    return replace(
        shot, detections=joined_pieces(pieces, detections), tracks=tracks, head=head, others=others
    )


@timed(SEARCH)
def recover(run: Run, shot: Shot) -> Shot:
    """The tracks with lost hands recovered; without a landmark head the tracks are unchanged."""
    tracks = _known(shot.tracks)
    if run.head is not None:
        pose = load_pose_networks(run.device) if body_in_view(shot.detections) else None
        tracks = _with_partners(run, shot, tracks, run.head)
        tracks = _recovered(run, replace(shot, tracks=tracks), run.head, pose)
        tracks = with_gaps_filled(tracks, shot.detections.time_s, run.tracking.max_gap_s)
    # Bodies have been looked for, and sightings compared.
    forget_pose_networks()
    if run.network is None:
        forget_landmark_networks()
    give_back_memory()
    shot = replace(shot, detections=without_sightings(shot.detections), searched={}, tracks=tracks)
    if run.network is None:
        return shot
    return replace(shot, expected=expected_hands(tracks), squares_px=shot_crops(tracks))


def _with_partners(run: Run, shot: Shot, tracks: HandTracks, head: HeadWithLandmarks) -> HandTracks:
    """The tracks with second hands that were never told from the first, unless one side only is asked for."""
    if run.tracking.hands != "both":
        return tracks

    def pictures(frames: Sequence[int]) -> Iterator[NDArray[np.uint8] | None]:
        return (frame.image for frame in run.footage.at(frames))

    def look() -> Arrays:
        return vars(with_partners(tracks, shot.detections, pictures, head, shot.searched))

    sightings = _digest(shot.detections)
    depends_on = {"head": run.network_identity, "tracks": _digest(tracks), "sightings": sightings}
    return HandTracks(**run.once(_PARTNERS, depends_on, look))


def _recovered(run: Run, shot: Shot, head: HeadWithLandmarks, pose: PoseNetworks | None) -> HandTracks:
    tracks, detections = _known(shot.tracks), shot.detections
    depends_on = {
        "head": run.network_identity,
        "tracks": _digest(tracks),
        "sightings": _digest(detections),
        "arms": pose is not None,
        "others": shot.others,
    }
    arrays = run.load(RECOVER, depends_on)
    done = 0
    if arrays is not None:
        done = int(arrays.pop("done"))
        tracks = HandTracks(**arrays)
    body_px = arms_between(detections, detections.arms_px) if shot.others and pose is not None else None
    recovery = Recovery(tracks, head, pose, detections.bars_px, body_px)
    lost = np.flatnonzero(recovery.lost.any(1))
    start, stop = (max(done, int(lost[0])), int(lost[-1]) + 1) if len(lost) else (done, done)
    if start < stop:
        kept = start
        for done in recovery.run(run.frames(RECOVER, range(start, stop)), start):
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
    forget(run.network.name)
    forget_landmark_networks()
    give_back_memory()
    shares = reading_shares(tracked)
    readings = HandReadings(**{name: arrays.pop(f"{_HANDS}{name}") for name in HandReadings.__annotations__})
    estimates = TwoHandPredictions(**arrays)
    refined, drawn = list[HandTracks](), list[TwoHandPredictions]()
    for rows, own in parts_of_shot(len(shares)):
        expected = part(tracked, rows)
        hands = with_frames_between(part(readings, rows), expected, shares[rows])
        refined.append(part(refined_tracks(part(tracks, rows), expected, hands, run.camera.focal_px), own))
        drawn.append(part(part(estimates, rows).with_frames_between(shares[rows]), own))
    tracks, predictions = joined(refined), joined(drawn)
    gone = out_of_picture(tracks, shot.detections.content_px)
    predictions = predictions.weighted(_network_shares(run.network.loaded(), tracked))
    predictions = with_presence_of_shot(predictions, tracks.present, gone)
    give_back_memory()
    # What only reading needed is let go.
    return Shot(shot.detections, others=shot.others, tracks=tracks, predictions=predictions)


def read_pieces(run: Run, shot: Shot) -> dict[str, NDArray[Any]]:
    """The networks' readings of each frame to be read, piece by piece: of the whole shot, or of the run's share."""
    network, tracks = run.network, _known(shot.tracks)
    if network is None:
        return {}
    tracked, squares_px = _known(shot.expected), _known(shot.squares_px)
    shares, widely = reading_shares(tracked), asked_widely(tracked, run.camera.focal_px)
    shown = drawn_from(_network_shares(network.loaded(), tracked) > 0, shares)
    shown_px = np.where(shown[:, None], squares_px, np.nan)

    def work(reader: FrameReader, start: int, stop: int) -> Arrays:
        rows = start + np.flatnonzero(shares[start:stop])
        frames = run.frames(READ, rows.tolist())
        found = reader.read(frames, part(tracked, rows), shown_px[rows], widely[rows])
        hands, predictions = HandReadings.nothing(stop - start), TwoHandPredictions.nothing(stop - start)
        for whole, some in zip((hands, predictions), found, strict=True):
            for name, values in vars(some).items():
                getattr(whole, name)[rows - start] = values
        return {**vars(predictions), **{f"{_HANDS}{name}": values for name, values in vars(hands).items()}}

    depends_on = {
        "network": network.identity,
        "hand": run.hand().name,
        "tracks": _digest(tracks),
        "expected": _digest(tracked),
        "squares": _digest(shown_px),
        "shares": _digest(shares),
        "camera": _digest(run.camera.K),
    }
    # Fitting waits for these; hands are read meanwhile.
    for_fitting = partial(_for_fitting, run, network.loaded(), tracked, squares_px)
    with beside(for_fitting) if np.isfinite(shown_px).any() else nullcontext(for_fitting) as fitting:
        reader = FrameReader(run.camera, shot.head, fitting, closely=len(shares) <= _FEW_FRAMES)
        return run.in_pieces(READ, depends_on, partial(work, reader))


def _network_shares(network: LoadedNetwork, tracked: ExpectedHands) -> NDArray[np.float64]:
    """(T,) how much the two-hand network's estimates count: one that takes no landmarks tells something everywhere."""
    return pair_shares(tracked) if network.conditioning else np.ones(len(tracked.score))


def _for_fitting(
    run: Run, network: LoadedNetwork, tracked: ExpectedHands, squares_px: NDArray[np.float64]
) -> tuple[Predictor, ShotShape | None]:
    """The two-hand network, and the shape of the initial fit; None for a network without conditioning."""
    with beside(network.predictor) as predictor:
        if not network.conditioning:
            return predictor(), None
        with timed(FIT):
            head_read = network.head is not None
            shape = shot_shape(tracked, squares_px, run.camera, run.hand(), head_read)
        return predictor(), shape


@timed(SOLVE)
def solve(run: Run, shot: Shot) -> Shot:
    """The smooth, metric motion of both hands."""
    solution = solve_shot(
        _known(shot.tracks),
        run.camera,
        shot.detections.time_s,
        run.hand(),
        run.solving,
        shot.predictions,
        progress=run.progress,
    )
    return replace(shot, solution=solution)


@timed(SOLVE)
def lens_by_hands(run: Run, shot: Shot) -> LensEstimate | None:
    """The lens by the hands themselves, where it is not known; None if it is, or if they do not tell."""
    if not run.camera.assumed:
        return None
    return estimate_lens(_known(shot.tracks), run.camera.size_px, run.hand())


def _known(value: Known | None) -> Known:
    """A part of the shot added by an earlier stage."""
    assert value is not None, "the stages run in their order"
    return value


def _digest(value: Any) -> str:
    """The digest of an array, or of a record of arrays."""
    arrays = [value] if isinstance(value, np.ndarray) else vars(value).values()
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
