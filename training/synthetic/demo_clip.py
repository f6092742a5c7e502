# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled clip: two hands that greet the camera, meet at the fingertips and part, and their true motion.

    python -m training generate demo-clip inference_core/demo

writes two_hands.mp4 and two_hands_truth.npz. It is the demonstration's footage and the accuracy fixture.
"""

import argparse
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.geometry.rotations import exp, matrix_to_quaternion
from inference_core.shared.skeleton import RIGHT
from training.synthetic.curves import through_keys, turns_through_keys
from training.synthetic.generate import load_kit
from training.synthetic.pairs import turn_of
from training.synthetic.poses import gesture_angles_rad, within
from training.synthetic.randomness import Randomness
from training.synthetic.sequence import Motion, SyntheticClip, posed_motion, render_motion
from training.synthetic.settings import Settings
from training.synthetic.view import pinhole

SIZE_PX = (960, 540)
FPS, FRAMES, SUBFRAMES = 25, 100, 3
FOV_DEG = 52.0
MOVIE, TRUTH = "two_hands.mp4", "two_hands_truth.npz"
_SEED = 4
_SHUTTER = 0.4

# Seconds; gesture of the left and the right hand; where the right hand's fingers and back point (the left
# hand mirrors it); centimetres between the hands' skins; metres from the camera. The hands lean towards the
# camera, as hands held up before one do.
_KEYS = (
    (0.0, "relaxed", "relaxed", (0.30, -0.95, -0.40), (-0.2, 0.0, 1.0), 9.0, 0.60),
    (0.6, "spread", "relaxed", (0.15, -0.98, -0.40), (-0.3, 0.0, 1.0), 11.0, 0.58),
    (1.1, "flat", "flat", (0.25, -0.95, -0.40), (-0.4, 0.0, 0.9), 8.0, 0.56),
    (1.8, "flat", "flat", (0.55, -0.80, -0.45), (-0.5, -0.2, 0.8), 0.8, 0.55),
    (2.2, "flat", "flat", (0.57, -0.79, -0.45), (-0.5, -0.2, 0.8), 0.0, 0.55),
    (2.8, "point", "pinch", (0.35, -0.92, -0.40), (-0.4, -0.1, 0.9), 7.0, 0.57),
    (3.4, "two fingers", "grip", (0.20, -0.97, -0.40), (-0.3, 0.0, 1.0), 10.0, 0.60),
    (4.0, "relaxed", "relaxed", (0.30, -0.94, -0.40), (-0.3, 0.0, 1.0), 9.0, 0.62),
)
# Near the mean hand: a single camera cannot distinguish a larger hand from a nearer one.
_BETAS = (0.2, -0.3, 0.2, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def make_demo_clip() -> SyntheticClip:
    """The clip, the same every time."""
    random = Randomness(_SEED, torch.zeros(1, dtype=torch.int64))
    kit = load_kit(torch.device("cpu"))
    settings = Settings(backgrounds=8, supersample=2, sleeves=0.0)
    time_s = torch.arange(FRAMES) / FPS
    open_s = (torch.arange(SUBFRAMES) - (SUBFRAMES - 1) / 2) / SUBFRAMES * _SHUTTER / FPS
    motion = _motion((time_s[:, None] + open_s).flatten(), kit.model.joint_limits_rad)
    betas = torch.tensor([_BETAS]).expand(2, -1)
    focal_px = torch.tensor(SIZE_PX[0] / 2) / torch.tan(torch.deg2rad(torch.tensor(FOV_DEG)) / 2)
    K = pinhole(focal_px, torch.tensor(SIZE_PX) / 2)
    with torch.no_grad():
        posed, gap_m = posed_motion(kit, motion, betas, FPS * SUBFRAMES)
        return render_motion(random, kit, posed, motion.bend, gap_m, K, time_s, SIZE_PX, settings)


def write_demo_clip(clip: SyntheticClip, folder: Path) -> None:
    """Write the movie (H.264) and its truth (.npz, read by numpy without pickle) into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with av.open(str(folder / MOVIE), "w") as movie:
        stream = movie.add_stream("libx264", rate=FPS, options={"crf": "21", "preset": "veryslow"})
        stream.width, stream.height, stream.pix_fmt = *SIZE_PX, "yuv420p"
        for image in clip.frames.permute(0, 2, 3, 1).numpy():
            movie.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        movie.mux(stream.encode())
    quaternions = matrix_to_quaternion(clip.rotations)
    truth = {
        "time_s": clip.time_s,
        "K": clip.K,
        "size_px": torch.tensor(SIZE_PX),
        "betas": clip.betas,
        "root_wxyz": quaternions[:, :, 0],
        "pose_wxyz": quaternions[:, :, 1:],
        "wrist_cam_m": clip.wrist_cam_m,
        "joints_cam_m": clip.joints_cam_m,
        "landmarks_cam_m": clip.landmarks_cam_m,
        "visibility": clip.visibility,
        "gap_m": clip.gap_m,
    }
    np.savez_compressed(folder / TRUTH, **{name: value.numpy() for name, value in truth.items()})


def _motion(time_s: Tensor, limits_rad: Tensor) -> Motion:
    times, left, right, distal, dorsal, gap_cm, depth_m = zip(*_KEYS, strict=True)
    key_s = torch.tensor(times)
    angles = torch.stack([gesture_angles_rad(list(left)), gesture_angles_rad(list(right))], 1)
    side = torch.full((len(times),), RIGHT)
    right_turn = turn_of(torch.tensor(distal), torch.tensor(dorsal), side)
    flip = torch.tensor([-1.0, 1.0, 1.0])
    # No one's hands are exact mirror images of each other.
    uneven = exp(torch.tensor([[0.10, 0.0, -0.06]]) * torch.sin(key_s * 2.1 + 0.5)[:, None])
    turns = torch.stack([uneven @ (flip[:, None] * right_turn * flip), right_turn], 1)
    sway = torch.stack([0.012 * torch.sin(time_s * 1.9), 0.008 * torch.sin(time_s * 2.6 + 1)], -1)
    place = through_keys(key_s, torch.tensor(depth_m), time_s)
    count = len(time_s)
    shift_m = torch.stack([torch.zeros(count), 0.012 * torch.sin(time_s * 1.4), torch.zeros(count)], -1)
    return Motion(
        angles_rad=within(through_keys(key_s, angles, time_s), limits_rad),
        turns=turns_through_keys(key_s, turns, time_s),
        bend=exp(torch.tensor([[0.1, 0.05, 0.1], [0.15, -0.05, -0.1]])).expand(count, -1, -1, -1),
        direction=F.normalize(torch.tensor([[1.0, 0.03, 0.05]]), dim=-1).expand(count, -1),
        shift_m=shift_m,
        distance_m=through_keys(key_s, torch.tensor(gap_cm) / 100, time_s),
        leave_m=torch.zeros(count, 2, 3),
        centre_m=torch.cat([sway + torch.tensor([0.0, 0.015]), place[:, None]], 1),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("out", type=Path)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    write_demo_clip(make_demo_clip(), options.out)
