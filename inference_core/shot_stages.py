# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of a capture that read the footage, in pieces that a stopped run need not do again."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inference_core import __version__
from inference_core.footage import Footage, Frame
from inference_core.geometry.camera import Camera
from inference_core.hand_model.hand import HandModel
from inference_core.landmarks.landmark_head import HEAD_FILE
from inference_core.landmarks.weights import load_landmark_networks, load_pose_networks
from inference_core.resume_cache import ResumeCache
from inference_core.shared.messages import Progress
from inference_core.tracking.arms import with_arms
from inference_core.tracking.detect import detect_shot
from inference_core.tracking.detections import ShotDetections
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.tracking.handedness import with_handedness
from inference_core.two_hand.predictions import TwoHandPredictions
from inference_core.two_hand.predictor import Predictor, load_predictor, recover_and_predict
from inference_core.two_hand.weights import CARD_FILE, SHIPPED_FOLDER, WEIGHTS_FILE, read_card

# Frames a piece: ten windows of the detector, some ten seconds of work.
PIECE_FRAMES = 480

_LANDMARKS, _NETWORK = "landmarks", "network"

Arrays = dict[str, NDArray[Any]]
Work = Callable[[int, int, Progress], Arrays]  # start, stop, progress over the whole footage


@dataclass(frozen=True)
class ChosenNetwork:
    """A two-hand network: its configuration's name, its weights' place and time of change, and itself."""

    name: str
    identity: str
    predictor: Predictor


@dataclass(frozen=True)
class Pieces:
    """How a stage is cut: of which footage, where pieces are kept, who is told."""

    footage: Footage
    partial: ResumeCache
    progress: Progress

    def run(self, stage: str, depends_on: Mapping[str, Any], work: Work) -> list[Arrays]:
        """The stage's arrays piece by piece: those that are kept, and the others by `work`."""
        info, pieces = self.footage.info, list[Arrays]()
        self.progress(stage, 0, info.count)
        for start in range(0, info.count, PIECE_FRAMES):
            stop = min(start + PIECE_FRAMES, info.count)
            key = {
                "version": __version__,
                "footage": info.identity,
                "numbers": list(info.numbers[start:stop]),
            }
            key |= depends_on
            piece = self.partial.load(stage, key)
            if piece is None:
                piece = work(start, stop, self.progress)
                self.partial.save(stage, key, piece)
            pieces.append(piece)
            self.progress(stage, stop, info.count)
        return pieces


def find_landmarks(pieces: Pieces, device: torch.device, network: ChosenNetwork | None) -> ShotDetections:
    """All sightings of hands in the footage, their sides told by the network where it can."""
    networks, pose = load_landmark_networks(device), load_pose_networks(device)
    footage = pieces.footage

    def work(start: int, stop: int, progress: Progress) -> Arrays:
        def within(stage: str, done: int, _total: int) -> None:
            progress(stage, start + done, footage.info.count)

        found = detect_shot(
            footage.part(start, stop), networks, progress=within, frame_count=stop - start, pose=pose
        )
        if network is not None and network.predictor.head is not None:
            found = with_handedness(footage.part(start, stop), found, network.predictor.head)
        return {key: np.asarray(value) for key, value in asdict(found).items()}

    depends_on = {"device": device.type, "sides": network.identity if network else None}
    return with_arms(_joined_detections(pieces.run(_LANDMARKS, depends_on, work)))


def choose_network(wanted: str, hand_model: HandModel, device: torch.device) -> ChosenNetwork | None:
    """The network that "shipped", "auto" (the same, where its card says it is good enough), "none" or a weights folder
    means.
    """
    if wanted == "none" or (wanted == "auto" and not read_card(SHIPPED_FOLDER / CARD_FILE).by_default):
        return None
    folder = SHIPPED_FOLDER if wanted in ("auto", "shipped") else Path(wanted)
    predictor = load_predictor(folder, hand_model, device)
    folder = folder if folder.is_dir() else folder.parent
    files = [path for path in (folder / WEIGHTS_FILE, folder / HEAD_FILE) if path.is_file()]
    stats = [f"{path.stat().st_size}|{path.stat().st_mtime_ns}" for path in files]
    identity = f"{folder.resolve()}|{'|'.join(stats)}|{device.type}|{hand_model.name}"
    return ChosenNetwork(predictor.card.configuration.name, identity, predictor)


def estimate_with_network(
    pieces: Pieces, network: ChosenNetwork, evidence: HandTracks, camera: Camera
) -> TwoHandPredictions:
    """What the network says of every frame."""
    footage = pieces.footage

    def work(start: int, stop: int, progress: Progress) -> Arrays:
        def within(stage: str, done: int, total: int) -> None:
            if start < done <= stop:
                progress(stage, done, total)

        def frames() -> Iterator[Frame]:
            return _only(footage, start, stop)

        found = recover_and_predict(frames, evidence, camera, network.predictor, within)
        return {key: value[start:stop] for key, value in vars(found).items()}

    depends_on = {
        "network": network.identity,
        "evidence": _digest(*vars(evidence).values()),
        "camera": _digest(camera.K),
    }
    found = pieces.run(_NETWORK, depends_on, work)
    return TwoHandPredictions(**{key: np.concatenate([piece[key] for piece in found]) for key in found[0]})


def _only(footage: Footage, start: int, stop: int) -> Iterator[Frame]:
    """All frames of the footage, of which only those from `start` to `stop` are read and have pictures."""
    numbers = footage.info.numbers
    yield from (Frame(number, 0.0, None) for number in numbers[:start])
    yield from footage.part(start, stop)
    yield from (Frame(number, 0.0, None) for number in numbers[stop:])


def _joined_detections(pieces: Sequence[Arrays]) -> ShotDetections:
    """One shot of the pieces' frames, in order; the tracklets of each piece are its own."""
    first_frames = np.cumsum([0, *(len(piece["time_s"]) for piece in pieces)])
    first_tracklets = np.cumsum([0, *(int(piece["tracklet"].max(initial=-1)) + 1 for piece in pieces)])
    shifted = [
        {**piece, "at": piece["at"] + first_frame, "tracklet": piece["tracklet"] + first_tracklet}
        for piece, first_frame, first_tracklet in zip(pieces, first_frames, first_tracklets, strict=False)
    ]
    arrays = {key: np.concatenate([piece[key] for piece in shifted]) for key in pieces[0] if key != "size_px"}
    width, height = np.max([piece["size_px"] for piece in pieces], axis=0)
    return ShotDetections(**arrays, size_px=(int(width), int(height)))


def _digest(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
