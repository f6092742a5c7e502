# SPDX-License-Identifier: GPL-3.0-or-later
"""Clips: continuous motion, hands never inside each other, and truth that projects onto the frames."""

from functools import lru_cache
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import inference_core
from inference_core.geometry.projection import project_pinhole
from inference_core.geometry.rotations import geodesic_angle
from inference_core.hand_model.load import load_open_hand
from training.synthetic.batch import VISIBLE
from training.synthetic.curves import smooth_upper_bound, through_keys
from training.synthetic.generate import load_kit
from training.synthetic.randomness import Randomness
from training.synthetic.sequence import SyntheticClip, draw_motion, generate_sequence, posed_motion
from training.synthetic.settings import Settings

DEMO = Path(inference_core.__file__).parent / "demo"
SETTINGS = Settings(backgrounds=2, supersample=1)


@lru_cache(maxsize=1)
def clip() -> SyntheticClip:
    return generate_sequence(seed=3, frames=6, fps=25, size_px=(160, 96), subframes=1, settings=SETTINGS)


def test_a_clip_is_the_same_for_the_same_seed() -> None:
    again = generate_sequence(seed=3, frames=6, fps=25, size_px=(160, 96), subframes=1, settings=SETTINGS)
    assert torch.equal(clip().frames, again.frames)
    assert clip().frames.shape == (6, 3, 96, 160)


def test_joints_project_to_the_clips_labels() -> None:
    made = clip()
    torch.testing.assert_close(project_pinhole(made.joints_cam_m, made.K), made.joints_px)
    assert (made.visibility == VISIBLE).float().mean() > 0.2


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_motion_is_continuous_without_intersections(seed: int) -> None:
    kit = load_kit(torch.device("cpu"))
    random = Randomness(seed, torch.zeros(1, dtype=torch.int64))
    time_s = torch.arange(200) / 50
    motion = draw_motion(random, time_s, kit, Settings())
    posed, gap_m = posed_motion(kit, motion, torch.zeros(2, 10), rate_hz=50)
    assert gap_m.min() > -1e-4
    assert gap_m.min() < 0.02, "the hands meet"
    speed_m_s = posed.joints21_m.diff(dim=0).norm(dim=-1) * 50
    assert speed_m_s.max() < 5
    turn_rad_s = geodesic_angle(posed.rotations[1:], posed.rotations[:-1]) * 50
    assert turn_rad_s.max() < 25
    jump_m = posed.joints16_m[:, :, 0].diff(n=2, dim=0).norm(dim=-1)
    assert jump_m.max() < 0.014


def test_curves_pass_through_their_keys_at_rest() -> None:
    key_s, keys = torch.tensor([0.0, 1.0, 3.0]), torch.tensor([[0.0], [2.0], [1.0]])
    torch.testing.assert_close(through_keys(key_s, keys, key_s), keys)
    near = through_keys(key_s, keys, torch.tensor([0.99, 1.0, 1.01]))
    assert near.diff(dim=0).abs().max() < 1e-3


def test_the_upper_bound_is_valid_and_smooth() -> None:
    values = torch.randn(200)
    bound = smooth_upper_bound(values, 6)
    assert (bound >= values - 1e-6).all()
    assert bound.diff().abs().max() < 0.5 * values.diff().abs().max()


def test_the_bundled_clip_matches_its_truth() -> None:
    with np.load(DEMO / "two_hands_truth.npz", allow_pickle=False) as stored:
        truth = {name: torch.from_numpy(stored[name]) for name in stored.files}
    with av.open(str(DEMO / "two_hands.mp4")) as movie:
        frames = [frame.to_ndarray(format="rgb24") for frame in movie.decode(video=0)]
    assert len(frames) == len(truth["time_s"]) == 100
    assert frames[0].shape[1::-1] == tuple(truth["size_px"].tolist())
    assert sum(path.stat().st_size for path in DEMO.glob("two_hands*")) < 1_500_000
    pixels = project_pinhole(truth["joints_cam_m"].float(), truth["K"].float())
    assert (pixels > 0).all() and (pixels < truth["size_px"]).all(), "both hands in every frame"
    distance_m = truth["wrist_cam_m"].norm(dim=-1)
    assert distance_m.min() > 0.45 and distance_m.max() < 0.75
    # Skin at the knuckles is skin-coloured: redder than blue, unlike the grey wall.
    at = pixels[:, :, [5, 9, 13]].long()
    colours = np.stack([frame[at[t, ..., 1], at[t, ..., 0]] for t, frame in enumerate(frames)]).astype(int)
    assert (colours[..., 0] - colours[..., 2] > 15).mean() > 0.95


def test_the_bundled_truth_follows_from_its_own_parameters() -> None:
    from inference_core.geometry.rotations import quaternion_to_matrix

    with np.load(DEMO / "two_hands_truth.npz", allow_pickle=False) as stored:
        truth = {name: torch.from_numpy(stored[name]).float() for name in stored.files}
    quaternions = torch.cat([truth["root_wxyz"][:, :, None], truth["pose_wxyz"]], 2)
    shaped = load_open_hand().tensors().with_shape(truth["betas"].expand(100, -1, -1))
    posed = shaped.with_pose(quaternion_to_matrix(quaternions), truth["wrist_cam_m"])
    torch.testing.assert_close(posed.joints21_m, truth["joints_cam_m"], atol=1e-3, rtol=0)
