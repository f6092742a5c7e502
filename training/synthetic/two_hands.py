# SPDX-License-Identifier: GPL-3.0-or-later
"""The two hands of a picture, independent of a camera: shape, fingers, positions, forearms, held things."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from inference_core.geometry.rotations import exp
from inference_core.hand_model.hand import HandModel, PosedHands, ShapedHands
from training.synthetic.grips import Grips, close_grips
from training.synthetic.pairs import place_hands
from training.synthetic.poses import sample_angles_rad
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.spheres import Spheres
from training.synthetic.taken_poses import taken_angles_rad
from training.synthetic.touching.pairs import touching_pairs

_BEND_RAD = (0.35, 0.18, 0.22)


@dataclass(frozen=True)
class TwoHands:
    """B pairs, turned as the camera sees them; the right wrist lies at the origin.

    rotations (B, S, 16, 3, 3) and wrist_m (B, S, 3): see ShapedHands.with_pose; bend (B, S, 3, 3) of the forearms;
    view (B,): FACING, OWN_EYES or ANY_VIEW; way (B,): number of the way of touching, -1 for none; gap_m (B,): between
    the hands' collision spheres; grips: what they hold.
    """

    shaped: ShapedHands
    rotations: Tensor
    wrist_m: Tensor
    bend: Tensor
    view: Tensor
    way: Tensor
    gap_m: Tensor
    grips: Grips

    def posed(self, shift_m: Tensor) -> PosedHands:
        """The hands, moved by (B, 3)."""
        return self.shaped.with_pose(self.rotations, self.wrist_m + shift_m[:, None])


def draw_betas(random: Randomness, most: float = 2.0) -> Tensor:
    """(B, S, 10) shapes on the CPU, limited to `most`; left and right are nearly alike."""
    return random.normal("betas", 1, 10).clamp(-most, most) + random.normal("betas of a side", 2, 10, std=0.1)


def draw_two_hands(
    random: Randomness,
    model: HandModel,
    spheres: Spheres,
    present: Tensor,
    settings: Settings,
    device: torch.device,
) -> TwoHands:
    """Pairs for pictures with both hands (present (B, S), on the CPU).

    Some touch, in the share given by the settings; the others are apart, near, or around a thing.
    """
    betas = draw_betas(random, 2.5)
    shaped = model.with_shape(betas.to(device))
    touches = random.chance("touches", settings.touching) & present.all(1)
    angles = draw_angles_rad(random, model, settings).to(device)
    loose = present & ~touches[:, None]
    grips, angles = close_grips(random, model, spheres, shaped.betas, angles, loose, settings)
    fingers = model.rotations_from_angles(angles)
    placed = place_hands(random, shaped, fingers, spheres, settings)
    bend = exp(random.normal("wrist bend", 2, 3) * torch.tensor(_BEND_RAD)).to(device)
    hands = TwoHands(
        shaped=shaped,
        rotations=torch.cat([placed.rotations[:, :, None], fingers], 2),
        wrist_m=placed.wrist_m,
        bend=bend,
        view=placed.view.to(device),
        way=torch.full((random.batch,), -1, device=device),
        gap_m=torch.where(present.all(1).to(device), placed.gap_m, torch.inf),
        grips=grips,
    )
    rows = touches.nonzero()[:, 0]
    return _with_touching(hands, random, rows, spheres, settings) if len(rows) else hands


def draw_angles_rad(random: Randomness, model: HandModel, settings: Settings) -> Tensor:
    """Finger angles (B, S, 15, 3) on the CPU: drawn ones, and those of the settings' takes."""
    taken = None if settings.pose_folder is None else taken_angles_rad(Path(settings.pose_folder))
    limits = model.joint_limits_rad.cpu()
    return sample_angles_rad(random, limits, taken_rad=taken, taken_share=settings.pose_share)


def _with_touching(
    hands: TwoHands, random: Randomness, rows: Tensor, spheres: Spheres, settings: Settings
) -> TwoHands:
    """The pictures (N,) with touching pairs instead."""
    model, device = hands.shaped.model, hands.bend.device
    of_rows = Randomness(random.seed, random.index[rows])
    at = rows.to(device)
    pairs = touching_pairs(of_rows, model, spheres, hands.shaped.betas[at], settings=settings)
    changed = {
        "rotations": pairs.rotations(model),
        "wrist_m": pairs.wrist_m,
        "bend": pairs.bend,
        "view": pairs.view.to(device),
        "way": pairs.way.to(device),
        "gap_m": pairs.gap_m,
    }
    return replace(
        hands, **{name: getattr(hands, name).index_copy(0, at, value) for name, value in changed.items()}
    )
