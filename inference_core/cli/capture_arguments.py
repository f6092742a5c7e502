# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a capture as arguments of the command line, shared by `duohand reconstruct` and `duohand batch`."""

import argparse
from typing import Any


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds the settings."""
    parser.add_argument(
        "--frames",
        metavar="A:B:STEP",
        default="",
        help="frames A up to but excluding B; or A-B, as farms write it, including B",
    )
    parser.add_argument("--fps", type=float, help="frame rate of a picture sequence (default: 24)")
    parser.add_argument(
        "--proxy",
        metavar="auto|none|P.mp4",
        default="auto",
        help="movie of the processed frames, for Blender's plate (default: only if needed)",
    )
    add_limits(parser)
    lens = parser.add_argument_group("lens (default: 60 degrees across the wider side)")
    lens.add_argument("--fov", type=float, metavar="DEG", help="field of view across the wider side")
    lens.add_argument("--focal-mm", type=float, metavar="F", help="focal length, with --sensor-mm")
    lens.add_argument("--sensor-mm", type=float, metavar="S", help="wider side of the sensor as filmed")
    lens.add_argument(
        "--camera-path",
        metavar="FILE",
        help="a moving camera's poses: T_world_cam (frames, 4, 4), .json or .npz",
    )
    parser.add_argument(
        "--hand-length-mm",
        type=float,
        metavar="MM",
        help="from the wrist crease to the middle fingertip (default: the population's mean, accurate to about 5 %%)",
    )
    parser.add_argument(
        "--hands",
        choices=("both", "left", "right"),
        default="both",
        help="which hands are captured (default: both)",
    )
    parser.add_argument("--mano", metavar="DIR", help="your MANO files (folder or zip) for the open hand")
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="what the networks run on (default: a GPU if there is one)",
    )
    parser.add_argument(
        "--smooth",
        type=float,
        default=0.5,
        metavar="0..1",
        help="0: every frame by itself, 1: as smooth as possible (default: 0.5)",
    )
    parser.add_argument(
        "--network",
        default="auto",
        metavar="auto|none|shipped|PATH",
        help="the two-hand network; auto (default): the shipped one, if its card marks it as good enough",
    )


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Adds the limits on the footage."""
    limits = parser.add_argument_group("limits on the footage, checked before memory is allocated")
    limits.add_argument("--max-pixels", type=int, metavar="N", help="of a picture (default: 64 million)")
    limits.add_argument("--max-frames", type=int, metavar="N", help="of a movie (default: 1 million)")


def settings(parsed: argparse.Namespace) -> dict[str, Any]:
    """The parsed settings, as fields of a CaptureRequest."""
    return {
        "frames": parsed.frames,
        "fps": parsed.fps,
        "fov_deg": parsed.fov,
        "focal_mm": parsed.focal_mm,
        "sensor_mm": parsed.sensor_mm,
        "hand_length_mm": parsed.hand_length_mm,
        "camera_path": parsed.camera_path,
        "hands": parsed.hands,
        "mano": parsed.mano,
        "device": parsed.device,
        "smooth": parsed.smooth,
        "network": parsed.network,
        "proxy": parsed.proxy,
        "max_pixels": parsed.max_pixels,
        "max_frames": parsed.max_frames,
    }
