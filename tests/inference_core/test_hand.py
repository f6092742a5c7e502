# SPDX-License-Identifier: GPL-3.0-or-later
"""The hand model: smplx as its peer, and laws of joints, tips, skin and sides."""

import subprocess
import sys
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

_noise = np.random.default_rng(6)
ROTATIONS = exp(_noise.normal(scale=0.7, size=(5, 2, 16, 3)))
BETAS = _noise.normal(size=(5, 2, 10))
WRISTS = _noise.normal(size=(5, 2, 3))


@pytest.fixture(scope="module")
def open_hand() -> HandModel:
    return load_open_hand()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_the_model_agrees_with_smplx_to_a_micrometre(side: int, dtype: torch.dtype) -> None:
    stored = [random_hand(seed, vertices=778, faces=1538) for seed in (1, 2)]
    tips = np.array([745, 317, 444, 556, 673])
    left, right = (read_mano_arrays(official_pickle(hand), "a hand", tips) for hand in stored)
    model = build_hand_model(left, right, np.zeros((21, 3)), "toy", "none").tensors(dtype)
    peer = smplx.MANOLayer("", data_struct=Struct(**stored[side]), is_rhand=side == RIGHT, dtype=dtype)
    rotations, betas = torch.tensor(ROTATIONS, dtype=dtype), torch.tensor(BETAS, dtype=dtype)
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
    assert np.abs(posed.joints16_m[..., 0, :] - WRISTS).max() < 1e-12
    free = open_hand.with_shape(BETAS).with_pose(ROTATIONS)
    moved = free.vertices_m + (WRISTS - free.joints16_m[..., 0, :])[..., None, :]
    assert np.abs(posed.vertices_m - moved).max() < 1e-12


def test_rotating_the_wrist_rotates_the_hand_rigidly_about_it(open_hand: HandModel) -> None:
    still = ROTATIONS.copy()
    still[:, :, 0] = np.eye(3)
    rest = open_hand.with_shape(BETAS).with_pose(still, np.zeros_like(WRISTS))
    turned = open_hand.with_shape(BETAS).with_pose(ROTATIONS, np.zeros_like(WRISTS))
    for points in ("vertices_m", "joints21_m", "landmarks21_m"):
        expected = getattr(rest, points) @ np.swapaxes(ROTATIONS[:, :, 0], -1, -2)
        assert np.abs(getattr(turned, points) - expected).max() < 1e-12, points


def test_tips_alone_are_the_vertices_of_the_full_skin(open_hand: HandModel) -> None:
    posed = open_hand.with_shape(BETAS).with_pose(ROTATIONS, WRISTS)
    for side in (LEFT, RIGHT):
        skin = posed.vertices_m[:, side, open_hand.tip_vertices[side]]
        assert np.abs(posed.tips_m[:, side] - skin).max() < 1e-12
        assert np.array_equal(posed.joints21_m[:, side, [4, 8, 12, 16, 20]], posed.tips_m[:, side])


def test_joints_follow_the_regressor_on_the_shaped_skin(open_hand: HandModel) -> None:
    shaped = open_hand.with_shape(BETAS)
    regressed = open_hand.joint_regressor @ shaped.rest_vertices_m
    assert np.abs(shaped.rest_joints_m - regressed).max() < 1e-12


def test_the_rest_pose_is_the_shaped_skin(open_hand: HandModel) -> None:
    rest = np.broadcast_to(np.eye(3), (2, 16, 3, 3))
    shaped = open_hand.with_shape(BETAS[0])
    assert np.abs(shaped.with_pose(rest).vertices_m - shaped.rest_vertices_m).max() < 1e-12


def test_broadcasting_gives_the_results_of_single_hands(open_hand: HandModel) -> None:
    one_shape = open_hand.with_shape(BETAS[0])
    together = one_shape.with_pose(np.stack([ROTATIONS] * 3), WRISTS)
    assert together.vertices_m.shape == (3, 5, 2, open_hand.template_m.shape[1], 3)
    for frame in range(5):
        alone = one_shape.with_pose(ROTATIONS[frame], WRISTS[frame])
        assert np.abs(together.vertices_m[1, frame] - alone.vertices_m).max() < 1e-12
        assert np.abs(together.landmarks21_m[1, frame] - alone.landmarks21_m).max() < 1e-12


