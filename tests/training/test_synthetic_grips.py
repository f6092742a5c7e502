# SPDX-License-Identifier: GPL-3.0-or-later
"""Held things: fingers close around them and touch them, and nothing intersects."""

from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from torch import Tensor

from inference_core.geometry.rotations import exp
from inference_core.hand_model.hand import PosedHands
from training.synthetic.generate import generate, load_kit
from training.synthetic.grips import PRESSED_M, Grips, close_grips
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.spheres import sphere_centres
from training.synthetic.things import BALL, BOX, CUP, PEN, Things
from training.synthetic.two_hands import draw_angles_rad

KIT = load_kit(torch.device("cpu"))
COUNT = 96
HOLDING = Settings(held_thing=1.0, loose_thing=0.0, one_hand=0.0, no_hand=0.0)
ALL_PRESENT = torch.ones(COUNT, 2, dtype=torch.bool)


@lru_cache(maxsize=1)
def drawn() -> tuple[Grips, Tensor, Tensor, Tensor]:
    """Grips of COUNT pictures, angles before and after, and the hands' shapes."""
    random = Randomness(3, torch.arange(COUNT))
    betas = random.normal("betas", 2, 10).clamp(-2, 2)
    before = draw_angles_rad(random, KIT.model, HOLDING)
    grips, after = close_grips(random, KIT.model, KIT.spheres, betas, before, ALL_PRESENT, HOLDING)
    return grips, before, after, betas


def posed(angles: Tensor, betas: Tensor, wrist: Tensor, wrist_m: Tensor) -> PosedHands:
    fingers = KIT.model.rotations_from_angles(angles)
    return KIT.model.with_shape(betas).with_pose(torch.cat([wrist[:, :, None], fingers], 2), wrist_m)


def holding_room_m() -> Tensor:
    """(COUNT, K) room between the things and the spheres of the hands that hold them, somewhere in a camera."""
    grips, _, after, betas = drawn()
    random = Randomness(4, torch.arange(COUNT))
    hands = posed(after, betas, exp(random.normal("wrist", 2, 3)), random.normal("place", 2, 3))
    centres_m = sphere_centres(KIT.spheres, hands)[torch.arange(COUNT), grips.side]
    return grips.in_camera(hands).room_m(centres_m, KIT.spheres.radius_m)


def one_thing(kind: int, half_m: tuple[float, float, float], squareness: tuple[float, float]) -> Things:
    return Things(
        torch.tensor([kind]),
        torch.tensor([half_m]),
        torch.tensor([squareness]),
        torch.zeros(1, 3),
        torch.eye(3)[None],
    )


@pytest.mark.parametrize(
    ("thing", "place", "expected"),
    [
        (one_thing(BALL, (0.03, 0.03, 0.03), (1.0, 1.0)), (0.03, 0.04, 0.0), 0.02 - 0.005),
        (one_thing(BALL, (0.03, 0.03, 0.03), (1.0, 1.0)), (0.0, 0.0, 0.02), -0.01 - 0.005),
        (one_thing(BOX, (0.03, 0.02, 0.04), (0.15, 0.15)), (0.06, 0.06, 0.0), 0.05 - 0.005),
        (one_thing(BOX, (0.03, 0.02, 0.04), (0.15, 0.15)), (0.0, 0.015, 0.0), -0.005 - 0.005),
        (one_thing(CUP, (0.03, 0.03, 0.05), (1.0, 0.12)), (0.03, 0.04, 0.03), 0.02 - 0.005),
        (one_thing(CUP, (0.03, 0.03, 0.05), (1.0, 0.12)), (0.0, 0.0, 0.06), 0.01 - 0.005),
        (one_thing(PEN, (0.004, 0.004, 0.07), (1.0, 0.3)), (0.0, 0.014, 0.06), 0.01 - 0.005),
    ],
)
def test_clearance_is_the_distance_between_surfaces(
    thing: Things, place: tuple[float, float, float], expected: float
) -> None:
    turn, by_m = exp(torch.tensor([[0.3, -1.0, 0.5]])), torch.tensor([[0.1, 0.2, 0.7]])
    centre = (turn @ torch.tensor([place])[..., None])[..., 0] + by_m
    room_m = thing.moved(turn, by_m).room_m(centre[:, None], torch.tensor([0.005]))
    torch.testing.assert_close(room_m, torch.tensor([[expected]]), atol=1e-5, rtol=0)


