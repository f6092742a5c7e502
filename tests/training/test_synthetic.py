# SPDX-License-Identifier: GPL-3.0-or-later
"""Synthetic pictures: same seed same picture, labels that lie where the picture shows them, no hand in another."""

from dataclasses import replace
from functools import lru_cache

import pytest
import torch

from inference_core.geometry.projection import project_pinhole
from inference_core.geometry.rotations import matrix_to_quaternion
from inference_core.hand_model.load import load_open_hand
from inference_core.shared.errors import RequestError
from inference_core.shared.take import save_take
from tests.sample_take import sample_take
from training.synthetic.background import folder_bank
from training.synthetic.batch import HIDDEN_BY_OTHER, OUTSIDE, VISIBLE, SyntheticBatch
from training.synthetic.generate import generate, load_kit
from training.synthetic.pairs import place_hands
from training.synthetic.poses import GESTURES, gesture_angles_rad, sample_angles_rad
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.taken_poses import taken_angles_rad

SMALL = Settings(size_px=128, backgrounds=2, chunk=8)
CLEAR = Settings(
    size_px=128, backgrounds=2, one_hand=0, no_hand=0, held_thing=0, loose_thing=0, truncated=0, clean=True
)


@lru_cache(maxsize=1)
def batch() -> SyntheticBatch:
    return generate(seed=5, batch=12, settings=SMALL)


@lru_cache(maxsize=1)
def clear_batch() -> SyntheticBatch:
    return generate(seed=6, batch=8, settings=CLEAR)


def test_the_same_seed_gives_the_same_batch() -> None:
    again = generate(seed=5, batch=12, settings=SMALL)
    for name, value in batch().tensors().items():
        assert torch.equal(value, again.tensors()[name]), name


def test_a_picture_does_not_depend_on_its_batch() -> None:
    alone = generate(seed=5, batch=1, settings=SMALL, index=9)
    there = batch()
    assert alone.index.item() == 9
    torch.testing.assert_close(alone.joints_cam_m[0], there.joints_cam_m[9], atol=1e-5, rtol=0)
    difference = (alone.image[0].float() - there.image[9].float()).abs()
    assert difference.mean() < 0.5


def test_draws_at_the_end_of_the_range_are_finite() -> None:
    random = Randomness(3, torch.tensor([199 * 32 + 11]))
    assert random.normal("gesture side", 2, 15, 3).max() > 5, "this picture has such a draw"
    assert torch.isfinite(sample_angles_rad(random, load_open_hand().tensors().joint_limits_rad)).all()


def test_other_seeds_and_numbers_give_other_pictures() -> None:
    joints_m = batch().joints_cam_m
    assert torch.pdist(joints_m.flatten(1)).min() > 1e-3
    other = generate(seed=7, batch=1, settings=SMALL)
    assert not torch.allclose(other.joints_cam_m[0], joints_m[0], atol=1e-3)


def test_shapes_and_dtypes_match_the_record() -> None:
    made = batch()
    assert made.image.shape == (12, 3, 128, 128) and made.image.dtype == torch.uint8
    assert made.side_mask.shape == (12, 128, 128) and made.dense.shape == (12, 3, 32, 32)
    assert made.rotations.shape == (12, 2, 16, 3, 3) and made.joints_uv.shape == (12, 2, 21, 2)
    for name, value in made.tensors().items():
        assert name == "gap_m" or torch.isfinite(value.float()).all(), name


def test_parameters_vertices_and_joints_are_consistent() -> None:
    made = batch()
    posed = load_open_hand().tensors().with_shape(made.betas).with_pose(made.rotations, made.wrist_cam_m)
    torch.testing.assert_close(posed.joints21_m, made.joints_cam_m, atol=2e-5, rtol=0)
    assert made.vertices_cam_m is not None
    torch.testing.assert_close(posed.vertices_m, made.vertices_cam_m, atol=2e-5, rtol=0)
    torch.testing.assert_close(made.offset_m, made.wrist_cam_m[:, 1] - made.wrist_cam_m[:, 0])


def test_rotations_are_rotations_within_the_joint_limits() -> None:
    rotations = batch().rotations
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3).expand_as(rotations), atol=1e-5, rtol=0)
    model = load_open_hand().tensors()
    angles = model.angles_from_rotations(rotations[:, :, 1:])
    low, high = model.joint_limits_rad.unbind(-1)
    assert (angles > low - 1e-3).all() and (angles < high + 1e-3).all()


def test_uv_is_the_projection_of_the_joints() -> None:
    made = batch()
    pixels = project_pinhole(made.joints_cam_m, made.K[:, None])
    torch.testing.assert_close((made.joints_uv + 1) * 64, pixels, atol=1e-3, rtol=0)


def test_visible_joints_lie_on_their_own_hand_in_the_mask() -> None:
    made = clear_batch()
    visible = made.visibility == VISIBLE
    inner = torch.ones(21, dtype=torch.bool)
    inner[[4, 8, 12, 16, 20]] = False  # fingertips are skin: their pixel may lie just beside the silhouette
    picture, side, joint = (visible & inner).nonzero(as_tuple=True)
    column, row = ((made.joints_uv[picture, side, joint] + 1) * 64).long().clamp(0, 127).unbind(-1)
    label = made.side_mask[picture, row, column].long()
    own = (label == side + 1) | (label == side + 3)
    assert visible.float().mean() > 0.35
    assert own.float().mean() > 0.97


def test_an_occluder_hides_what_is_behind_it() -> None:
    settings = Settings(size_px=128, backgrounds=2, one_hand=0, no_hand=0, loose_thing=1.0, truncated=0)
    made = generate(seed=8, batch=8, settings=settings)
    assert (made.visibility == HIDDEN_BY_OTHER).float().mean() > 0.05


