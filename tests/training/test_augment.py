# SPDX-License-Identifier: GPL-3.0-or-later
"""Augmentation moves picture, camera and labels together, and a flip makes a left hand of a right one."""

from dataclasses import replace

import pytest
import torch

from inference_core.hand_model.load import load_open_hand
from inference_core.two_hand.records import Conditioning
from tests.training.made_samples import made_sample
from training.data.augment import NO_AUGMENTATION, AugmentSettings, augmented, moved, straightened
from training.data.sample import LEFT_HAND, RIGHT_HAND, Sample, uv_from_camera

GEOMETRY_ONLY = replace(AugmentSettings(), blur=0, noise=0, brightness=0, contrast=0, saturation=0, tint=0)


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _dots(sample: Sample) -> Sample:
    """The sample with a picture that shows nothing but one bright dot at the left wrist and a green one right."""
    centres = (torch.arange(256) + 0.5) / 128 - 1
    image = torch.zeros_like(sample.image)
    for side in (0, 1):
        u, v = sample.joints_uv[:, side, 0].unbind(-1)
        reach = (centres - u[:, None]).square()[:, None, :] + (centres - v[:, None]).square()[:, :, None]
        image[:, side] = torch.exp(-reach / (2 * 0.02**2))
    return replace(sample, image=image)


def test_picture_and_labels_move_together():
    before = _dots(made_sample(6))
    after = augmented(before, replace(GEOMETRY_ONLY, flip=1.0, shift_px=6), _seeded(1))
    centres = (torch.arange(256) + 0.5) / 128 - 1
    for side in (0, 1):
        # The dot of the left wrist is now where the right wrist's label says: the flip exchanged the sides.
        dot = after.image[:, 1 - side]
        total = dot.sum(dim=(1, 2))
        found = torch.stack(
            [(dot.sum(1) * centres).sum(-1) / total, (dot.sum(2) * centres).sum(-1) / total], -1
        )
        inside = (after.joints_uv[:, side, 0].abs() < 0.9).all(-1)
        assert inside.any()
        assert (found - after.joints_uv[:, side, 0])[inside].abs().max() < 1 / 128


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_augmented_parameters_give_the_augmented_hand(flip):
    sample = augmented(made_sample(5), replace(GEOMETRY_ONLY, flip=flip), _seeded(2))
    posed = (
        load_open_hand().tensors().with_shape(sample.betas).with_pose(sample.rotations, sample.wrist_cam_m)
    )
    wrist = sample.wrist_cam_m[:, :, None]
    assert (posed.joints21_m - wrist - sample.joints_rel_m).abs().max() < 1e-5
    assert (posed.vertices_m - wrist - sample.vertices_rel_m).abs().max() < 1e-5
    assert (posed.landmarks21_m - posed.landmarks21_m[:, :, :1] - sample.landmarks_rel_m).abs().max() < 1e-5
    uv = uv_from_camera(posed.landmarks21_m, sample.K[:, None], 256)
    assert (uv - sample.landmarks_uv).abs().max() < 1e-4
    assert (sample.wrist_cam_m[:, 1] - sample.wrist_cam_m[:, 0] - sample.offset_m).abs().max() < 1e-6


