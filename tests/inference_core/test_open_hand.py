# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled open hand: its sides, mesh and joints, and its deformation."""

import numpy as np
import pytest
import torch

from inference_core.geometry.mirror import mirror
from inference_core.geometry.rotations import exp
from inference_core.hand_model.anatomy import FLEXION, SPREAD
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import OPEN_HAND_FILE, load_open_hand
from inference_core.shared.skeleton import LEFT, RIGHT

SIDES = [LEFT, RIGHT]
LONG_FIRST = [0, 3, 6, 9]


@pytest.fixture(scope="module")
def hand() -> HandModel:
    return load_open_hand(torch.float64)


def posed(hand: HandModel, angles: torch.Tensor, betas: torch.Tensor | None = None):
    """Both hands at rest at the origin with finger angles (15, 3)."""
    fingers = hand.rotations_from_angles(angles.expand(2, 15, 3))
    wrist = torch.eye(3, dtype=torch.float64).expand(2, 1, 3, 3)
    shape = torch.zeros(2, 10, dtype=torch.float64) if betas is None else betas
    return hand.with_shape(shape).with_pose(torch.cat([wrist, fingers], 1))


def volume_cm3(vertices: torch.Tensor, faces: torch.Tensor) -> float:
    """Volume enclosed by a mesh whose one hole (the cut wrist) is closed by a fan around its centre."""
    edges = {tuple(edge) for pair in ([0, 1], [1, 2], [2, 0]) for edge in faces[:, pair].tolist()}
    open_edges = [edge for edge in edges if edge[::-1] not in edges]
    ring = vertices[[a for a, _ in open_edges]].mean(0)
    centred = vertices - ring
    first, second, third = centred[faces].unbind(1)
    return float((first * torch.linalg.cross(second, third, dim=-1)).sum() / 6 * 1e6)


def test_the_file_is_small() -> None:
    assert OPEN_HAND_FILE.stat().st_size < 1.5e6


def test_the_left_hand_is_the_exact_mirror_image(hand: HandModel) -> None:
    assert torch.equal(hand.template_m[LEFT], mirror(hand.template_m[RIGHT], "point"))
    assert torch.equal(hand.skin_weights[LEFT], hand.skin_weights[RIGHT])
    assert torch.equal(hand.joint_axes[LEFT], mirror(hand.joint_axes[RIGHT], "axes"))
    assert torch.equal(hand.landmark_offsets[LEFT], mirror(hand.landmark_offsets[RIGHT], "point"))
    assert torch.equal(
        hand.hands_mean[LEFT].view(15, 3), mirror(hand.hands_mean[RIGHT].view(15, 3), "rotation_vector")
    )


