# SPDX-License-Identifier: GPL-3.0-or-later
"""The body behind a pair of hands: how it holds them with relaxed wrists, and the viewpoint.

Body axes: x to its right, y up, z backwards, origin at the pair. Elbows are beside the trunk, behind the hands.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.geometry.rotations import exp, quaternion_to_matrix
from inference_core.shared.skeleton import LEFT, RIGHT
from training.synthetic.randomness import Randomness
from training.synthetic.spheres import ARM_M, arm_line_m

FACING, OWN_EYES, ANY_VIEW = 0, 1, 2
# Of the pairs that are not seen by their owner, those that are seen from in front.
_FACING_SHARE = 0.64
_HOLDS, _EASIEST = 240, 8
# Forearms this deep in the other hand count as much as wrists bent to their limits.
_GIVE_M = 0.004
# Comfortable wrist angles, radians: towards palm or back, towards the thumb's and the little finger's side.
_BEND_RAD, _TO_THUMB_RAD, _TO_PINKY_RAD = 0.75, 0.3, 0.5


@dataclass(frozen=True)
class Held:
    """turn (N, 3, 3): from the pair's frame to the body's; bend (N, S, 3, 3): see meshes.with_forearms."""

    turn: Tensor
    bend: Tensor


def held_at_ease(
    random: Randomness, turns: Tensor, wrist_m: Tensor, bends: Tensor, centres_m: Tensor, radius_m: Tensor
) -> Held:
    """How a body holds hands with rotations (N, S, 3, 3) and wrists at (N, S, 3) in the pair's frame.

    One of the most relaxed of many trials whose forearms do not intersect the other hand and arm. bends (N, S): how
    far each wrist may bend, as a share; centres_m (N, S, K, 3), radius_m (K,): spheres of the hands.
    """
    device = turns.device
    tries = quaternion_to_matrix(random.normal("hold", _HOLDS, 4)).to(device)
    elbow_m = _elbows_m(random).to(device)
    places_m = (wrist_m - wrist_m.mean(1, keepdim=True))[:, None] @ tries.mT
    forearm = F.normalize(elbow_m[:, None] - places_m, dim=-1)
    # In each hand's rest frame: (N, T, S, 3).
    in_hand = (forearm[..., None, :] @ (tries[:, :, None] @ turns[:, None]))[..., 0, :]
    luck = -random.uniform("hold luck", _HOLDS).log().neg().log().to(device)
    ease, number = (luck * 0.12 - _toil(in_hand, bends[:, None]).sum(-1)).topk(_EASIEST, 1)
    row = torch.arange(len(number), device=device)
    bend = _bend(in_hand[row[:, None], number], bends[:, None])
    best = (ease - _depth_m(turns, wrist_m, bend, centres_m, radius_m) / _GIVE_M).argmax(1)
    return Held(tries[row, number[row, best]], bend[row, best])


def _depth_m(turns: Tensor, wrist_m: Tensor, bend: Tensor, centres_m: Tensor, radius_m: Tensor) -> Tensor:
    """(N, T) how deep forearms bent by (N, T, S, 3, 3) are inside the other hand or forearm, 0 if outside."""
    along_m, arm_radius_m = torch.tensor(ARM_M[1:], device=turns.device).unbind(1)
    right_m = arm_line_m(along_m)
    rest_m = torch.stack([right_m * right_m.new_tensor([-1.0, 1.0, 1.0]), right_m])
    arms_m = wrist_m[:, None, :, None] + rest_m @ (turns[:, None] @ bend).mT
    left, right = arms_m.unbind(2)
    reach = arm_radius_m[:, None] + torch.cat([arm_radius_m, radius_m])
    deepest = torch.zeros_like(left[..., 0, 0])
    for arm, other, hand in ((left, right, centres_m[:, RIGHT]), (right, left, centres_m[:, LEFT])):
        spheres = torch.cat([other, hand[:, None].expand(-1, arm.shape[1], -1, -1)], 2)
        deepest = torch.maximum(deepest, (reach - torch.cdist(arm, spheres)).flatten(2).amax(2))
    return deepest


def draw_view(random: Randomness, own_eyes: float) -> Tensor:
    """(N,) from where pairs are seen; own_eyes: the share seen by their owner."""
    facing = _FACING_SHARE * (1 - own_eyes)
    return random.choice("view", (facing, own_eyes, 1 - own_eyes - facing))


def camera_turn(random: Randomness, view: Tensor) -> Tensor:
    """(N, 3, 3) from the body's axes to those of the camera, which looks at the pair; view (N,)."""
    eyes = random.normal("eyes at", 3) * torch.tensor([0.28, 0.28, 0.25]) + torch.tensor([0.0, 0.8, 0.75])
    before = random.normal("camera at", 3) * torch.tensor([0.6, 0.45, 0.3]) + torch.tensor([0.0, 0.25, -1.0])
    anywhere = random.normal("camera anywhere", 3)
    at = torch.where(
        (view == OWN_EYES)[:, None], eyes, torch.where((view == FACING)[:, None], before, anywhere)
    )
    backward = F.normalize(at, dim=-1)
    # For eyes that look straight down, the body's front is at the top of the picture, not the sky.
    up = torch.tensor([0.0, 1.0, -0.6]) * torch.where(view == FACING, 0.0, 1.0)[:, None]
    up = up + torch.tensor([0.0, 1.0, 0.0]) + random.normal("camera roll", 3, std=0.12)
    right = F.normalize(torch.linalg.cross(up, backward, dim=-1), dim=-1)
    down = -torch.linalg.cross(backward, right, dim=-1)
    return torch.stack([right, down, -backward], 1)


