# SPDX-License-Identifier: GPL-3.0-or-later
"""Crops of the hands in rendered pictures: from a seed to rows with features and truth."""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.landmarks.formats import CROP_PX
from training.feature_cache.store import to_bytes
from training.hand_crops.early_features import Reader, early_features
from training.hand_crops.layers import Layers, render_layers
from training.hand_crops.pictures import draw_shots, taken
from training.hand_crops.scenes import build_hand_scene, draw_hand_appearance
from training.hand_crops.windows import Cuts, Windows, draw_cuts, tells, windows_of
from training.synthetic.generate import Kit
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.shading import draw_lights

# Pictures rendered at once; bounds memory.
_CHUNK = 24
# Hands with fewer visible pixels in their layer are left out.
_SEEN_PX = 600
# Numbers of a picture's crops: at most this many per side.
SIDES, MOST_CUTS = 2, 8
# Hands nearer than this touch.
TOUCHING_M = 0.003


@dataclass(frozen=True)
class CropRows:
    """N crops with their truth; every field has N first.

    features (112, 14, 14) 8-bit floats, as bytes. points (21, 2), world_m (21, 3), right: see the landmark head; side:
    the hand's own; picture: its number in the stream, cut: which crop of the hand; own_view: seen by its owner; gap_m:
    to the other hand, infinite without one; partner (21, 2): the other hand's landmarks in this crop, NaN if there is
    none, or next to nothing of it is seen.
    """

    features: Tensor
    points: Tensor
    world_m: Tensor
    right: Tensor
    side: Tensor
    picture: Tensor
    cut: Tensor
    own_view: Tensor
    gap_m: Tensor
    partner: Tensor

    def chosen(self, rows: Tensor) -> "CropRows":
        """Some of the rows."""
        return CropRows(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def joined(parts: list["CropRows"]) -> "CropRows":
        """One of several."""
        names = (field.name for field in fields(CropRows))
        return CropRows(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class Made:
    """Crops before their features are computed: images (N, CROP_PX, CROP_PX, 3) RGB, with
    a row each of cuts and windows.
    """

    images: NDArray[np.uint8]
    cuts: Cuts
    windows: Windows
    cut: Tensor
    own_view: Tensor
    gap_m: Tensor


def made_rows(
    kit: Kit, settings: Settings, seed: int, first: int, count: int, cuts: int, reader: Reader
) -> CropRows:
    """Rows of the hands in pictures number first ... of the stream `seed`, `cuts` crops of each hand."""
    parts: list[CropRows] = []
    for start in range(first, first + count, _CHUNK):
        numbers = torch.arange(start, min(start + _CHUNK, first + count))
        made = made_crops(kit, settings, seed, numbers, cuts)
        rows = CropRows(
            features=to_bytes(early_features(made.images, reader)),
            points=made.cuts.points,
            world_m=made.cuts.world_m,
            right=made.cuts.right,
            side=made.windows.side.to(torch.uint8),
            picture=numbers[made.windows.picture],
            cut=made.cut.to(torch.uint8),
            own_view=made.own_view,
            gap_m=made.gap_m,
            partner=made.cuts.partner,
        )
        parts.append(rows.chosen(tells(rows.points)))
    return CropRows.joined(parts)


def made_crops(kit: Kit, settings: Settings, seed: int, numbers: Tensor, cuts: int) -> Made:
    """`cuts` crops of each hand in pictures number `numbers` (B,) of the stream `seed`, hand by hand."""
    device = kit.mesh.faces.device
    random = Randomness(seed, numbers)
    with torch.inference_mode():
        scene = build_hand_scene(random, kit, settings)
        windows = windows_of(scene)
        appearance = draw_hand_appearance(random, settings).to(device)
        lights = draw_lights(random, settings).to(device)
        layers = render_layers(kit, scene, windows, appearance, lights)
        seen = (layers.part == windows.side.to(device)[:, None, None]).sum((1, 2)) >= _SEEN_PX
        beside = (layers.part == 1 - windows.side.to(device)[:, None, None]).sum((1, 2)) >= _SEEN_PX
        windows = replace(windows, partner=np.where(beside.cpu()[:, None, None], windows.partner, np.nan))
        chosen = seen.cpu().nonzero()[:, 0]
        layer = chosen.repeat_interleave(cuts)
        cut = torch.arange(cuts).repeat(len(chosen))
        windows = windows.rows(layer)
        index = (numbers[windows.picture] * SIDES + windows.side) * MOST_CUTS + cut
        of_cuts = Randomness(seed, index)
        placed = draw_cuts(of_cuts, windows)
        images = _taken(layers, layer, windows, placed, of_cuts, settings)
        return Made(
            images,
            placed,
            windows,
            cut,
            scene.seen_by.cpu()[windows.picture].bool(),
            scene.gap_m.cpu()[windows.picture],
        )


def _taken(
    layers: Layers, layer: Tensor, windows: Windows, cuts: Cuts, random: Randomness, settings: Settings
) -> NDArray[np.uint8]:
    shots = draw_shots(random, settings.backgrounds)
    rgba, depth_m = layers.rgba.cpu().numpy(), layers.depth_m.cpu().numpy()
    images = [
        taken(rgba[k], depth_m[k], windows.square[n], cuts.square[n], int(cuts.shown[n]), shots, n)
        for n, k in enumerate(layer.tolist())
    ]
    return np.stack(images) if images else np.zeros((0, CROP_PX, CROP_PX, 3), np.uint8)
