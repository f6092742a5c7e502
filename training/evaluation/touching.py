# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendered stills of touching hands, by way of touching: found, sides, wrists and joints, from single pictures.

    python -m training evaluate touching [--count 30] [--way NAME]... [--seen FOLDER] [--mediapipe]

Each still shows one pair against a dark background in studio light, with hands of 200 to 400 pixels, and is
captured end to end as a shot of one frame. Wrists are evaluated like marked ones (real); joints by the mean 2D
distance of a hand's 21 joints, in per cent of its box's diagonal, for hands on the right side. --seen saves the
stills with the detected hands drawn over.
"""

from __future__ import annotations

import argparse
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from inference_core.chosen_network import choose_network
from inference_core.hand_model.load import load_hand_model
from inference_core.shared.skeleton import LEFT, RIGHT
from training.evaluation.hands_drawn import write_sheet
from training.evaluation.marked_stills import captured_px
from training.evaluation.real import PLACED, hands_px_of
from training.evaluation.report import table_text
from training.synthetic.generate import load_kit
from training.synthetic.lens import draw_lens
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.touching.pairs import touching_pairs
from training.synthetic.touching.stills import (
    HEIGHT_PX,
    WIDTH_PX,
    Still,
    camera_with,
    extent_m,
    rendered,
)
from training.synthetic.touching.ways import WAYS
from training.synthetic.two_hands import draw_betas

# Seeds distinct from those of training and all other evaluations.
_SEED = 980_000_000
_FOV_DEG = 50.0
# The pair's share of the picture's height; the brightness of the background.
_FILL, _DARK = (0.55, 0.85), (0.01, 0.12)
_STILLS_AT_ONCE = 8
# A hand is found if its joints are on average within this share of its box's diagonal.
FOUND = 0.25

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FoundHands:
    """What was found in a still: both hands, joints within a share of each box's diagonal; on their sides (both, by all
    joints); wrists (S,) placed; errors (S,) of the joints, per cent of the diagonal, NaN where there is no hand.
    """

    both: bool
    sides: bool
    wrists: NDArray[np.bool_]
    errors: Floats


def stills_of(way: int, count: int) -> Iterator[Still]:
    """`count` stills of one way of touching, the same ones in every run."""
    for start in range(0, count, _STILLS_AT_ONCE):
        numbers = torch.arange(start, min(start + _STILLS_AT_ONCE, count))
        with torch.no_grad():
            yield from _rendered(Randomness(_SEED + 1000 * way, numbers), way)


def _rendered(random: Randomness, way: int) -> Iterator[Still]:
    batch, settings = random.batch, Settings(motion_blur=0.0)
    kit, betas = load_kit(torch.device("cpu")), draw_betas(random)
    pair = touching_pairs(random, kit.model, kit.spheres, betas, torch.full((batch,), way))
    both, K = torch.ones(batch, 2, dtype=torch.bool), camera_with(torch.full((batch,), _FOV_DEG))
    low_m, high_m = extent_m(kit, pair, betas, both)
    fill = random.uniform("fill", low=_FILL[0], high=_FILL[1])
    depth_m = K[:, 0, 0] * (high_m - low_m)[:, :2].amax(1) / (fill * HEIGHT_PX)
    shift_m = F.pad(depth_m[:, None], (2, 0)) - (low_m + high_m) / 2
    dark = random.uniform("background", 3, 1, 1, low=_DARK[0], high=_DARK[1])
    background = dark.expand(batch, 3, HEIGHT_PX, WIDTH_PX)
    lens = draw_lens(random, settings)
    yield from rendered(random, kit, pair, betas, shift_m, both, K, lens, background, settings)


def judged(still: Still, points_px: Floats) -> FoundHands:
    """Hands at points_px (S, 21, 2), NaN if none, compared with the truth."""
    apart = np.linalg.norm(points_px[:, None] - still.joints_px, axis=-1) / still.lengths_px[:, None]
    straight, crossed = apart[[LEFT, RIGHT], [LEFT, RIGHT]], apart[[LEFT, RIGHT], [RIGHT, LEFT]]
    right = np.nan_to_num(straight.mean(-1).sum(), nan=np.inf) <= np.nan_to_num(
        crossed.mean(-1).sum(), nan=np.inf
    )
    there = (straight if right else crossed).mean(-1) < FOUND
    return FoundHands(bool(there.all()), bool(right), straight[:, 0] < PLACED, 100 * straight.mean(-1))


def way_row(stills: Sequence[Still], found: Sequence[Floats]) -> dict[str, float]:
    """One way's row of the table, from the hands found in each of its stills."""
    found_hands = [judged(still, points) for still, points in zip(stills, found, strict=True)]
    both = [one for one in found_hands if one.both]
    right = [one for one in both if one.sides]

    def percent(share: float, of: int) -> float:
        return 100 * share / of if of else float("nan")

    return {
        "both %": percent(len(both), len(found_hands)),
        "sides %": percent(len(right), len(both)),
        "wrists %": percent(sum(one.wrists.mean() for one in found_hands), len(found_hands)),
        "joints % of box": float(np.mean([one.errors for one in right])) if right else float("nan"),
    }


def mediapipe_px(still: Still, hands: Any) -> Floats:
    """(S, 21, 2) the hands that MediaPipe Hands finds in the still, NaN if none."""
    return hands_px_of(hands.process(still.image), WIDTH_PX, HEIGHT_PX)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--count", type=int, default=30, help="stills per way of touching")
    parser.add_argument(
        "--way",
        action="append",
        choices=[way.name for way in WAYS],
        help="only this way of touching; repeatable",
    )
    parser.add_argument(
        "--seen", type=Path, metavar="FOLDER", help="folder for the stills with what was found"
    )
    parser.add_argument("--mediapipe", action="store_true", help="also evaluate MediaPipe Hands")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    network = choose_network("auto", load_hand_model(), "cpu")
    tables: dict[str, dict[str, dict[str, float]]] = {"capture": {}}
    everything: dict[str, tuple[list[Still], list[Floats]]] = {}
    with _peer(options.mediapipe) as peer:
        for number, way in enumerate(WAYS):
            if options.way and way.name not in options.way:
                continue
            stills = list(stills_of(number, options.count))
            found = {"capture": [captured_px(still.image, still.camera, network) for still in stills]}
            if peer is not None:
                found["mediapipe"] = [mediapipe_px(still, peer) for still in stills]
            for method, points in found.items():
                tables.setdefault(method, {})[way.name] = way_row(stills, points)
                held = everything.setdefault(method, ([], []))
                held[0].extend(stills)
                held[1].extend(points)
            if options.seen is not None:
                write_sheet(
                    options.seen / f"{way.name.replace(' ', '_')}.jpg",
                    [still.image for still in stills],
                    found["capture"],
                    [still.joints_px[:, 0] for still in stills],
                )
            print(way.name, {name: round(value, 1) for name, value in tables["capture"][way.name].items()})
    for method, table in tables.items():
        table["all"] = way_row(*everything[method])
        print(table_text(table, f"{method}: {options.count} rendered stills of each way of touching"))


@contextmanager
def _peer(wanted: bool) -> Generator[Any]:
    """MediaPipe Hands for single pictures, if requested."""
    if not wanted:
        yield None
        return
    from mediapipe.python.solutions import hands as peer

    with peer.Hands(static_image_mode=True, max_num_hands=2) as hands:
        yield hands
