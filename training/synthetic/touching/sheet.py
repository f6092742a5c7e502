# SPDX-License-Identifier: GPL-3.0-or-later
"""Contact sheets: some pairs of each way of touching, seen from three sides, as rendered for training.

    python -m training generate contact-sheet OUT --pairs 4

writes a picture for every way, or for those named by --way.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.geometry.rotations import exp
from training.synthetic.generate import Kit, as_bytes, assembled, draw, load_kit
from training.synthetic.lens import draw_lens
from training.synthetic.meshes import with_forearms
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.shading import draw_lights
from training.synthetic.skin import draw_appearance
from training.synthetic.things import no_things
from training.synthetic.touching.pairs import TouchingPairs, touching_pairs
from training.synthetic.touching.ways import WAYS
from training.synthetic.view import pinhole

_SIZE_PX = 224
_TURNS_DEG = (0.0, 90.0, 180.0)
_DISTANCE_M, _FOCAL = 0.55, 2.0


def way_sheet(number: int, pairs: int, seed: int, device: torch.device) -> NDArray[np.uint8]:
    """RGB picture of some pairs of a way, one pair per column, seen as drawn and rotated by 90 and 180 degrees."""
    with torch.no_grad():
        kit = load_kit(device)
        random = Randomness(seed, torch.arange(pairs) + 1000 * number)
        betas = random.normal("betas", 1, 10).clamp(-2, 2).expand(-1, 2, -1).to(device)
        way = torch.full((pairs,), number)
        pair = touching_pairs(random, kit.model, kit.spheres, betas, way)
        rows = [_seen(random, kit, betas, pair, turn) for turn in _TURNS_DEG]
    sheet = torch.cat([torch.cat(list(row), 2) for row in rows], 1)
    return np.ascontiguousarray(sheet.permute(1, 2, 0).cpu().numpy())


def write_sheets(
    out: Path, pairs: int, seed: int, device: torch.device, names: list[str] | None = None
) -> None:
    """Write one picture per way into the folder `out`, named after it."""
    out.mkdir(parents=True, exist_ok=True)
    for number, way in enumerate(WAYS):
        if names is None or way.name in names:
            sheet = way_sheet(number, pairs, seed, device)
            cv2.putText(sheet, way.name, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
            cv2.imwrite(str(out / f"{way.name.replace(' ', '_')}.jpg"), sheet[:, :, ::-1])


def _seen(random: Randomness, kit: Kit, betas: Tensor, pair: TouchingPairs, turn_deg: float) -> Tensor:
    """(B, 3, N, N) uint8 pictures of the pairs, rotated about the vertical axis."""
    device = betas.device
    about = exp(torch.tensor([0.0, turn_deg * torch.pi / 180, 0.0], device=device))
    fingers = kit.model.rotations_from_angles(pair.angles_rad)
    rotations = torch.cat([(about @ pair.turns)[:, :, None], fingers], 2)
    shaped = kit.model.with_shape(betas)
    wrist_m = pair.wrist_m @ about.mT
    skin_m = shaped.with_pose(rotations, wrist_m).vertices_m.flatten(1, 2)
    middle_m = (skin_m.amin(1) + skin_m.amax(1)) / 2
    away_m = torch.tensor([0.0, 0.0, _DISTANCE_M], device=device)
    posed = shaped.with_pose(rotations, wrist_m + (away_m - middle_m)[:, None])
    batch = random.batch
    K = pinhole(torch.full((batch,), _FOCAL * _SIZE_PX), torch.full((batch, 2), _SIZE_PX / 2)).to(device)
    things_m, there = no_things(kit.mesh, batch)
    both = torch.ones(batch, 2, dtype=torch.bool, device=device)
    arms_m = with_forearms(kit.mesh, posed, pair.bend)
    scene = assembled(kit, posed, both, pair.gap_m, arms_m, things_m, there, K)
    plain = Settings(size_px=_SIZE_PX, clean=True, sleeves=0.0)
    background = torch.full((batch, 3, _SIZE_PX, _SIZE_PX), 0.32, device=device)
    lights, lens = draw_lights(random, plain).to(device), draw_lens(random, plain).to(device)
    appearance = draw_appearance(random, plain).to(device)
    return as_bytes(draw(kit, scene, appearance, lights, lens, background, plain.supersample).image)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("out", type=Path)
    parser.add_argument("--pairs", type=int, default=4, help="pairs per way of touching")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--way",
        action="append",
        choices=[way.name for way in WAYS],
        help="only this way of touching; repeatable",
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    write_sheets(options.out, options.pairs, options.seed, torch.device("cpu"), options.way)
