# SPDX-License-Identifier: GPL-3.0-or-later
"""Stills of a feature cache: hands are found and read in them as in a shot."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from inference_core.hand_model.load import load_open_hand
from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.hand_crops import crop_features
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.landmarks.landmark_head import load_head
from inference_core.landmarks.networks import load_landmark_networks
from inference_core.shared.skeleton import LEFT
from inference_core.tracking.expected_hands import INTERPOLATED_SCORE, SEEN_SCORE
from tests.training.test_feature_cache import SCENES, untaught_head
from training.data.synthetic_source import made_samples
from training.feature_cache.from_stills import with_hand_crops
from training.feature_cache.refine import on_arrays, refined, refined_conditioning

NETWORKS = load_landmark_networks()


def test_the_landmark_network_finds_most_hands_in_stills() -> None:
    sample = made_samples(
        replace(SCENES, touching=0.0, near=0.0), load_open_hand().tensors(), 3, 0, 6, torch.device("cpu")
    )
    found = with_hand_crops(sample, NETWORKS, np.random.default_rng(0)).conditioning
    assert found is not None
    seen = found.hand_score >= 0.5
    assert seen.float().mean() > 0.5 and (found.hand_score[~seen] < INTERPOLATED_SCORE).all()
    assert sample.landmarks_uv is not None
    size = (sample.landmarks_uv.amax(2) - sample.landmarks_uv.amin(2)).norm(dim=-1)
    off = (found.landmarks_uv - sample.landmarks_uv).norm(dim=-1).mean(-1) / size
    assert off[seen].median() < 0.1
    lost = found.hand_score == 0
    assert (found.landmarks_uv[lost] == 0).all() and (found.world_rel_m[:, :, 0] == 0).all()


def test_the_head_gets_the_crop_that_it_gets_in_a_shot() -> None:
    """Round the landmarks found in this picture, wherever the hand was looked for."""
    sample = made_samples(SCENES, load_open_hand().tensors(), 3, 0, 6, torch.device("cpu"))
    again = with_hand_crops(sample, NETWORKS, np.random.default_rng(0))
    assert again.conditioning is not None and again.hand_crops is not None
    rows, sides = (again.conditioning.hand_score >= SEEN_SCORE).nonzero(as_tuple=True)
    assert len(rows) > 5
    points_px = (again.conditioning.landmarks_uv[rows, sides].double().numpy() + 1) * 128
    squares = again.hand_crops.crops[rows, sides].double().numpy()
    np.testing.assert_allclose(squares, crops_from_landmarks(points_px), atol=1e-3)
    pictures = sample.image.permute(0, 2, 3, 1).mul(255).round().to(torch.uint8).numpy()
    features_there = torch.from_numpy(
        crop_features([pictures[row] for row in rows], squares, sides.numpy(), NETWORKS)
    )
    # Squares in single precision move pixels by less than features tell.
    off = (again.hand_crops.features[rows, sides] - features_there).abs().mean()
    assert off < 0.01 * features_there.abs().mean()


def test_missed_hands_are_mostly_imagined_as_found(tmp_path: Path) -> None:
    """As trackers find them; those that a look at the picture finds are mostly as read."""
    sample = made_samples(SCENES, load_open_hand().tensors(), 3, 0, 4, torch.device("cpu"))
    found = with_hand_crops(sample, NETWORKS, np.random.default_rng(0))
    assert found.conditioning is not None and found.hand_crops is not None
    # One picture, 60 times with both hands found and 60 times with one of them missed.
    row = int((found.conditioning.hand_score >= SEEN_SCORE).all(1).nonzero()[0, 0])
    many = found.rows(torch.full((120,), row))
    assert many.conditioning is not None and many.hand_crops is not None
    for column in (many.conditioning.hand_score, many.conditioning.landmark_score):
        column[60:, LEFT] = 0
    head = HeadWithLandmarks(on_arrays(load_head(untaught_head(tmp_path))), lambda: NETWORKS)
    model = load_open_hand()
    given = refined_conditioning(many, head, model, torch.Generator().manual_seed(1))
    read = refined(many.conditioning, many.hand_crops, head.network)
    imagined = (given.landmarks_uv != read.landmarks_uv).flatten(1).any(1)
    assert 0.05 < imagined[:60].float().mean() < 0.4 < imagined[60:].float().mean() < 0.8
