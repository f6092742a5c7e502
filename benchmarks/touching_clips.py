# SPDX-License-Identifier: GPL-3.0-or-later
"""Synthetic clips of hands that touch, rub, clasp, cross and leave, with what the capture finds in them.

Rendering a clip and finding its hands takes some twenty seconds, solving it half a second: so all that the solve
is given is kept in a folder beside the truth, and solved again from there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.fitting.settings import SolveSettings
from inference_core.footage.records import footage_of_frames
from inference_core.geometry.camera import Camera, camera_from_intrinsics
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_hand_model
from inference_core.stages import (
    Run,
    choose_network,
    detect,
    initial_fit,
    predict,
    recover,
    refine,
    track,
)
from inference_core.tracking.assign import TrackSettings
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.two_hand.predictions import TwoHandPredictions
from training.evaluation.clips import clip_camera, clip_frames
from training.synthetic.generate import Kit, load_kit
from training.synthetic.randomness import Randomness
from training.synthetic.sequence import Motion, SyntheticClip, draw_motion, posed_motion, render_motion
from training.synthetic.settings import Settings
from training.synthetic.view import pinhole

# What happens in a clip: meet is what the generator draws, with pauses apart and hands that leave.
KINDS = ("meet", "rub", "held", "cross near", "cross far", "still")
FRAMES, FPS, SIZE_PX, SUBFRAMES = 48, 25.0, (640, 360), 3
# Seeds apart from those of training and of every other evaluation; the second half is kept for the last figure.
_SEED = 970_000_000
CHOOSING, KEPT = range(0, 18), range(18, 30)


@dataclass(frozen=True)
class TouchingClip:
    """One clip: its kind, camera, times, what the capture found, and the truth.

    joints_m (T, S, 21, 3), rotations (T, S, 16, 3, 3), betas (S, 10), present (T, S) bool.
    """

    kind: str
    camera: Camera
    time_s: NDArray[np.float64]
    tracks: HandTracks
    predictions: TwoHandPredictions
    joints_m: NDArray[np.float32]
    rotations: NDArray[np.float32]
    betas: NDArray[np.float32]
    present: NDArray[np.bool_]

    def vertices_m(self, hand: HandModel) -> torch.Tensor:
        """(T, S, V, 3) the true skin, float64."""
        shaped = hand.with_shape(torch.as_tensor(self.betas).double())
        posed = shaped.with_pose(
            torch.as_tensor(self.rotations).double(), torch.as_tensor(self.joints_m[:, :, 0]).double()
        )
        return posed.vertices_m


def cached_clips(folder: Path, numbers: range) -> Iterator[TouchingClip]:
    """The clips of the given numbers, made where the folder lacks them."""
    for number in numbers:
        file = folder / f"{number:02d}.npz"
        if not file.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            _write(_made(number), file)
        yield _read(file)


def _made(number: int) -> TouchingClip:
    kind, device = KINDS[number % len(KINDS)], torch.device("cpu")
    clip = _rendered(_SEED + number, kind)
    hand, camera = load_hand_model(), clip_camera(clip)
    network = choose_network("shipped", hand, device)
    footage = footage_of_frames(clip_frames(clip), FPS)
    run = Run(footage, camera, hand, device, network, TrackSettings(), SolveSettings(), None, _silent)
    shot = predict(run, initial_fit(run, refine(run, recover(run, track(run, detect(run))))))
    assert shot.tracks is not None and shot.predictions is not None
    return TouchingClip(
        kind,
        camera,
        clip.time_s.double().numpy(),
        shot.tracks,
        shot.predictions,
        clip.joints_cam_m.numpy(),
        clip.rotations.numpy(),
        clip.betas.numpy(),
        clip.present.numpy().astype(bool),
    )


def _silent(_stage: str, _done: int, _total: int) -> None:
    pass


def _rendered(seed: int, kind: str) -> SyntheticClip:
    settings, random = Settings(), Randomness(seed, torch.zeros(1, dtype=torch.int64))
    with torch.no_grad():
        kit = load_kit(torch.device("cpu"))
        time_s = torch.arange(FRAMES) / FPS
        open_s = (torch.arange(SUBFRAMES) - (SUBFRAMES - 1) / 2) / SUBFRAMES * 0.5 / FPS
        times_s = (time_s[:, None] + open_s).flatten()
        motion = _of_kind(kind, random, draw_motion(random, times_s, kit, settings), times_s)
        betas = random.normal("betas", 1, 10).clamp(-2, 2) + random.normal("betas of a side", 2, 10, std=0.1)
        fov_deg = random.uniform("fov", low=42, high=68)
        focal_px = SIZE_PX[0] / 2 / torch.tan(torch.deg2rad(fov_deg) / 2)
        K = pinhole(focal_px, torch.tensor([[SIZE_PX[0] / 2, SIZE_PX[1] / 2]]))[0]
        return _drawn(random, kit, motion, betas[0], K, time_s, settings)


def _drawn(
    random: Randomness,
    kit: Kit,
    motion: Motion,
    betas: torch.Tensor,
    K: torch.Tensor,
    time_s: torch.Tensor,
    settings: Settings,
) -> SyntheticClip:
    posed, gap_m = posed_motion(kit, motion, betas, FPS * SUBFRAMES)
    return render_motion(random, kit, posed, motion.bend, gap_m, K, time_s, SIZE_PX, settings)


def _of_kind(kind: str, random: Randomness, motion: Motion, times_s: torch.Tensor) -> Motion:
    """The drawn motion, changed to what the kind says."""
    middle = len(times_s) // 2
    together = {
        "distance_m": torch.zeros_like(motion.distance_m),
        "leave_m": torch.zeros_like(motion.leave_m),
    }
    met = {
        name: getattr(motion, name)[middle].expand_as(getattr(motion, name))
        for name in ("direction", "shift_m", "turns")
    }
    if kind == "rub":
        slide = 0.02 * torch.sin(2 * torch.pi * 1.5 * times_s)[:, None] * motion.turns[:, 1, :, 0]
        return replace(motion, **(met | together | {"shift_m": met["shift_m"] + slide}))
    if kind == "held":
        return replace(motion, **(met | together))
    if kind == "still":
        still = {
            f.name: getattr(motion, f.name)[middle].expand_as(getattr(motion, f.name)) for f in fields(Motion)
        }
        return replace(motion, **(still | together))
    if kind.startswith("cross"):
        low, high = (0.01, 0.04) if kind == "cross near" else (0.10, 0.25)
        way = torch.linspace(-1, 1, len(times_s))[:, None] * torch.tensor([0.22, 0.0, 0.0])
        in_front = 1.0 if bool(random.chance("left in front", 0.5)) else -1.0
        deep = torch.tensor([0.0, 0.0, in_front]).expand_as(motion.direction)
        apart = random.uniform("crossing distance", low=low, high=high).expand_as(motion.distance_m)
        return replace(motion, direction=deep, shift_m=way, distance_m=apart, leave_m=together["leave_m"])
    return motion


def _write(clip: TouchingClip, file: Path) -> None:
    arrays = {
        "kind": np.array(clip.kind),
        "K": clip.camera.K,
        **{name: getattr(clip, name) for name in ("time_s", "joints_m", "rotations", "betas", "present")},
        **{f"tracks.{name}": value for name, value in vars(clip.tracks).items()},
        **{f"predictions.{name}": value for name, value in vars(clip.predictions).items()},
    }
    np.savez_compressed(file, **arrays)


def _read(file: Path) -> TouchingClip:
    with np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}

    def part(prefix: str) -> dict[str, NDArray[np.generic]]:
        return {n.removeprefix(prefix): v for n, v in arrays.items() if n.startswith(prefix)}

    return TouchingClip(
        str(arrays["kind"]),
        camera_from_intrinsics(SIZE_PX, arrays["K"]),
        arrays["time_s"],
        HandTracks(**part("tracks.")),  # type: ignore[arg-type]
        TwoHandPredictions(**part("predictions.")),  # type: ignore[arg-type]
        *(arrays[name] for name in ("joints_m", "rotations", "betas", "present")),
    )
