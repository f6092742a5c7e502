# SPDX-License-Identifier: GPL-3.0-or-later
"""The initial fit: it corrects bad world landmarks, and leaves missing hands missing."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.fitting.initial_fit import fitted, shape_of
from inference_core.geometry import rotations as so3
from inference_core.hand_model.load import load_open_hand
from inference_core.two_hand.records import Conditioning
from tests.training.made_samples import made_sample
from training.evaluation.metrics import hand_errors

MODEL = load_open_hand()
T = 12


def true_conditioning() -> tuple[Conditioning, NDArray[np.float32]]:
    """What perfect landmark networks would say of some crops, and the true landmarks about the wrist."""
    sample = made_sample(T)
    assert sample.landmarks_uv is not None and sample.landmarks_rel_m is not None
    uv, world, K = (values.numpy() for values in (sample.landmarks_uv, sample.landmarks_rel_m, sample.K))
    ones = np.ones((T, 2), np.float32)
    return Conditioning(
        uv, np.ones((T, 2, 21), np.float32), world, ones, ones.copy(), K[:, 0, 0] / 128
    ), world


def test_landmarks_in_the_picture_correct_rotated_world_landmarks() -> None:
    conditioning, truth = true_conditioning()
    turn = so3.exp(np.random.default_rng(1).normal(size=(T, 2, 1, 3)).astype(np.float32) * 0.25)
    wrong = replace(conditioning, world_rel_m=(turn @ truth[..., None])[..., 0])
    found = fitted(wrong, shape_of(wrong, MODEL)).world_rel_m
    before, after = (
        hand_errors(torch.as_tensor(points), torch.as_tensor(truth)).mpjpe.mean()
        for points in (wrong.world_rel_m, found)
    )
    assert after < 0.6 * before
    assert (found[:, :, 0] == 0).all()


def test_each_crop_is_fitted_independently() -> None:
    conditioning, _ = true_conditioning()
    shape = shape_of(conditioning, MODEL)
    whole = fitted(conditioning, shape).world_rel_m
    alone = fitted(conditioning.map(lambda value: value[3:4]), shape).world_rel_m
    np.testing.assert_allclose(alone, whole[3:4], atol=1e-6)


def test_hands_that_were_not_found_stay_unknown() -> None:
    conditioning, _ = true_conditioning()
    conditioning.hand_score[2, 1], conditioning.landmark_score[2, 1] = 0, 0
    conditioning.landmark_score[4, 0, 8] = 0
    found = fitted(conditioning, shape_of(conditioning, MODEL))
    assert (found.world_rel_m[2, 1] == 0).all() and (found.world_rel_m[4, 0, 8] == 0).all()
    assert np.linalg.norm(found.world_rel_m[4, 0, 12]) > 0.05
    nobody = Conditioning.none(3)
    assert (fitted(nobody, shape_of(nobody, MODEL)).world_rel_m == 0).all()
    assert len(fitted(Conditioning.none(0), shape_of(nobody, MODEL)).world_rel_m) == 0
