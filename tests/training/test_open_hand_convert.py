# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps that make the open hand, as far as they need no MakeHuman data."""

import numpy as np
import torch

from inference_core.geometry.rotations import exp
from inference_core.hand_model.load import load_open_hand
from inference_core.shared.skeleton import RIGHT
from training.convert.open_hand_pose import dual_quaternion_skinned, fit_pose_space, sample_angles
from training.convert.open_hand_rig import RiggedHands, turn_hands
from training.convert.open_hand_shape import fit_shape_space, with_more_variety
from training.convert.open_hand_uvs import packed_uvs

HAND = load_open_hand().tensors(torch.float64)
REST = torch.eye(3, dtype=torch.float64).expand(2, 16, 3, 3)


def rigged(count: int) -> RiggedHands:
    """Shapes of the shipped hand, as if they had been sampled."""
    betas = torch.randn(count, 1, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).expand(
        -1, 2, -1
    )
    shaped = HAND.with_shape(betas)
    return RiggedHands(
        vertices_m=shaped.rest_vertices_m[:, RIGHT].numpy(),
        joints_m=shaped.rest_joints_m[:, RIGHT].numpy(),
        weights=HAND.skin_weights[RIGHT].numpy(),
        faces=HAND.faces[RIGHT].numpy(),
        tips=HAND.tip_vertices[RIGHT].numpy(),
        hand_count=HAND.template_m.shape[1],
    )


def skinned(angles: torch.Tensor, correctives: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-hand vertices in a pose: by the model, and by dual quaternions."""
    fingers = HAND.rotations_from_angles(angles.expand(2, 15, 3))
    shaped = HAND.with_shape(torch.zeros(2, 10, dtype=torch.float64))
    posed = shaped.with_pose(torch.cat([REST[:, :1], fingers], 1))
    turns = posed.global_rotations[RIGHT]
    shifts = posed.joints16_m[RIGHT] - (turns @ shaped.rest_joints_m[RIGHT][..., None])[..., 0]
    weights, rest = HAND.skin_weights[RIGHT], HAND.template_m[RIGHT]
    dual = dual_quaternion_skinned(turns[None], shifts[None], weights, rest)[0]
    linear = torch.einsum("vj,jab,vb->va", weights, turns, rest) + weights @ shifts
    return (posed.vertices_m[RIGHT] if correctives else linear), dual


def test_dual_quaternions_move_a_rigid_hand_rigidly() -> None:
    turn = exp(torch.tensor([0.4, -1.0, 2.0], dtype=torch.float64))
    shift = torch.tensor([0.1, 0.2, -0.3], dtype=torch.float64)
    rest = HAND.template_m[RIGHT]
    moved = dual_quaternion_skinned(
        turn.expand(1, 16, 3, 3), shift.expand(1, 16, 3), HAND.skin_weights[RIGHT], rest
    )
    assert (moved[0] - (rest @ turn.T + shift)).abs().max() < 1e-12


def test_the_shipped_correctives_approximate_dual_quaternions() -> None:
    poses = torch.tensor(sample_angles(20, np.random.default_rng(9)))
    gaps = []
    for correctives in (False, True):
        pairs = [skinned(pose, correctives) for pose in poses]
        # Away from the raised knuckles, which dual quaternions know nothing of.
        gaps.append(np.mean([float((a - b).norm(dim=-1).median()) for a, b in pairs]))
    assert gaps[1] < 0.7 * gaps[0]


def test_sampled_poses_respect_limits_and_span_the_pose_space() -> None:
    angles = sample_angles(500, np.random.default_rng(1))
    limits = HAND.joint_limits_rad.numpy()
    assert (angles >= limits[..., 0] - 1e-6).all()
    assert (angles <= limits[..., 1] + 1e-6).all()
    space = fit_pose_space(HAND.joint_axes[RIGHT].numpy(), 0, 400)
    assert np.abs(space.components @ space.components.T - np.eye(45)).max() < 1e-9


def test_a_zero_rotation_changes_nothing() -> None:
    hands = rigged(3)
    turned = turn_hands(hands, np.tile(np.eye(3), (16, 1, 1)))
    assert np.abs(turned.vertices_m - hands.vertices_m).max() < 1e-12


def test_the_shape_space_recovers_known_shapes() -> None:
    space = fit_shape_space(rigged(80), 0)
    assert space.explained > 0.999
    assert space.reconstruction_mm < 0.2
    assert space.regressor_mm < 1.0
    assert np.abs(space.betas.std(0) - 1).max() < 0.05


def test_more_variety_changes_proportions_and_keeps_the_wrist() -> None:
    hands = rigged(60)
    varied = with_more_variety(hands, 0)
    assert np.abs(varied.joints_m[:, 0] - hands.joints_m[:, 0]).max() < 1e-12

    def ratio(joints: np.ndarray) -> np.ndarray:
        finger = np.linalg.norm(joints[:, 5] - joints[:, 4], axis=1)
        return finger / np.linalg.norm(joints[:, 4] - joints[:, 0], axis=1)

    assert ratio(varied.joints_m).std() > 1.2 * ratio(hands.joints_m).std()


def test_texture_islands_are_packed_without_overlap_or_distortion() -> None:
    triangle = np.array([[0.0, 0], [0.02, 0], [0, 0.03]])
    islands = np.stack([triangle + 0.7, triangle * 0.5 + [0.1, 0.9]])
    packed = packed_uvs(islands)
    assert packed.min() == 0
    assert packed.max() == 1
    first, second = sorted(packed, key=lambda island: island[:, 0].min())
    assert second[:, 0].min() > first[:, 0].max()
    edges = np.linalg.norm(packed - np.roll(packed, 1, axis=1), axis=-1) / np.linalg.norm(
        islands - np.roll(islands, 1, axis=1), axis=-1
    )
    assert np.ptp(edges) < 1e-9