def test_absent_hands_have_no_labels() -> None:
    for one_hand, no_hand in ((1.0, 0.0), (0.0, 1.0)):
        settings = Settings(size_px=64, backgrounds=2, one_hand=one_hand, no_hand=no_hand)
        made = generate(seed=9, batch=6, settings=settings)
        assert (made.present.sum(1) == (1 if one_hand else 0)).all()
        assert (made.visibility[~made.present] == OUTSIDE).all()
        for side in range(2):
            absent = ~made.present[:, side]
            shown = (made.side_mask == side + 1) | (made.side_mask == side + 3)
            assert not shown[absent].any()
        assert made.gap_m.isinf().all() and (made.overlap == 0).all()


def test_both_hands_are_in_the_picture() -> None:
    made = clear_batch()
    for side in range(2):
        assert ((made.side_mask == side + 1).flatten(1).sum(1) > 20).float().mean() > 0.8
    assert (made.joints_uv.abs() <= 1).all(-1).float().mean() > 0.9


def test_the_dense_map_is_black_outside_hands() -> None:
    made = clear_batch()
    hand = (made.side_mask == 1) | (made.side_mask == 2)
    blocks = torch.nn.functional.avg_pool2d(hand.float()[:, None], 4)[:, 0]
    assert (made.dense.amax(1)[blocks == 1] > 0).all()
    # Edges are sampled finer than the mask: only blocks well outside are surely empty.
    far = torch.nn.functional.max_pool2d(blocks[:, None], 3, 1, 1)[:, 0] == 0
    assert (made.dense.amax(1)[far] <= 40).all()


def test_hands_intersect_no_deeper_than_the_settings_allow() -> None:
    settings = Settings(touching=1.0)
    random = Randomness(3, torch.arange(96))
    kit = load_kit(torch.device("cpu"))
    shaped = kit.model.with_shape(random.normal("betas", 2, 10).clamp(-2, 2))
    fingers = kit.model.rotations_from_angles(sample_angles_rad(random, kit.model.joint_limits_rad))
    placed = place_hands(random, shaped, fingers, kit.spheres, settings)
    assert placed.gap_m.min() >= -settings.penetration_m - 1e-5
    assert (placed.gap_m < 0.004).float().mean() > 0.4, "contact was sought"


def test_gestures_respect_the_joint_limits() -> None:
    angles = gesture_angles_rad([gesture.name for gesture in GESTURES])
    low, high = load_open_hand().tensors().joint_limits_rad.unbind(-1)
    assert (angles > low - 0.1).all() and (angles < high + 0.1).all()


def test_draws_are_uniform_normal_and_independent_by_name() -> None:
    random = Randomness(1, torch.arange(4000))
    unit = random.uniform("a", 5)
    assert abs(unit.mean() - 0.5) < 0.01 and abs(unit.std() - 12**-0.5) < 0.005
    normal = random.normal("b", 5)
    assert abs(normal.mean()) < 0.03 and abs(normal.std() - 1) < 0.02
    assert abs(torch.corrcoef(torch.stack([unit.flatten(), random.uniform("c", 5).flatten()]))[0, 1]) < 0.03
    assert abs(torch.corrcoef(unit.T)[0, 1]) < 0.06
    share = (random.choice("d", (1.0, 3.0)) == 1).float().mean()
    assert abs(share - 0.75) < 0.03


def test_a_folder_without_pictures_is_named(tmp_path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(RequestError, match="No readable picture"):
        folder_bank(tmp_path, 10, torch.device("cpu"))


def test_backgrounds_can_come_from_a_folder(tmp_path) -> None:
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / "grün.png"), np.full((60, 90, 3), (40, 200, 40), np.uint8))
    settings = Settings(
        size_px=64, backgrounds=2, no_hand=1.0, one_hand=0, loose_thing=0, clean=True,
        background_folder=str(tmp_path), folder_share=1.0,
    )  # fmt: skip
    image = generate(seed=2, batch=3, settings=settings).image.float()
    assert (image[:, 1].mean((1, 2)) > 2 * image[:, 0].mean((1, 2))).all()


def test_poses_can_come_from_takes(tmp_path) -> None:
    import numpy as np

    hand = load_kit(torch.device("cpu")).model
    angles = torch.zeros(6, 2, 15, 3)
    angles[:, :, :12, 0] = torch.linspace(0.1, 0.6, 6)[:, None, None]
    wxyz = matrix_to_quaternion(hand.rotations_from_angles(angles)).numpy().astype(np.float32)
    present = np.ones((6, 2), np.uint8)
    present[3, 1] = 2
    take = replace(sample_take(6, present), pose_wxyz=wxyz, joint_axes=hand.joint_axes.numpy())
    save_take(take, tmp_path / "one.npz")
    taken = taken_angles_rad(tmp_path)
    # Every third frame, and no filled hands: frames 0 and 3 of the left, 0 of the right.
    torch.testing.assert_close(taken[:, 0, 0].sort().values, torch.tensor([0.1, 0.1, 0.4]), atol=1e-5, rtol=0)
    drawn = sample_angles_rad(
        Randomness(1, torch.arange(40)), hand.joint_limits_rad, 0.0, taken_rad=taken, taken_share=1.0
    )
    nearest = (drawn[:, :, None, :12, 0] - taken[:, :12, 0]).abs().amax(-1).amin(-1)
    assert nearest.max() < 1e-4
    batch = generate(
        3, 4, settings=Settings(size_px=64, backgrounds=2, pose_folder=str(tmp_path), pose_share=1.0)
    )
    assert batch.rotations.shape[0] == 4
    with pytest.raises(RequestError, match="no take with a clearly visible hand"):
        taken_angles_rad(tmp_path / "none")
