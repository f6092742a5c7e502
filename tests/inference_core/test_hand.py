# SPDX-License-Identifier: GPL-3.0-or-later
"""The hand model: smplx as its peer, and laws of joints, tips, skin and sides."""

from pathlib import Path

import numpy as np
import pytest
import smplx
import torch
from smplx.utils import Struct

from inference_core.geometry.mirror import mirror
from inference_core.geometry.rotations import exp
from inference_core.hand_model.hand import HandModel, build_hand_model
from inference_core.hand_model.load import load_hand_model, load_open_hand
from inference_core.hand_model.mano_file import read_mano_arrays
from inference_core.shared.skeleton import LEFT, RIGHT
from tests.data.mano.official_layout import official_pickle, random_hand

_seed = torch.Generator().manual_seed(6)
ROTATIONS = exp(torch.randn(5, 2, 16, 3, dtype=torch.float64, generator=_seed) * 0.7)
BETAS = torch.randn(5, 2, 10, dtype=torch.float64, generator=_seed)
WRISTS = torch.randn(5, 2, 3, dtype=torch.float64, generator=_seed)


@pytest.fixture(scope="module")
def open_hand() -> HandModel:
    return load_open_hand(torch.float64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_the_model_agrees_with_smplx_to_a_micrometre(side: int, dtype: torch.dtype) -> None:
    stored = [random_hand(seed, vertices=778, faces=1538) for seed in (1, 2)]
    tips = np.array([745, 317, 444, 556, 673])
    left, right = (read_mano_arrays(official_pickle(hand), "a hand", tips) for hand in stored)
    model = build_hand_model(left, right, np.zeros((21, 3)), "toy", "none", dtype)
    peer = smplx.MANOLayer("", data_struct=Struct(**stored[side]), is_rhand=side == RIGHT, dtype=dtype)
    rotations, betas = ROTATIONS.to(dtype), BETAS.to(dtype)
    expected = peer(
        betas=betas[:, side],
        global_orient=rotations[:, side, :1],
        hand_pose=rotations[:, side, 1:],
        transl=torch.zeros(5, 3, dtype=dtype),
    )
    posed = model.with_shape(betas).with_pose(rotations)
    assert (posed.vertices_m[:, side] - expected.vertices).abs().max() < 1e-6
    assert (posed.joints16_m[:, side] - expected.joints).abs().max() < 1e-6


def test_the_wrist_joint_is_at_the_given_position(open_hand: HandModel) -> None:
    posed = open_hand.with_shape(BETAS).with_pose(ROTATIONS, WRISTS)
    assert (posed.joints16_m[..., 0, :] - WRISTS).abs().max() < 1e-12
    free = open_hand.with_shape(BETAS).with_pose(ROTATIONS)
    moved = free.vertices_m + (WRISTS - free.joints16_m[..., 0, :])[..., None, :]
    assert (posed.vertices_m - moved).abs().max() < 1e-12


def test_rotating_the_wrist_rotates_the_hand_rigidly_about_it(open_hand: HandModel) -> None:
    still = ROTATIONS.clone()
    still[:, :, 0] = torch.eye(3, dtype=torch.float64)
    rest = open_hand.with_shape(BETAS).with_pose(still, torch.zeros_like(WRISTS))
    turned = open_hand.with_shape(BETAS).with_pose(ROTATIONS, torch.zeros_like(WRISTS))
    for points in ("vertices_m", "joints21_m", "landmarks21_m"):
        expected = getattr(rest, points) @ ROTATIONS[:, :, 0].mT
        assert (getattr(turned, points) - expected).abs().max() < 1e-12, points


def test_tips_alone_are_the_vertices_of_the_full_skin(open_hand: HandModel) -> None:
    posed = open_hand.with_shape(BETAS).with_pose(ROTATIONS, WRISTS)
    for side in (LEFT, RIGHT):
        skin = posed.vertices_m[:, side, open_hand.tip_vertices[side]]
        assert (posed.tips_m[:, side] - skin).abs().max() < 1e-12
        assert torch.equal(posed.joints21_m[:, side, [4, 8, 12, 16, 20]], posed.tips_m[:, side])


def test_joints_follow_the_regressor_on_the_shaped_skin(open_hand: HandModel) -> None:
    shaped = open_hand.with_shape(BETAS)
    regressed = open_hand.joint_regressor @ shaped.rest_vertices_m
    assert (shaped.rest_joints_m - regressed).abs().max() < 1e-12


def test_the_rest_pose_is_the_shaped_skin(open_hand: HandModel) -> None:
    rest = torch.eye(3, dtype=torch.float64).expand(2, 16, 3, 3)
    shaped = open_hand.with_shape(BETAS[0])
    assert (shaped.with_pose(rest).vertices_m - shaped.rest_vertices_m).abs().max() < 1e-12


def test_broadcasting_gives_the_results_of_single_hands(open_hand: HandModel) -> None:
    one_shape = open_hand.with_shape(BETAS[0])
    together = one_shape.with_pose(ROTATIONS[None].expand(3, -1, -1, -1, -1, -1), WRISTS)
    assert together.vertices_m.shape == (3, 5, 2, open_hand.template_m.shape[1], 3)
    for frame in range(5):
        alone = one_shape.with_pose(ROTATIONS[frame], WRISTS[frame])
        assert (together.vertices_m[1, frame] - alone.vertices_m).abs().max() < 1e-12
        assert (together.landmarks21_m[1, frame] - alone.landmarks21_m).abs().max() < 1e-12


def test_a_mirrored_pose_of_the_other_hand_is_the_mirror_image(open_hand: HandModel) -> None:
    swapped = mirror(ROTATIONS.flip(1), "matrix")
    direct = open_hand.with_shape(BETAS).with_pose(ROTATIONS, WRISTS)
    mirrored = open_hand.with_shape(BETAS.flip(1)).with_pose(swapped, mirror(WRISTS.flip(1), "point"))
    for points in ("vertices_m", "joints21_m", "landmarks21_m"):
        expected = mirror(getattr(direct, points).flip(1), "point")
        assert (getattr(mirrored, points) - expected).abs().max() < 1e-12, points


def test_all_gradients_are_correct(open_hand: HandModel) -> None:
    vectors = (torch.randn(1, 2, 16, 3, dtype=torch.float64, generator=_seed) * 0.4).requires_grad_()
    betas, wrist = BETAS[:1].clone().requires_grad_(), WRISTS[:1].clone().requires_grad_()

    def landmarks(vectors: torch.Tensor, betas: torch.Tensor, wrist: torch.Tensor) -> torch.Tensor:
        return open_hand.with_shape(betas).with_pose(exp(vectors), wrist).landmarks21_m

    assert torch.autograd.gradcheck(landmarks, (vectors, betas, wrist))


def test_angles_survive_conversion_to_rotations_and_back(open_hand: HandModel) -> None:
    limits = open_hand.joint_limits_rad
    share = torch.rand(5, 2, 15, 3, dtype=torch.float64, generator=_seed)
    angles = limits[..., 0] + share * (limits[..., 1] - limits[..., 0])
    again = open_hand.angles_from_rotations(open_hand.rotations_from_angles(angles))
    assert (again - angles).abs().max() < 1e-9


def test_the_whole_model_is_converted_between_dtypes(open_hand: HandModel) -> None:
    single = open_hand.to(dtype=torch.float32)
    assert (
        single.template_m.dtype == single.joint_axes.dtype == single.landmark_offsets.dtype == torch.float32
    )
    assert single.faces.dtype == single.tip_vertices.dtype == torch.int64
    posed = single.with_shape(BETAS.float()).with_pose(ROTATIONS.float(), WRISTS.float())
    exact = open_hand.with_shape(BETAS).with_pose(ROTATIONS, WRISTS)
    assert (posed.vertices_m - exact.vertices_m).abs().max() < 2e-6


def test_a_users_mano_hand_has_axes_limits_and_landmarks_too(tmp_path: Path) -> None:
    for name, seed in (("LEFT", 1), ("RIGHT", 2)):
        (tmp_path / f"MANO_{name}.pkl").write_bytes(official_pickle(random_hand(seed)))
    model = load_hand_model(tmp_path, [1, 2, 3, 4, 5], torch.float64)
    assert (torch.linalg.det(model.joint_axes) - 1).abs().max() < 1e-9
    posed = model.with_shape(torch.zeros(2, 10, dtype=torch.float64)).with_pose(ROTATIONS)
    assert torch.isfinite(posed.landmarks21_m).all()
