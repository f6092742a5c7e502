# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of a capture that read the footage, cut into pieces that a stopped run need not do again."""

from collections.abc import Sequence
from dataclasses import asdict, fields

import numpy as np
import torch

from inference_core import __version__
from inference_core.camera import Camera
from inference_core.evidence import HandEvidence, NetworkEvidence
from inference_core.footage import Footage
from inference_core.landmarks.detections import ShotDetections
from inference_core.landmarks.shot import detect_shot
from inference_core.landmarks.weights import load_landmark_networks
from inference_core.messages import CaptureRequest, Progress
from inference_core.partial_run import PartialRun

# Frames a piece: ten windows of the detector, some ten seconds of work.
PIECE_FRAMES = 480

_LANDMARKS = "landmarks"


def find_landmarks(
    footage: Footage, device: torch.device, partial: PartialRun, progress: Progress
) -> ShotDetections:
    """All sightings of hands in the footage, piece by piece."""
    networks = load_landmark_networks(device)
    pieces: list[ShotDetections] = []
    progress(_LANDMARKS, 0, footage.info.count)
    for start in range(0, footage.info.count, PIECE_FRAMES):
        stop = min(start + PIECE_FRAMES, footage.info.count)
        depends_on = {"version": __version__, "footage": footage.info.identity, "device": device.type}
        depends_on |= {"numbers": list(footage.info.numbers[start:stop])}
        found = partial.load(_LANDMARKS, depends_on)
        if found is None:
            piece = detect_shot(
                footage.part(start, stop),
                networks,
                progress=lambda stage, done, _, start=start: progress(
                    stage, start + done, footage.info.count
                ),
                frame_count=stop - start,
            )
            partial.save(
                _LANDMARKS, depends_on, {key: np.asarray(value) for key, value in asdict(piece).items()}
            )
        else:
            size_px = tuple(int(side) for side in found.pop("size_px"))
            piece = ShotDetections(**found, size_px=(size_px[0], size_px[1]))
        pieces.append(piece)
        progress(_LANDMARKS, stop, footage.info.count)
    return _joined(pieces)


def estimate_with_network(
    request: CaptureRequest,
    footage: Footage,
    evidence: HandEvidence,
    camera: Camera,
    device: torch.device,
    partial: PartialRun,
    progress: Progress,
) -> tuple[str | None, NetworkEvidence | None]:
    """The two-hand network's name and its estimates; None, None where the request wants none."""
    return None, None


def _joined(pieces: Sequence[ShotDetections]) -> ShotDetections:
    """One shot of the pieces' frames, in order; the trails of each piece are its own."""
    frames = np.cumsum([0, *(len(piece.time_s) for piece in pieces)])
    trails = np.cumsum([0, *(int(piece.trail.max(initial=-1)) + 1 for piece in pieces)])
    shifts = {"at": frames, "trail": trails}
    arrays = {
        field.name: np.concatenate(
            [
                getattr(piece, field.name) + (shifts[field.name][k] if field.name in shifts else 0)
                for k, piece in enumerate(pieces)
            ]
        )
        for field in fields(ShotDetections)
        if field.name != "size_px"
    }
    for name, dtype in (("points_px", np.float32), ("world_m", np.float32), ("crops", np.float32)):
        arrays[name] = arrays[name].astype(dtype)
    sizes = [piece.size_px for piece in pieces if piece.size_px != (0, 0)]
    return ShotDetections(**arrays, size_px=sizes[0] if sizes else (0, 0))