def test_flipping_twice_gives_the_sample_back():
    sample = made_sample(3)
    M = torch.diag(torch.tensor([-1.0, 1.0, 1.0])).expand(3, 3, 3)
    A = torch.tensor([[-1.0, 0.0, 256.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).expand(3, 3, 3)
    once = moved(sample, A, M)
    assert ((once.side_mask == LEFT_HAND) == (sample.side_mask == RIGHT_HAND).flip(-1)).float().mean() > 0.99
    twice = moved(once, A, M)
    for name in (
        "image",
        "K",
        "rotations",
        "joints_rel_m",
        "vertices_uv",
        "offset_m",
        "betas",
        "landmarks_uv",
    ):
        assert torch.allclose(getattr(twice, name), getattr(sample, name), atol=1e-4), name
    assert (twice.side_mask == sample.side_mask).all()


def test_a_straightened_camera_looks_at_the_centre_and_keeps_positions():
    plain = made_sample(4)
    assert plain.landmarks_uv is not None
    K, shift_uv = plain.K.clone(), torch.tensor([40.0, -25.0]) / 128
    K[:, :2, 2] += shift_uv * 128
    joints_uv, landmarks_uv = plain.joints_uv + shift_uv, plain.landmarks_uv + shift_uv
    shifted = replace(plain, K=K, joints_uv=joints_uv, landmarks_uv=landmarks_uv)
    before = _dots(shifted)
    after = straightened(before)
    assert torch.allclose(after.K[:, :2, 2], torch.tensor(128.0), atol=1e-3)
    assert (after.joints_rel_m.norm(dim=-1) - before.joints_rel_m.norm(dim=-1)).abs().max() < 1e-6
    uv = uv_from_camera(after.joints_rel_m + after.wrist_cam_m[:, :, None], after.K[:, None], 256)
    assert (uv - after.joints_uv).abs().max() < 1e-4
    assert after.landmarks_uv is not None and after.landmarks_rel_m is not None
    posed = load_open_hand().tensors().with_shape(after.betas).with_pose(after.rotations, after.wrist_cam_m)
    assert (
        uv_from_camera(posed.landmarks21_m, after.K[:, None], 256) - after.landmarks_uv
    ).abs().max() < 1e-3
    x, y = ((after.joints_uv[:, 0, 0].clamp(-0.99, 0.99) + 1) * 128).long().unbind(-1)
    assert (after.image[torch.arange(4), 0, y, x] > 0.7).all(), "the dot of the left wrist is at its label"


def test_augmentation_can_be_off_and_keeps_colours_in_range():
    sample = made_sample(3)
    assert torch.equal(augmented(sample, NO_AUGMENTATION, _seeded()).image, sample.image)
    coloured = augmented(sample, replace(AugmentSettings(), blur=1.0), _seeded(3)).image
    assert coloured.isfinite().all() and coloured.min() >= 0 and coloured.max() <= 1


def test_motion_blur_keeps_the_brightness_and_spreads_a_dot():
    sample = _dots(made_sample(8))
    blurred = augmented(sample, replace(NO_AUGMENTATION, blur=1.0, blur_px=(9, 15)), _seeded(4)).image
    assert torch.allclose(blurred.mean(), sample.image.mean(), rtol=0.05)
    assert blurred.amax() < sample.image.amax()


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_detected_landmarks_move_with_the_picture(flip):
    before = made_sample(5)
    assert before.landmarks_uv is not None and before.landmarks_rel_m is not None
    score = torch.ones(5, 2, 21)
    score[0, 1, 3] = 0
    seen = (score > 0)[..., None]
    side_score = torch.tensor([0.9, 0.7]).expand(5, 2)
    conditioning = Conditioning(
        before.landmarks_uv * seen,
        score,
        before.landmarks_rel_m * seen,
        side_score * 0.5,
        side_score,
        before.K[:, 0, 0] / 128,
    )
    after = augmented(
        replace(before, conditioning=conditioning), replace(GEOMETRY_ONLY, flip=flip), _seeded(4)
    )
    moved_to = after.conditioning
    assert moved_to is not None and after.landmarks_uv is not None and after.landmarks_rel_m is not None
    kept = (moved_to.landmark_score > 0)[..., None]
    torch.testing.assert_close(moved_to.landmarks_uv, after.landmarks_uv * kept, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved_to.world_rel_m, after.landmarks_rel_m * kept, atol=1e-6, rtol=0)
    torch.testing.assert_close(moved_to.focal_uv, after.K[:, :2, :2].det().sqrt() / 128, atol=1e-4, rtol=0)
    side, other = (1, 0) if flip == 0 else (0, 1)
    assert moved_to.landmark_score[0, side, 3] == 0 and moved_to.landmark_score[0, other].all()
    assert moved_to.side_score[0, other] == pytest.approx(0.9)
