# SPDX-License-Identifier: GPL-3.0-or-later
"""Single-hand crops and the landmark head: geometry, mirroring, initial weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from inference_core.landmarks.formats import HEAD_FILE
from inference_core.landmarks.hand_crops import (
    crop_features,
    points_to_crop,
    points_to_frame,
    world_to_crop,
    world_to_frame,
)
from inference_core.landmarks.head_reader import stored_head
from inference_core.landmarks.landmark_head import LandmarkHead, load_head
from inference_core.landmarks.networks import load_landmark_networks
from inference_core.landmarks.weights import load_landmark_network
from inference_core.shared.errors import WeightsError
from inference_core.shared.skeleton import LEFT, RIGHT

CROPS = np.array([[60.0, 40.0, 50.0, 0.4], [30.0, 70.0, 80.0, -2.0]])
SIDES = np.array([LEFT, RIGHT])


def picture(seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((10, 10, 1), np.uint8))


def test_points_and_world_landmarks_survive_mapping_to_a_crop_and_back() -> None:
    random = np.random.default_rng(1)
    points, world = random.uniform(0, 90, (2, 21, 2)), random.normal(size=(2, 21, 3))
    np.testing.assert_allclose(
        points_to_frame(points_to_crop(points, CROPS, SIDES), CROPS, SIDES), points, atol=1e-9
    )
    np.testing.assert_allclose(
        world_to_frame(world_to_crop(world, CROPS, SIDES), CROPS, SIDES), world, atol=1e-12
    )
    # A crop's corner, turned by the crop's rotation, is a corner of the hand crop's square; mirrored for the left hand.
    turn = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    corner = CROPS[0, :2] + turn @ np.array([25.0, -25.0])
    np.testing.assert_allclose(points_to_crop(corner[None, None], CROPS[:1], SIDES[:1]), [[[-1.0, -1.0]]])


def test_a_left_hand_looks_like_the_mirrored_picture_of_a_right_one() -> None:
    network, image = load_landmark_networks(), picture()
    mirrored = np.ascontiguousarray(image[:, ::-1])
    crop = np.array([[70.0, 60.0, 60.0, 0.3]])
    other = np.array([[image.shape[1] - 70.0, 60.0, 60.0, -0.3]])
    left = crop_features([image], crop, np.array([LEFT]), network)
    right = crop_features([mirrored], other, np.array([RIGHT]), network)
    # As close as bilinear sampling from either end is.
    assert np.abs(left - right).mean() < 0.01 * np.abs(right).mean()
    assert left.shape == (1, 112, 14, 14)


def test_the_head_starts_as_the_landmark_network() -> None:
    network, head = load_landmark_networks(), LandmarkHead().eval()
    head.start_from(load_landmark_network())
    features = crop_features([picture()] * 2, CROPS, SIDES, network)
    with torch.no_grad():
        own, theirs = head(torch.from_numpy(features)), network.read(features)
    np.testing.assert_allclose(own.points * 112 + 112, theirs.points[..., :2], atol=1e-3, rtol=1e-4)
    np.testing.assert_allclose(own.world_m, theirs.world_m, atol=1e-6, rtol=1e-4)


def test_a_weights_folder_may_lack_a_head_but_not_have_a_damaged_one(tmp_path: Path) -> None:
    assert stored_head(tmp_path) is None
    save_file({"blocks.0": torch.zeros(1)}, tmp_path / HEAD_FILE)
    with pytest.raises(WeightsError, match="LandmarkHead"):
        stored_head(tmp_path)
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    (earlier / "hand_lifter.safetensors").touch()
    with pytest.raises(WeightsError, match="rename it"):
        stored_head(earlier)
    head = LandmarkHead()
    save_file({k: v.contiguous() for k, v in head.state_dict().items()}, tmp_path / HEAD_FILE)
    back = load_head(tmp_path / HEAD_FILE)
    assert not back.training
    torch.testing.assert_close(back.world.weight, head.world.weight)