def _elbows_m(random: Randomness) -> Tensor:
    """(N, S, 3): both beside the trunk, or raised."""
    raised = random.uniform("elbows raised", 1, 1)
    beside = torch.lerp(torch.tensor([0.17, -0.20, 0.16]), torch.tensor([0.36, -0.03, 0.10]), raised)
    mean = beside * torch.tensor([[-1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    common = random.normal("elbows", 1, 3) * torch.tensor([0.03, 0.05, 0.06])
    return mean + common + random.normal("elbow", 2, 3, std=0.045)


def _angles(in_hand: Tensor) -> tuple[Tensor, Tensor]:
    """From forearms (..., S, 3) in the rest frame: the wrist's bend towards the back and
    towards the thumb's side, radians.
    """
    outward = in_hand[..., 0] * in_hand.new_tensor([-1.0, 1.0])
    level = (outward.square() + in_hand[..., 2].square()).sqrt()
    rest = arm_line_m(in_hand.new_ones(1))[0]
    to_back = torch.atan2(in_hand[..., 1], level) - torch.atan2(rest[1], rest[0])
    return to_back, torch.atan2(in_hand[..., 2], outward) - torch.atan2(rest[2], rest[0])


def _toil(in_hand: Tensor, bends: Tensor) -> Tensor:
    back, thumb = _angles(in_hand)
    side = torch.where(thumb > 0, _TO_THUMB_RAD, _TO_PINKY_RAD)
    return ((back / _BEND_RAD).square() + (thumb / side).square()) / bends.square()


def _bend(in_hand: Tensor, bends: Tensor) -> Tensor:
    """(N, S, 3, 3) rotations that take straight forearms to their directions, as far as wrists allow."""
    back, thumb = _angles(in_hand)
    back = torch.maximum(torch.minimum(back, bends), -bends)
    thumb = torch.maximum(torch.minimum(thumb, 0.45 * bends), -0.65 * bends)
    sign = in_hand.new_tensor([-1.0, 1.0])
    zero = torch.zeros_like(back)
    # The forearm leaves along x on the right hand and -x on the left; y is the back, z the thumb's side.
    up = exp(torch.stack([zero, zero, back * sign], -1))
    aside = exp(torch.stack([zero, -thumb * sign, zero], -1))
    return aside @ up
