# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands that are small in the picture: clips shrunk into an even picture of 1280x720, against the clips as they are.

python -m benchmarks.small_hands CLIP... [--hands 35 50 75] [--frames 60] [--network none]

A hand of the take of the whole clip is found if the small clip's take, or MediaPipe in the same frames, has one of its
side within a quarter of its diagonal.
"""

import argparse
import os
import tempfile
from pathlib import Path

import cv2
import mediapipe
import numpy as np
from numpy.typing import NDArray

from inference_core.footage import FrameRange, open_footage
from inference_core.pipeline import reconstruct
from inference_core.shared.messages import CaptureRequest
from inference_core.shared.presence import ABSENT
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.shared.take import Take
from tests.inference_core.movies import write_small

_WITHIN = 0.25
_AT = (100, 60)

Floats = NDArray[np.float64]


def main() -> None:
    """Print a row per clip and size of hand."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument(
        "--hands", type=float, nargs="+", default=[35.0, 50.0, 75.0], help="diagonals, pixels"
    )
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--network", default="auto")
    options = parser.parse_args()
    os.environ.setdefault("GLOG_minloglevel", "3")
    print("| clip | hand | hands | found | on the other side | MediaPipe found |\n|---|---|---|---|---|---|")
    for clip in options.clips:
        with tempfile.TemporaryDirectory() as folder:
            whole = _captured(clip, Path(folder), options)
            points_px = whole.landmarks_px[..., :2].astype(np.float64)
            hand_px = np.nanmedian(_diagonal(points_px)[whole.present != ABSENT])
            for wanted_px in options.hands:
                height = round(whole.size_px[1] * wanted_px / hand_px)
                movie = write_small(Path(folder) / "small.mp4", clip, range(options.frames), height, _AT)
                true_px = points_px * height / whole.size_px[1] + _AT
                small = _captured(movie, Path(folder), options)
                ours_px = small.landmarks_px[..., :2].astype(np.float64)
                there, found, other = _compared(true_px, ours_px[: len(true_px)])
                _, theirs, _ = _compared(true_px, _mediapipe(movie, len(true_px)))
                shares = " | ".join(f"{100 * n / there:.0f} %" for n in (found, other, theirs))
                print(f"| {clip.stem} | {wanted_px:.0f} px | {there} | {shares} |", flush=True)


def _captured(clip: Path, folder: Path, options: argparse.Namespace) -> Take:
    out = str(folder / "take.npz")
    return reconstruct(CaptureRequest(str(clip), out, frames=f"0:{options.frames}", network=options.network))


def _compared(true_px: Floats, found_px: Floats) -> tuple[int, int, int]:
    """Hands there, found, and found on the other side only; landmarks (T, S, 21, 2), NaN where there is none."""
    size_px = _diagonal(true_px)
    own, other = (
        np.linalg.norm(found_px[:, order] - true_px, axis=-1).mean(-1) < _WITHIN * size_px
        for order in ([LEFT, RIGHT], [RIGHT, LEFT])
    )
    return int(np.isfinite(size_px).sum()), int(own.sum()), int((other & ~own).sum())


def _diagonal(points_px: Floats) -> Floats:
    return np.linalg.norm(np.ptp(points_px, axis=-2), axis=-1)


def _mediapipe(movie: Path, count: int) -> Floats:
    """(T, S, 21, 2) landmarks by MediaPipe Hands, which expects mirrored pictures."""
    out = np.full((count, 2, 21, 2), np.nan)
    with mediapipe.solutions.hands.Hands(max_num_hands=2) as hands:
        for at, frame in enumerate(open_footage(movie, FrameRange(0, count))):
            assert frame.image is not None
            mirrored = hands.process(cv2.flip(frame.image, 1))
            found = zip(mirrored.multi_hand_landmarks or (), mirrored.multi_handedness or (), strict=True)
            for hand, side in found:
                points = np.array([[1 - point.x, point.y] for point in hand.landmark])
                is_right = side.classification[0].label == "Right"
                out[at, RIGHT if is_right else LEFT] = points * frame.image.shape[1::-1]
    return out


if __name__ == "__main__":
    main()
