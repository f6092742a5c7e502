# SPDX-License-Identifier: GPL-3.0-or-later
"""The network's input from landmarks: the first guess, missing values, the heat maps."""

import dataclasses

import pytest
import torch
from torch import Tensor

from inference_core.geometry import rotations as so3
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_open_hand
from inference_core.two_hand.conditioning_input import first_guess, heat_maps
from inference_core.two_hand.hand_parameters import absolute_numbers, corrected_numbers, posed_hands
from inference_core.two_hand.records import Conditioning

HAND = load_open_hand().tensors()
B = 16


@pytest.fixture(scope="module")
def truth() -> tuple[Conditioning, Tensor, Tensor]:
    """Perfect landmarks of hands in possible poses, seen in weak perspective; their 21 joints and roots."""
    torch.manual_seed(1)
    angles = (torch.rand(B, 2, 15, 3) - 0.5) * 0.6 + torch.tensor([0.5, 0, 0])
    angles[..., 2] = 0  # a bone's direction says nothing of its twist
    angles = angles.clamp(HAND.joint_limits_rad[..., 0], HAND.joint_limits_rad[..., 1])
    root = so3.exp(torch.randn(B, 2, 3))
    rotations = torch.cat([root[:, :, None], HAND.rotations_from_angles(angles)], 2)
    posed = HAND.with_shape(torch.zeros(B, 2, 10)).with_pose(rotations, torch.zeros(B, 2, 3))
    landmarks = posed.landmarks21_m
    scale, shift = 4 + torch.rand(B, 2, 1, 1), torch.rand(B, 2, 1, 2) - 0.5
    ones = torch.ones(B, 2)
    conditioning = Conditioning(
        scale * landmarks[..., :2] + shift,
        torch.ones(B, 2, 21),
        landmarks - landmarks[:, :, :1],
        ones,
        ones,
        torch.full((B,), 4.0),
    )
    return conditioning, posed.joints21_m, root


def test_the_first_guess_of_perfect_landmarks_is_nearly_the_truth(
    truth: tuple[Conditioning, Tensor, Tensor],
) -> None:
    conditioning, joints_m, root = truth
    guess = first_guess(conditioning, HAND)
    stage = posed_hands(guess, HAND, "angles", vertices=False)
    assert (stage.joints_m - joints_m).norm(dim=-1).mean() < 2e-3
    assert so3.geodesic_angle(guess.root_rotation, root).max() < 0.04, (
        "knuckle landmarks move with the fingers"
    )
    assert (stage.joints_uv - conditioning.landmarks_uv).norm(dim=-1).mean() < 0.05


def test_the_first_guess_rotates_with_the_landmarks(truth: tuple[Conditioning, Tensor, Tensor]) -> None:
    conditioning, _, _ = truth
    turn = so3.exp(torch.tensor([0.0, 0.0, 0.7]))
    turned = dataclasses.replace(
        conditioning,
        world_rel_m=conditioning.world_rel_m @ turn.mT,
        landmarks_uv=conditioning.landmarks_uv @ turn[:2, :2].mT,
    )
    before, after = first_guess(conditioning, HAND), first_guess(turned, HAND)
    torch.testing.assert_close(after.root_rotation, turn @ before.root_rotation, atol=1e-5, rtol=0)
    torch.testing.assert_close(after.pose, before.pose, atol=1e-4, rtol=0)
    torch.testing.assert_close(after.camera[..., 0], before.camera[..., 0])


@pytest.mark.parametrize("lost", ["all", "left", "finger", "palm"])
def test_missing_landmarks_give_a_finite_plausible_guess(
    truth: tuple[Conditioning, Tensor, Tensor], lost: str
) -> None:
    conditioning, _, _ = truth
    score, hand_score = conditioning.landmark_score.clone(), conditioning.hand_score.clone()
    if lost == "all":
        score, hand_score = torch.zeros_like(score), torch.zeros_like(hand_score)
    elif lost == "left":
        score[:, 0], hand_score[:, 0] = 0, 0
    else:
        score[:, 0, 6 : 9 if lost == "finger" else 18] = 0
    known = (score > 0)[..., None]
    partial = Conditioning(
        conditioning.landmarks_uv * known,
        score,
        conditioning.world_rel_m * known,
        hand_score,
        hand_score,
        conditioning.focal_uv,
    )
    guess, whole = first_guess(partial, HAND), first_guess(conditioning, HAND)
    for value in vars(guess).values():
        assert bool(torch.isfinite(value).all())
    torch.testing.assert_close(guess.root_rotation.det(), torch.ones(B, 2))
    if lost != "all":
        torch.testing.assert_close(guess.pose[:, 1], whole.pose[:, 1])


def test_corrections_rotate_about_the_hands_own_axes() -> None:
    torch.manual_seed(2)
    start = absolute_numbers(torch.randn(3, 2, 64), torch.randn(3, 3))
    same = corrected_numbers(start, torch.zeros(3, 2, 64), torch.zeros(3, 3))
    for name, value in vars(start).items():
        if name != "parameters":
            torch.testing.assert_close(getattr(same, name), value, atol=1e-6, rtol=1e-6)
    correction = torch.zeros(3, 2, 64)
    correction[..., :6] = torch.tensor([-1.0, 1, 0, -1, -1, 0])  # with the identity: a quarter turn about z
    turned = corrected_numbers(start, correction, torch.zeros(3, 3))
    quarter = so3.exp(torch.tensor([0, 0, torch.pi / 2]))
    torch.testing.assert_close(turned.root_rotation, start.root_rotation @ quarter, atol=1e-5, rtol=0)


def test_a_heat_map_peaks_at_its_landmark_with_its_score() -> None:
    uv = torch.zeros(1, 2, 21, 2)
    uv[0, 0, 3] = torch.tensor([-1 + 2 * 10.5 / 64, -1 + 2 * 40.5 / 64])
    scores = torch.zeros(1, 2, 21)
    scores[0, 0, 3] = 0.7
    maps = heat_maps(uv, scores, 64)
    assert maps[0, 0, 3].argmax() == 40 * 64 + 10
    torch.testing.assert_close(maps[0, 0, 3, 40, 10], torch.tensor(0.7))
    assert maps.sum() == pytest.approx(0.7 * 2 * torch.pi, rel=0.01)


def test_the_guess_works_with_any_hand_model(truth: tuple[Conditioning, Tensor, Tensor]) -> None:
    conditioning, _, _ = truth
    bigger: HandModel = dataclasses.replace(HAND, template_m=HAND.template_m * 1.2)
    guess = first_guess(conditioning, bigger)
    torch.testing.assert_close(
        guess.root_rotation, first_guess(conditioning, HAND).root_rotation, atol=1e-4, rtol=0
    )
