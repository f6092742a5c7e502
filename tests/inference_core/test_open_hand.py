# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled open hand: its sides, mesh and joints, and its deformation."""

import numpy as np
import pytest

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
    return load_open_hand()


def posed(hand: HandModel, angles: np.ndarray, betas: np.ndarray | None = None):
    """Both hands at rest at the origin with finger angles (15, 3)."""
    fingers = hand.rotations_from_angles(np.broadcast_to(angles, (2, 15, 3)))
    wrist = np.broadcast_to(np.eye(3), (2, 1, 3, 3))
    shape = np.zeros((2, 10)) if betas is None else betas
    return hand.with_shape(shape).with_pose(np.concatenate([wrist, fingers], 1))


def volume_cm3(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Volume enclosed by a mesh whose one hole (the cut wrist) is closed by a fan around its centre."""
    edges = {tuple(edge) for pair in ([0, 1], [1, 2], [2, 0]) for edge in faces[:, pair].tolist()}
    open_edges = [edge for edge in edges if edge[::-1] not in edges]
    ring = vertices[[a for a, _ in open_edges]].mean(0)
    centred = vertices - ring
    first, second, third = np.moveaxis(centred[faces], 1, 0)
    return float((first * np.cross(second, third)).sum() / 6 * 1e6)


def test_the_file_is_small() -> None:
    assert OPEN_HAND_FILE.stat().st_size < 1.5e6


def test_the_left_hand_is_the_exact_mirror_image(hand: HandModel) -> None:
    assert np.array_equal(hand.template_m[LEFT], mirror(hand.template_m[RIGHT], "point"))
    assert np.array_equal(hand.skin_weights[LEFT], hand.skin_weights[RIGHT])
    assert np.array_equal(hand.joint_axes[LEFT], mirror(hand.joint_axes[RIGHT], "axes"))
    assert np.array_equal(hand.landmark_offsets[LEFT], mirror(hand.landmark_offsets[RIGHT], "point"))
    assert np.array_equal(
        hand.hands_mean[LEFT].reshape(15, 3), mirror(hand.hands_mean[RIGHT].reshape(15, 3), "rotation_vector")
    )


@pytest.mark.parametrize("side", SIDES)
def test_normals_point_outwards_and_only_the_wrist_is_open(hand: HandModel, side: int) -> None:
    faces = hand.faces[side]
    edges = np.concatenate([faces[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
    directed = {tuple(edge) for edge in edges.tolist()}
    assert len(directed) == len(edges), "an edge is wound the same way twice"
    border = [edge for edge in directed if edge[::-1] not in directed]
    assert len(border) == 20
    rim = hand.template_m[side, [a for a, _ in border]]
    assert (np.abs(rim[:, 0]) > abs(hand.rest_joints_m[side, 0, 0]) + 0.02).all(), (
        "the stub ends beyond the wrist joint"
    )
    assert 250 < volume_cm3(hand.template_m[side], hand.faces[side]) < 550


@pytest.mark.parametrize("side", SIDES)
def test_every_joint_lies_inside_the_skin(hand: HandModel, side: int) -> None:
    vertices, faces = hand.template_m[side], hand.faces[side]
    corners = vertices[faces]
    for joint in hand.rest_joints_m[side]:
        a, b, c = np.moveaxis(corners - joint, 1, 0)
        lengths = [np.linalg.norm(part, axis=-1) for part in (a, b, c)]
        top = (a * np.cross(b, c)).sum(-1)
        bottom = lengths[0] * lengths[1] * lengths[2]
        bottom = (
            bottom
            + (a * b).sum(-1) * lengths[2]
            + (b * c).sum(-1) * lengths[0]
            + (c * a).sum(-1) * lengths[1]
        )
        solid_angle = float((2 * np.arctan2(top, bottom)).sum())
        # The open wrist takes an eighth of the view from the wrist joint.
        assert solid_angle / (4 * np.pi) > 0.85, joint


def test_regressor_and_weights_are_convex(hand: HandModel) -> None:
    for array in (hand.joint_regressor, hand.skin_weights):
        assert (array >= 0).all()
        assert np.abs(array.sum(-1) - 1).max() < 1e-12


def test_the_hand_has_an_adults_size(hand: HandModel) -> None:
    shaped = hand.with_shape(np.zeros((2, 10)))
    length = np.linalg.norm(shaped.rest_tips_m[RIGHT, 2] - shaped.rest_joints_m[RIGHT, 0])
    assert 0.175 < length < 0.195


def test_each_beta_changes_the_hand_plausibly(hand: HandModel) -> None:
    for k in range(10):
        for amount in (-3.0, 3.0):
            betas = np.zeros((2, 10))
            betas[:, k] = amount
            vertices = hand.with_shape(betas).rest_vertices_m[RIGHT]
            assert np.linalg.norm(vertices - hand.template_m[RIGHT], axis=-1).max() > 0.0005
            assert (
                0.4
                < volume_cm3(vertices, hand.faces[RIGHT])
                / volume_cm3(hand.template_m[RIGHT], hand.faces[RIGHT])
                < 2
            )


@pytest.mark.parametrize("side", SIDES)
def test_flexion_bends_towards_the_palm_and_spread_towards_the_thumb(hand: HandModel, side: int) -> None:
    rest = posed(hand, np.zeros((15, 3))).joints21_m[side]
    tips = [8, 12, 20, 16]
    angles = np.zeros((15, 3))
    angles[LONG_FIRST, FLEXION] = 0.3
    assert (posed(hand, angles).joints21_m[side, tips] - rest[tips])[:, 1].max() < -0.01
    angles = np.zeros((15, 3))
    angles[LONG_FIRST, SPREAD] = 0.2
    assert (posed(hand, angles).joints21_m[side, tips] - rest[tips])[:, 2].min() > 0.005
    angles = np.zeros((15, 3))
    angles[[12, 13, 14], FLEXION] = 0.4
    before = np.linalg.norm(rest[4] - rest[17])
    bent = posed(hand, angles).joints21_m[side]
    assert np.linalg.norm(bent[4] - bent[17]) < before - 0.01


def test_a_fist_keeps_its_volume_and_raises_its_knuckles(hand: HandModel) -> None:
    angles = np.zeros((15, 3))
    angles[0:12, FLEXION] = [1.45, 1.7, 1.0] * 4
    rest = volume_cm3(hand.template_m[RIGHT], hand.faces[RIGHT])
    fist = posed(hand, angles)
    # The folds at the palm take the rest; linear skinning alone keeps 0.88, dual quaternions 0.89.
    assert volume_cm3(fist.vertices_m[RIGHT], hand.faces[RIGHT]) == pytest.approx(rest, rel=0.10)
    knuckles = hand.rest_joints_m[RIGHT, [1, 4, 7, 10]]
    ridge = fist.vertices_m[RIGHT, :, 1].max()
    assert ridge > knuckles[:, 1].max() + 0.010


def test_the_relaxed_pose_and_its_components_stay_within_the_limits_of_a_hand(hand: HandModel) -> None:
    relaxed = hand.angles_from_rotations(exp(hand.hands_mean.reshape(2, 15, 3)))
    low, high = hand.joint_limits_rad[..., 0], hand.joint_limits_rad[..., 1]
    assert ((relaxed >= low - 1e-6) & (relaxed <= high + 1e-6)).all()
    products = hand.hands_components @ np.swapaxes(hand.hands_components, -1, -2)
    assert np.abs(products - np.eye(45)).max() < 1e-5


def test_texture_coordinates_lie_in_the_unit_square_without_overlap(hand: HandModel) -> None:
    assert hand.uvs is not None
    assert hand.uvs.shape == (2, hand.faces.shape[1], 3, 2)
    assert 0 <= hand.uvs.min() < 0.01
    assert 0.99 < hand.uvs.max() <= 1
    a, b, c = np.moveaxis(hand.uvs[RIGHT], 1, 0)
    area = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    assert 0.2 < np.abs(area).sum() < 1
    assert max((area > 0).mean(), (area < 0).mean()) > 0.99