def test_no_part_of_the_hand_intersects_the_held_object() -> None:
    assert drawn()[0].holds.all()
    assert holding_room_m().min() > -PRESSED_M - 1e-5


def test_fingers_close_until_they_touch() -> None:
    kind = drawn()[0].things.kind
    room_m, bone = holding_room_m(), KIT.spheres.bone
    finger = (bone - 1).div(3, rounding_mode="floor")
    touches = torch.stack([room_m[:, finger == number].amin(1) < 0.003 for number in range(5)], 1)
    assert touches.any(1).float().mean() > 0.9, "what nobody touches hangs in the air"
    about_cups = touches[kind == CUP].sum(1).float()
    assert len(about_cups) > 5 and about_cups.mean() > 3.5
    assert touches[kind == BOX].sum(1).float().mean() > 3
    assert touches[:, 4].float().mean() > 0.7, "a thumb holds against the fingers"


def test_only_the_holding_hand_closes_within_its_limits() -> None:
    grips, before, after, _ = drawn()
    rows = torch.arange(COUNT)
    assert torch.equal(before[rows, 1 - grips.side], after[rows, 1 - grips.side])
    assert not torch.isclose(before[rows, grips.side], after[rows, grips.side]).flatten(1).all(1).any()
    low, high = KIT.model.joint_limits_rad.unbind(-1)
    assert (after >= low - 1e-6).all() and (after <= high + 1e-6).all()


def test_absent_hands_hold_nothing() -> None:
    random = Randomness(3, torch.arange(COUNT))
    before = draw_angles_rad(random, KIT.model, HOLDING)
    present = torch.tensor([True, False]).expand(COUNT, 2)
    betas = torch.zeros(COUNT, 2, 10)
    grips, after = close_grips(random, KIT.model, KIT.spheres, betas, before, present, HOLDING)
    assert grips.holds.any() and (grips.side[grips.holds] == 0).all()
    assert torch.equal(before[~grips.holds], after[~grips.holds])


def test_objects_that_would_intersect_the_other_hand_are_left_out() -> None:
    grips, _, after, betas = drawn()
    wrist = torch.eye(3).expand(COUNT, 2, 3, 3)
    apart = torch.tensor([[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0]]).expand(COUNT, 2, 3)
    hands = posed(after, betas, wrist, apart)
    held = grips.in_camera(hands)
    assert grips.clear_of_other(held, hands, KIT.spheres, ALL_PRESENT).all()
    rows, other = torch.arange(COUNT), 1 - grips.side
    # The other hand's knuckles where the thing is.
    meant = held.at_m - hands.joints21_m[rows, other, 9]
    onto = apart.clone()
    onto[rows, other] += meant
    meeting = posed(after, betas, wrist, onto)
    held = grips.in_camera(meeting)
    assert not grips.clear_of_other(held, meeting, KIT.spheres, ALL_PRESENT).any()
    alone = ALL_PRESENT.clone()
    alone[rows, other] = False
    assert grips.clear_of_other(held, meeting, KIT.spheres, alone).all()


def test_a_picture_of_a_grip_does_not_depend_on_its_batch() -> None:
    settings = replace(HOLDING, size_px=64, backgrounds=2)
    together, alone = generate(5, 4, settings=settings), generate(5, 1, settings=settings, index=2)
    torch.testing.assert_close(alone.joints_cam_m[0], together.joints_cam_m[2], atol=1e-5, rtol=0)
