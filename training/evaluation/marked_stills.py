# SPDX-License-Identifier: GPL-3.0-or-later
"""Marked frames of real clips, each captured as a still of its own: found, sides, wrists, ghosts, by clip.

    python -m training evaluate marked --truth FILE --footage FOLDER [--every N] [--clip NAME]...
                                       [--single MOVIE]... [--seen FOLDER]

FILE holds the marked wrists of FOLDER/CLIP.mp4 (such as tests/data/touching_truth.json); of its frames with two hands,
every N-th one is captured, without the help of the frames around it. Of each --single movie, which shows one hand at
most, every N-th of the frames 0, 10, 20 ... is captured, and hands beyond the first are counted as ghosts. --seen saves
the stills with the detected hands drawn over.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference_core.chosen_network import choose_network
from inference_core.detection import detect
from inference_core.footage import open_footage
from inference_core.footage.records import Frame, footage_of_frames
from inference_core.geometry.camera import Camera, default_camera
from inference_core.hand_model.load import load_hand_model
from inference_core.run import ChosenNetwork
from inference_core.stages import read, recover, solve, track
from training.evaluation.clips import silent_run
from training.evaluation.hands_drawn import write_sheet
from training.evaluation.real import (
    Judgement,
    MarkedClip,
    add_truth,
    failures,
    judged,
    projected_px,
    read_truth,
    summarised,
)
from training.evaluation.report import table_text

# Of a clip that shows one hand at most.
_SINGLE_EVERY = 10

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]


def captured_px(image: Image, camera: Camera, network: ChosenNetwork | None) -> Floats:
    """(S, 21, 2) the joints of the hands that a capture of this single RGB image (H, W, 3) finds, NaN if none."""
    footage = footage_of_frames([Frame(0, 0.0, image)], 24.0)
    run = silent_run(footage, camera, load_hand_model(), network)
    solution = solve(run, read(run, recover(run, track(run, detect(run))))).solution
    assert solution is not None
    joints = np.asarray(solution.joints_cam_m, np.float64)
    return projected_px(np.where((solution.present > 0)[..., None, None], joints, np.nan), camera.K)[0]


def with_every(clip: MarkedClip, every: int) -> MarkedClip:
    """Every n-th of the clip's frames in which both wrists are marked."""
    rows = np.flatnonzero(np.isfinite(clip.wrists_px).all((-1, -2)))[::every]
    return clip.only(rows)


def ghosts_of_single(points_px: Floats) -> int:
    """How many of the hands (F, S, 21, 2) of stills of at most one hand are one too many."""
    return int((np.isfinite(points_px).all((-1, -2)).sum(-1) - 1).clip(0).sum())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_truth(parser)
    parser.add_argument(
        "--footage", type=Path, required=True, metavar="FOLDER", help="of the marked clips, CLIP.mp4"
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="capture every N-th of the frames (default: all)"
    )
    parser.add_argument("--clip", action="append", metavar="NAME", help="this clip only; may be repeated")
    parser.add_argument(
        "--single",
        type=Path,
        action="append",
        default=[],
        metavar="MOVIE",
        help="count the hands beyond the first in a movie of one hand; may be repeated",
    )
    parser.add_argument(
        "--seen", type=Path, metavar="FOLDER", help="save the stills with the detected hands drawn over"
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    network = choose_network("auto", load_hand_model(), "cpu")
    truth = {
        name: with_every(clip, options.every)
        for name, clip in read_truth(options.truth).items()
        if not options.clip or name in options.clip
    }
    stills = _Stills(network, options.seen)
    results = dict[str, Judgement]()
    for name, clip in truth.items():
        points_px = stills.captured(options.footage / f"{name}.mp4", clip.at.tolist(), clip.wrists_px)
        results[name] = judged(points_px, replace(clip, at=np.arange(len(clip.at))))
        print(*(f"{name} {line}" for line in failures(results[name], clip)), sep="\n", flush=True)
    if results:
        table = {name: summarised([one]) for name, one in results.items()}
        table["all"] = summarised(list(results.values()))
        print(table_text(table, f"{sum(len(one.both) for one in results.values())} frames, each as a still"))
    for movie in options.single:
        at = list(range(0, open_footage(movie).info.count, _SINGLE_EVERY * options.every))
        points_px = stills.captured(movie, at, np.full((len(at), 2, 2), np.nan))
        print(f"{movie.stem}: {ghosts_of_single(points_px)} ghosts in {len(at)} stills", flush=True)


@dataclass(frozen=True)
class _Stills:
    """How stills are captured, and the folder for what is seen in them."""

    network: ChosenNetwork | None
    seen: Path | None

    def captured(self, movie: Path, at: list[int], wrists_px: Floats) -> Floats:
        """(F, S, 21, 2) the hands in the movie's frames `at`. wrists_px (F, S, 2): the true ones, to be drawn."""
        footage = open_footage(movie)
        images = [frame.image for frame in footage.at(at) if frame.image is not None]
        camera = default_camera(footage.info.size_px)
        points_px = np.stack([captured_px(image, camera, self.network) for image in images])
        if self.seen is not None:
            write_sheet(self.seen / f"{movie.stem}.jpg", images, list(points_px), list(wrists_px))
        return points_px
