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

from inference_core.chosen_network import choose_network
from inference_core.geometry.camera import Camera, camera_from_intrinsics
from inference_core.hand_model.load import load_hand_model
from inference_core.shared.skeleton import LEFT, RIGHT
from training.evaluation.hands_drawn import write_sheet
from training.evaluation.marked_stills import captured_px
from training.evaluation.real import PLACED, hands_px_of, projected_px
from training.evaluation.report import table_text
from training.synthetic.generate import Kit, as_bytes, assembled, draw, load_kit
from training.synthetic.lens import draw_lens
from training.synthetic.meshes import with_forearms
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.shading import draw_lights
from training.synthetic.skin import draw_appearance
from training.synthetic.things import no_things
from training.synthetic.touching.pairs import touching_pairs
from training.synthetic.touching.ways import WAYS
from training.synthetic.two_hands import draw_betas
from training.synthetic.view import pinhole

WIDTH_PX, HEIGHT_PX = 640, 480
# Seeds distinct from those of training and all other evaluations.
_SEED = 980_000_000
_FOV_DEG = 50.0
# The pair's share of the picture's height; the brightness of the background.
_FILL, _DARK = (0.55, 0.85), (0.01, 0.12)
_STILLS_AT_ONCE = 8
# A hand is found if its joints are on average within this share of its box's diagonal.
_FOUND = 0.25

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Still:
    """image (H, W, 3) RGB; K (3, 3); joints_px (S, 21, 2) as they truly are."""

    image: NDArray[np.uint8]
    K: Floats
    joints_px: Floats

    @property
    def lengths_px(self) -> Floats:
        """(S,) diagonals of the hands' boxes."""
        return np.linalg.norm(np.ptp(self.joints_px, axis=1), axis=-1)

    @property
    def camera(self) -> Camera:
        """The one that took it."""
        return camera_from_intrinsics((WIDTH_PX, HEIGHT_PX), self.K)

    def judged(self, points_px: Floats) -> FoundHands:
        """Hands at points_px (S, 21, 2), NaN if none, compared with the truth."""
        apart = np.linalg.norm(points_px[:, None] - self.joints_px, axis=-1) / self.lengths_px[:, None]
        straight, crossed = apart[[LEFT, RIGHT], [LEFT, RIGHT]], apart[[LEFT, RIGHT], [RIGHT, LEFT]]
        right = np.nan_to_num(straight.mean(-1).sum(), nan=np.inf) <= np.nan_to_num(
            crossed.mean(-1).sum(), nan=np.inf
        )
        there = (straight if right else crossed).mean(-1) < _FOUND
        return FoundHands(bool(there.all()), bool(right), straight[:, 0] < PLACED, 100 * straight.mean(-1))


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
    kit = load_kit(torch.device("cpu"))
    for start in range(0, count, _STILLS_AT_ONCE):
        numbers = torch.arange(start, min(start + _STILLS_AT_ONCE, count))
        with torch.no_grad():
            yield from _rendered(Randomness(_SEED + 1000 * way, numbers), kit, way)


def _rendered(random: Randomness, kit: Kit, way: int) -> Iterator[Still]:
    device, batch = kit.mesh.faces.device, random.batch
    betas = draw_betas(random).to(device)
    pair = touching_pairs(random, kit.model, kit.spheres, betas, torch.full((batch,), way))
    rotations = pair.rotations(kit.model)
    shaped = kit.model.with_shape(betas)
    skin_m = shaped.with_pose(rotations, pair.wrist_m).vertices_m.flatten(1, 2)
    low_m, high_m = skin_m.amin(1), skin_m.amax(1)
    focal_px = torch.full((batch,), WIDTH_PX / 2 / np.tan(np.deg2rad(_FOV_DEG / 2)))
    fill = random.uniform("fill", low=_FILL[0], high=_FILL[1]).to(device)
    extent_m = (high_m - low_m)[:, :2].amax(1)
    depth_m = focal_px.to(device) * extent_m / (fill * HEIGHT_PX)
    away_m = torch.stack([torch.zeros_like(depth_m), torch.zeros_like(depth_m), depth_m], -1)
    posed = shaped.with_pose(rotations, pair.wrist_m + (away_m - (low_m + high_m) / 2)[:, None])
    K = pinhole(focal_px, torch.tensor([[WIDTH_PX / 2, HEIGHT_PX / 2]]).expand(batch, 2)).to(device)
    things_m, there = no_things(kit.mesh, batch)
    both = torch.ones(batch, 2, dtype=torch.bool, device=device)
    scene = assembled(
        kit, posed, both, pair.gap_m, with_forearms(kit.mesh, posed, pair.bend), things_m, there, K
    )
    settings = Settings(motion_blur=0.0)
    lights, lens = draw_lights(random, settings).to(device), draw_lens(random, settings).to(device)
    dark = random.uniform("background", 3, 1, 1, low=_DARK[0], high=_DARK[1]).to(device)
    background = dark.expand(batch, 3, HEIGHT_PX, WIDTH_PX)
    appearance = draw_appearance(random, settings).to(device)
    drawn = draw(kit, scene, appearance, lights, lens, background, settings.supersample)
    images = as_bytes(drawn.image).permute(0, 2, 3, 1).cpu().numpy()
    joints_m, lenses = posed.joints21_m.cpu().double().numpy(), K.cpu().double().numpy()
    for row in range(batch):
        yield Still(
            np.ascontiguousarray(images[row]),
            lenses[row],
            projected_px(joints_m[row : row + 1], lenses[row])[0],
        )


def way_row(stills: Sequence[Still], found: Sequence[Floats]) -> dict[str, float]:
    """One way's row of the table, from the hands found in each of its stills."""
    judged = [still.judged(points) for still, points in zip(stills, found, strict=True)]
    both = [one for one in judged if one.both]
    right = [one for one in both if one.sides]

    def percent(share: float, of: int) -> float:
        return 100 * share / of if of else float("nan")

    return {
        "both %": percent(len(both), len(judged)),
        "sides %": percent(len(right), len(both)),
        "wrists %": percent(sum(one.wrists.mean() for one in judged), len(judged)),
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