@pytest.mark.parametrize("side", SIDES)
def test_normals_point_outwards_and_only_the_wrist_is_open(hand: HandModel, side: int) -> None:
    faces = hand.faces[side].numpy()
    edges = np.concatenate([faces[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
    directed = {tuple(edge) for edge in edges.tolist()}
    assert len(directed) == len(edges), "an edge is wound the same way twice"
    border = [edge for edge in directed if edge[::-1] not in directed]
    assert len(border) == 20
    rim = hand.template_m[side, [a for a, _ in border]]
    assert (rim[:, 0].abs() > hand.rest_joints_m[side, 0, 0].abs() + 0.02).all(), (
        "the stub ends beyond the wrist joint"
    )
    assert 250 < volume_cm3(hand.template_m[side], hand.faces[side]) < 550


@pytest.mark.parametrize("side", SIDES)
def test_every_joint_lies_inside_the_skin(hand: HandModel, side: int) -> None:
    vertices, faces = hand.template_m[side], hand.faces[side]
    corners = vertices[faces]
    for joint in hand.rest_joints_m[side]:
        a, b, c = (corners - joint).unbind(1)
        lengths = [part.norm(dim=-1) for part in (a, b, c)]
        top = (a * torch.linalg.cross(b, c, dim=-1)).sum(-1)
        bottom = lengths[0] * lengths[1] * lengths[2]
        bottom = (
            bottom
            + (a * b).sum(-1) * lengths[2]
            + (b * c).sum(-1) * lengths[0]
            + (c * a).sum(-1) * lengths[1]
        )
        solid_angle = float((2 * torch.atan2(top, bottom)).sum())
        # The open wrist takes an eighth of the view from the wrist joint.
        assert solid_angle / (4 * np.pi) > 0.85, joint


def test_regressor_and_weights_are_convex(hand: HandModel) -> None:
    for array in (hand.joint_regressor, hand.skin_weights):
        assert (array >= 0).all()
        assert (array.sum(-1) - 1).abs().max() < 1e-12


def test_the_hand_has_an_adults_size(hand: HandModel) -> None:
    shaped = hand.with_shape(torch.zeros(2, 10, dtype=torch.float64))
    length = (shaped.rest_tips_m[RIGHT, 2] - shaped.rest_joints_m[RIGHT, 0]).norm()
    assert 0.175 < length < 0.195


def test_each_beta_changes_the_hand_plausibly(hand: HandModel) -> None:
    for k in range(10):
        for amount in (-3.0, 3.0):
            betas = torch.zeros(2, 10, dtype=torch.float64)
            betas[:, k] = amount
            vertices = hand.with_shape(betas).rest_vertices_m[RIGHT]
            assert (vertices - hand.template_m[RIGHT]).norm(dim=-1).max() > 0.0005
            assert (
                0.4
                < volume_cm3(vertices, hand.faces[RIGHT])
                / volume_cm3(hand.template_m[RIGHT], hand.faces[RIGHT])
                < 2
            )


@pytest.mark.parametrize("side", SIDES)
def test_flexion_bends_towards_the_palm_and_spread_towards_the_thumb(hand: HandModel, side: int) -> None:
    rest = posed(hand, torch.zeros(15, 3, dtype=torch.float64)).joints21_m[side]
    tips = [8, 12, 20, 16]
    angles = torch.zeros(15, 3, dtype=torch.float64)
    angles[LONG_FIRST, FLEXION] = 0.3
    assert (posed(hand, angles).joints21_m[side, tips] - rest[tips])[:, 1].max() < -0.01
    angles = torch.zeros(15, 3, dtype=torch.float64)
    angles[LONG_FIRST, SPREAD] = 0.2
    assert (posed(hand, angles).joints21_m[side, tips] - rest[tips])[:, 2].min() > 0.005
    angles = torch.zeros(15, 3, dtype=torch.float64)
    angles[[12, 13, 14], FLEXION] = 0.4
    before = (rest[4] - rest[17]).norm()
    assert (
        posed(hand, angles).joints21_m[side, 4] - posed(hand, angles).joints21_m[side, 17]
    ).norm() < before - 0.01


def test_a_fist_keeps_its_volume_and_raises_its_knuckles(hand: HandModel) -> None:
    angles = torch.zeros(15, 3, dtype=torch.float64)
    angles[0:12, FLEXION] = torch.tensor([1.45, 1.7, 1.0] * 4, dtype=torch.float64)
    rest = volume_cm3(hand.template_m[RIGHT], hand.faces[RIGHT])
    fist = posed(hand, angles)
    # The folds at the palm take the rest; linear skinning alone keeps 0.88, dual quaternions 0.89.
    assert volume_cm3(fist.vertices_m[RIGHT], hand.faces[RIGHT]) == pytest.approx(rest, rel=0.10)
    knuckles = hand.rest_joints_m[RIGHT, [1, 4, 7, 10]]
    ridge = fist.vertices_m[RIGHT, :, 1].max()
    assert ridge > knuckles[:, 1].max() + 0.010


def test_the_relaxed_pose_and_its_components_stay_within_the_limits_of_a_hand(hand: HandModel) -> None:
    relaxed = hand.angles_from_rotations(exp(hand.hands_mean.view(2, 15, 3)))
    low, high = hand.joint_limits_rad[..., 0], hand.joint_limits_rad[..., 1]
    assert ((relaxed >= low - 1e-6) & (relaxed <= high + 1e-6)).all()
    identity = torch.eye(45, dtype=torch.float64)
    assert (hand.hands_components @ hand.hands_components.mT - identity).abs().max() < 1e-5


def test_texture_coordinates_lie_in_the_unit_square_without_overlap(hand: HandModel) -> None:
    assert hand.uvs is not None
    assert hand.uvs.shape == (2, hand.faces.shape[1], 3, 2)
    assert 0 <= hand.uvs.min() < 0.01
    assert 0.99 < hand.uvs.max() <= 1
    a, b, c = hand.uvs[RIGHT].unbind(1)
    area = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    assert 0.2 < float(area.abs().sum()) < 1
    assert (area.sign() == area.sign().mode().values).double().mean() > 0.99
