# SPDX-License-Identifier: GPL-3.0-or-later
"""Stills of pairs of hands with their forearms, rendered to be searched as footage is."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.geometry.camera import Camera, camera_from_intrinsics
from inference_core.geometry.projection import project_pinhole
from training.synthetic.generate import Kit, as_bytes, assembled, draw
from training.synthetic.lens import Lens
from training.synthetic.meshes import with_forearms
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.shading import draw_lights
from training.synthetic.skin import draw_appearance
from training.synthetic.things import no_things
from training.synthetic.touching.pairs import TouchingPairs
from training.synthetic.view import pinhole

WIDTH_PX, HEIGHT_PX = 640, 480


@dataclass(frozen=True)
class Still:
    """image (H, W, 3) RGB; K (3, 3) of the camera that took it; shown (S,) bool: which hands are there; joints_px
    (S, 21, 2): where both truly are, or would be.
    """

    image: NDArray[np.uint8]
    K: NDArray[np.float64]
    shown: NDArray[np.bool_]
    joints_px: NDArray[np.float64]

    @property
    def lengths_px(self) -> NDArray[np.float64]:
        """(S,) diagonals of the hands' boxes."""
        return np.linalg.norm(np.ptp(self.joints_px, axis=1), axis=-1)

    @property
    def camera(self) -> Camera:
        """The one that took it."""
        return camera_from_intrinsics((WIDTH_PX, HEIGHT_PX), self.K)


def camera_with(fov_deg: Tensor) -> Tensor:
    """(B, 3, 3) of cameras with horizontal fields of view (B,)."""
    focal_px = WIDTH_PX / 2 / torch.tan(torch.deg2rad(fov_deg / 2))
    return pinhole(focal_px, torch.tensor([[WIDTH_PX / 2, HEIGHT_PX / 2]]).expand(len(focal_px), 2))


def extent_m(kit: Kit, pair: TouchingPairs, betas: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 3) lowest and highest place of the skin of the hands shown (B, S)."""
    skin_m = kit.model.with_shape(betas).with_pose(pair.rotations(kit.model), pair.wrist_m).vertices_m
    hidden = ~shown[:, :, None, None]
    low_m = skin_m.masked_fill(hidden, torch.inf).flatten(1, 2).amin(1)
    return low_m, skin_m.masked_fill(hidden, -torch.inf).flatten(1, 2).amax(1)


def rendered(
    random: Randomness,
    kit: Kit,
    pair: TouchingPairs,
    betas: Tensor,
    shift_m: Tensor,
    shown: Tensor,
    K: Tensor,
    lens: Lens,
    background: Tensor,
    settings: Settings,
) -> Iterator[Still]:
    """The pairs, moved by shift_m (B, 3), over backgrounds (B, 3, H, W)."""
    rotations, wrist_m = pair.rotations(kit.model), pair.wrist_m + shift_m[:, None]
    posed = kit.model.with_shape(betas).with_pose(rotations, wrist_m)
    arms_m = with_forearms(kit.mesh, posed, pair.bend)
    scene = assembled(kit, posed, shown, pair.gap_m, arms_m, *no_things(kit.mesh, random.batch), K)
    appearance, lights = draw_appearance(random, settings), draw_lights(random, settings)
    image = draw(kit, scene, appearance, lights, lens, background, settings.supersample).image
    images = as_bytes(image).permute(0, 2, 3, 1).contiguous().numpy()
    joints_px = project_pinhole(posed.joints21_m.double(), K[:, None].double()).numpy()
    for row in zip(images, K.double().numpy(), shown.numpy(), joints_px, strict=True):
        yield Still(*row)
