# SPDX-License-Identifier: GPL-3.0-or-later
"""Synthetic clips of hands that rub, rest on each other, part, stay near, cross and leave, and what is found in them.

Rendering a clip and finding its hands takes some twenty seconds, solving it half a second: so all that the solve
is given is kept in a folder beside the truth, and solved again from there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.fitting.settings import SolveSettings
from inference_core.footage.records import footage_of_frames
from inference_core.geometry.camera import Camera, camera_from_intrinsics
from inference_core.hand_model.hand import HandModel, PosedHands
from inference_core.hand_model.load import load_hand_model
from inference_core.stages import (
    Run,
    choose_network,
    detect,
    read,
    recover,
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
from training.synthetic.touching.motion import touching_motion
from training.synthetic.touching.pairs import TouchingPairs
from training.synthetic.touching.ways import WAYS
from training.synthetic.view import pinhole

# Hands that touch all along and rub or knead; that rest so; that part and meet; that stay near, but apart; that cross;
# and what the generator draws: they come, meet, part and leave.
KINDS = ("rub", "still", "part", "near", "cross", "meet")
FRAMES, FPS, SIZE_PX, SUBFRAMES = 32, 25.0, (640, 360), 1
# Ways of touching from which the left hand leaves without passing through the right one.
_OPEN_WAYS = (
    "prayer", "clap", "palms rubbed", "steeple", "tips in palm", "edge on palm", "hand in palm", "back rubbed",
    "backs together", "fist in palm", "knuckles together", "all tips", "index tips", "middle tips", "counts index",
)  # fmt: skip
# No forearm belongs to the hand model: how wrists are grasped cannot be judged by it.
_HANDS_WAYS = [number for number, way in enumerate(WAYS) if "wrist" not in way.name]
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
    shot = read(run, recover(run, track(run, detect(run))))
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
        betas = random.normal("betas", 1, 10).clamp(-2, 2) + random.normal("betas of a side", 2, 10, std=0.1)
        fov_deg = random.uniform("fov", low=42, high=68)
        focal_px = SIZE_PX[0] / 2 / torch.tan(torch.deg2rad(fov_deg) / 2)
        K = pinhole(focal_px, torch.tensor([[SIZE_PX[0] / 2, SIZE_PX[1] / 2]]))[0]
        if kind in ("cross", "meet"):
            motion = draw_motion(random, times_s, kit, settings)
            motion = _crossing(random, motion) if kind == "cross" else motion
            posed, gap_m = posed_motion(kit, motion, betas[0], FPS * SUBFRAMES)
            bend = motion.bend
        else:
            posed, bend, gap_m = _touching(random, kit, betas, times_s - times_s[0], kind)
        return render_motion(random, kit, posed, bend, gap_m, K, time_s, SIZE_PX, settings)


def _touching(
    random: Randomness, kit: Kit, betas: torch.Tensor, times_s: torch.Tensor, kind: str
) -> tuple[PosedHands, torch.Tensor, torch.Tensor]:
    """A pair in one of the ways of touching, moved as the kind says: posed, the forearms' bend, the gap."""
    ways = [number for number in _HANDS_WAYS if kind in ("rub", "still") or WAYS[number].name in _OPEN_WAYS]
    way = torch.tensor([ways[int(random.integers("way of the clip", len(ways)))]])
    pair = touching_motion(random, kit.model, kit.spheres, betas, times_s, way)
    if kind == "still":
        pair = TouchingPairs(**{name: value[:1].expand_as(value) for name, value in vars(pair).items()})
    rotations = torch.cat([pair.turns[:, :, None], kit.model.rotations_from_angles(pair.angles_rad)], 2)
    shaped = kit.model.with_shape(betas.expand(len(times_s), -1, -1))
    middles_m = shaped.with_pose(rotations, pair.wrist_m).joints21_m.mean(2)
    away = torch.nn.functional.normalize(middles_m[:, 0] - middles_m[:, 1], dim=-1)
    apart_m = _apart_m(random, times_s, kind)
    wrist_m = torch.stack([pair.wrist_m[:, 0] + apart_m[:, None] * away, pair.wrist_m[:, 1]], 1)
    depth_m = random.uniform("depth", low=0.4, high=0.85)
    at_m = torch.cat([random.normal("centre", 2, std=0.03)[0], depth_m])
    return (
        shaped.with_pose(rotations, wrist_m + at_m - middles_m.mean((0, 1))),
        pair.bend,
        pair.gap_m + apart_m,
    )


def _apart_m(random: Randomness, times_s: torch.Tensor, kind: str) -> torch.Tensor:
    """(T,) how far the left hand is moved away from where it touches."""
    if kind == "part":
        way = (torch.sin(torch.pi * times_s / times_s[-1]) - 0.3).clamp(min=0) / 0.7
        return random.uniform("parts", low=0.06, high=0.15) * way.square() * (3 - 2 * way)
    if kind == "near":
        swing = 1 + 0.3 * torch.sin(2 * torch.pi * times_s)
        return random.uniform("stays off", low=0.02, high=0.06) * swing
    return torch.zeros_like(times_s)


def _crossing(random: Randomness, motion: Motion) -> Motion:
    """One hand passes before the other."""
    way = torch.linspace(-1, 1, len(motion.turns))[:, None] * torch.tensor([0.22, 0.0, 0.0])
    in_front = 1.0 if bool(random.chance("left in front", 0.5)) else -1.0
    deep = torch.tensor([0.0, 0.0, in_front]).expand_as(motion.direction)
    apart = random.uniform("crossing distance", low=0.02, high=0.25).expand_as(motion.distance_m)
    return replace(
        motion, direction=deep, shift_m=way, distance_m=apart, leave_m=torch.zeros_like(motion.leave_m)
    )


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