def test_a_mirrored_pose_of_the_other_hand_is_the_mirror_image(open_hand: HandModel) -> None:
    swapped = mirror(ROTATIONS[:, ::-1], "matrix")
    direct = open_hand.with_shape(BETAS).with_pose(ROTATIONS, WRISTS)
    mirrored = open_hand.with_shape(BETAS[:, ::-1]).with_pose(swapped, mirror(WRISTS[:, ::-1], "point"))
    for points in ("vertices_m", "joints21_m", "landmarks21_m"):
        expected = mirror(getattr(direct, points)[:, ::-1], "point")
        assert np.abs(getattr(mirrored, points) - expected).max() < 1e-12, points


def test_all_gradients_are_correct(open_hand: HandModel) -> None:
    model = open_hand.tensors(torch.float64)
    vectors = torch.tensor(_noise.normal(scale=0.4, size=(1, 2, 16, 3)), requires_grad=True)
    betas, wrist = (torch.tensor(values[:1], requires_grad=True) for values in (BETAS, WRISTS))

    def landmarks(vectors: torch.Tensor, betas: torch.Tensor, wrist: torch.Tensor) -> torch.Tensor:
        return model.with_shape(betas).with_pose(exp(vectors), wrist).landmarks21_m

    assert torch.autograd.gradcheck(landmarks, (vectors, betas, wrist))


def test_angles_survive_conversion_to_rotations_and_back(open_hand: HandModel) -> None:
    limits = open_hand.joint_limits_rad
    share = _noise.random((5, 2, 15, 3))
    angles = limits[..., 0] + share * (limits[..., 1] - limits[..., 0])
    again = open_hand.angles_from_rotations(open_hand.rotations_from_angles(angles))
    assert np.abs(again - angles).max() < 1e-9


def test_the_model_of_tensors_gives_the_results_of_the_model_of_arrays(open_hand: HandModel) -> None:
    single = open_hand.tensors()
    assert (
        single.template_m.dtype == single.joint_axes.dtype == single.landmark_offsets.dtype == torch.float32
    )
    assert single.faces.dtype == single.tip_vertices.dtype == torch.int64
    betas, rotations, wrists = (torch.tensor(values).float() for values in (BETAS, ROTATIONS, WRISTS))
    posed = single.with_shape(betas).with_pose(rotations, wrists)
    exact = open_hand.with_shape(BETAS).with_pose(ROTATIONS, WRISTS)
    for points in ("vertices_m", "landmarks21_m"):
        assert np.abs(getattr(posed, points).numpy() - getattr(exact, points)).max() < 2e-6, points
    angles = single.angles_from_rotations(rotations[:, :, 1:])
    assert np.abs(angles.numpy() - open_hand.angles_from_rotations(ROTATIONS[:, :, 1:])).max() < 1e-5


def test_a_capture_loads_and_poses_hands_without_torch() -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "from inference_core.hand_model.load import load_open_hand\n"
        "shaped = load_open_hand().with_shape(np.zeros((2, 10)))\n"
        "shaped.with_pose(np.broadcast_to(np.eye(3), (2, 16, 3, 3))).vertices_m\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_users_mano_hand_has_axes_limits_and_landmarks_too(tmp_path: Path) -> None:
    for name, seed in (("LEFT", 1), ("RIGHT", 2)):
        (tmp_path / f"MANO_{name}.pkl").write_bytes(official_pickle(random_hand(seed)))
    model = load_hand_model(tmp_path, [1, 2, 3, 4, 5])
    assert np.abs(np.linalg.det(model.joint_axes) - 1).max() < 1e-9
    posed = model.with_shape(np.zeros((2, 10))).with_pose(ROTATIONS)
    assert np.isfinite(posed.landmarks21_m).all()
