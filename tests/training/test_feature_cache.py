# SPDX-License-Identifier: GPL-3.0-or-later
"""Feature caches: what is stored is what the network would have seen, and faults are named."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from inference_core.fitting.initial_fit import fitted, shape_of
from inference_core.geometry.homography import mapped
from inference_core.hand_model.load import load_open_hand
from inference_core.landmarks.crop_readings import RefinedLandmarks
from inference_core.landmarks.formats import HEAD_FILE
from inference_core.landmarks.hand_crops import Floats, points_to_crop, world_to_crop
from inference_core.landmarks.head_reader import HeadCall
from inference_core.landmarks.landmark_head import LandmarkHead
from inference_core.landmarks.networks import load_landmark_networks
from inference_core.landmarks.weights import load_landmark_network
from inference_core.shared.errors import RequestError, WeightsError
from inference_core.shared.presence import ABSENT
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.two_hand.configuration import DIR_S
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.picture import normalised
from inference_core.two_hand.records import Conditioning
from training.data.hand_crops import HandCrops
from training.data.sample import Sample, uv_from_camera
from training.evaluation.clips import clip_camera
from training.feature_cache.from_clips import cut_samples
from training.feature_cache.make import features, make_set
from training.feature_cache.refine import refine_set, refined
from training.feature_cache.source import FeatureCacheSource, validation_set, with_vertices
from training.feature_cache.store import (
    REFINED,
    SetCard,
    SetError,
    StoredSet,
    open_set,
    write_part,
    write_refined,
)
from training.hand_crops.shards import scene_settings
from training.hand_crops.windows import world_in_crop
from training.synthetic.sequence import SyntheticClip, generate_sequence
from training.synthetic.settings import Settings

CARD = SetCard("palm", 1, 4, {})
NETWORKS = load_landmark_networks()
SCENES = Settings(
    backgrounds=2, vertices=False, supersample=1, one_hand=0, no_hand=0, held_thing=0, loose_thing=0
)


@pytest.fixture(scope="module")
def clip() -> SyntheticClip:
    return generate_sequence(5, 4, size_px=(320, 180), subframes=1, settings=SCENES)


def perfect_tracks(clip: SyntheticClip) -> HandTracks:
    points = clip.landmarks_cam_m
    px = points @ clip.K.mT
    score = torch.ones(*points.shape[:-1], 1)
    present = np.where(clip.present.numpy(), 1, ABSENT).astype(np.uint8)
    landmarks = torch.cat([px[..., :2] / px[..., 2:], score], -1).numpy()
    return HandTracks(
        landmarks, (points - points.mean(2, keepdim=True)).numpy(), present, present.astype(np.float32)
    )


def stored(folder: Path, clip: SyntheticClip, numbers: tuple[int, ...] = (0, 1, 19)) -> Sample:
    """Writes one file for each number; the samples that each of them holds."""
    open_set(folder, CARD)
    sample = cut_samples(clip, perfect_tracks(clip), NETWORKS)
    assert sample is not None
    backbone = DirNetwork(DIR_S.with_stages(0)).backbone
    sample = replace(sample, levels=features(backbone, sample.image))  # type: ignore[arg-type]
    assert sample.conditioning is not None
    for number in numbers:
        path = folder / f"clip-{number:06d}.safetensors"
        write_part(path, sample)
        (folder / REFINED).mkdir(exist_ok=True)
        write_refined(folder, path, sample.conditioning)
    return sample


def untaught_head(folder: Path) -> Path:
    """A head that is the landmark network yet."""
    head = LandmarkHead()
    head.start_from(load_landmark_network())
    save_file({name: value.contiguous() for name, value in head.state_dict().items()}, folder / HEAD_FILE)
    return folder / HEAD_FILE


def test_crops_of_a_clip_match_truth_and_landmarks(clip: SyntheticClip) -> None:
    sample = cut_samples(clip, perfect_tracks(clip), NETWORKS)
    assert sample is not None and sample.conditioning is not None and sample.landmarks_uv is not None
    joints = sample.joints_rel_m + sample.wrist_cam_m[:, :, None]
    torch.testing.assert_close(uv_from_camera(joints, sample.K[:, None], 256), sample.joints_uv)
    torch.testing.assert_close(sample.conditioning.landmarks_uv, sample.landmarks_uv, atol=2e-4, rtol=0)
    torch.testing.assert_close(sample.conditioning.focal_uv, sample.K[:, 0, 0] / 128)
    posed = (
        load_open_hand().tensors().with_shape(sample.betas).with_pose(sample.rotations, sample.wrist_cam_m)
    )
    torch.testing.assert_close(posed.joints21_m, joints, atol=1e-5, rtol=0)
    # The crop's camera is the clip's turned: distances from it stay.
    torch.testing.assert_close(
        sample.wrist_cam_m.norm(dim=-1), clip.wrist_cam_m.norm(dim=-1), atol=1e-5, rtol=0
    )
    assert clip_camera(clip).K.shape == (3, 3)


def test_hand_crops_contain_the_truth_behind_conditioning(clip: SyntheticClip, tmp_path: Path) -> None:
    """From hand crops, by a head that knows the truth, back to conditioning and the fitted hand."""
    sample = stored(tmp_path, clip, (0,))
    perfect, crops = sample.conditioning, sample.hand_crops
    assert perfect is not None and crops is not None
    assert sample.landmarks_uv is not None and sample.landmarks_rel_m is not None
    uv = sample.landmarks_uv.double().flatten(0, 1)
    px = mapped(uv.numpy(), np.linalg.inv(crops.uv_from_px.double().numpy()).repeat(2, 0))
    squares, sides = crops.crops.double().flatten(0, 1).numpy(), np.tile([0, 1], sample.batch)
    tangent = (uv / perfect.focal_uv.double().repeat_interleave(2)[:, None, None]).numpy()
    world_m = world_in_crop(sample.landmarks_rel_m.double().flatten(0, 1), tangent, squares, sides)
    read = refined(perfect, crops, knowing_head(points_to_crop(px, squares, sides), world_m.numpy()))
    torch.testing.assert_close(read.landmarks_uv, sample.landmarks_uv, atol=1e-3, rtol=0)
    # Along the line of sight, not the camera's axis: lengths are the truth's, directions nearly.
    torch.testing.assert_close(
        read.world_rel_m.norm(dim=-1), sample.landmarks_rel_m.norm(dim=-1), atol=1e-4, rtol=0
    )
    hand = load_open_hand()
    arrays = read.map(Tensor.numpy)
    known = fitted(arrays, shape_of(arrays, hand))
    off_m = np.linalg.norm(known.world_rel_m - sample.landmarks_rel_m.numpy(), axis=-1)
    assert off_m.mean() < 0.006


def test_cached_features_give_the_results_of_the_picture(tmp_path: Path, clip: SyntheticClip) -> None:
    sample = stored(tmp_path, clip, (0,))
    back = StoredSet(tmp_path, [tmp_path / "clip-000000.safetensors"]).rows(torch.tensor([2, 0]))
    torch.testing.assert_close(back.joints_uv, sample.joints_uv[[2, 0]])
    joints = back.joints_rel_m + back.wrist_cam_m[:, :, None]
    torch.testing.assert_close(uv_from_camera(joints, back.K[:, None], 64), back.joints_uv)
    torch.manual_seed(0)
    network, hand = DirNetwork(DIR_S).eval(), load_open_hand().tensors()
    network.backbone.load_pretrained()  # type: ignore[operator]
    levels = features(network.backbone, sample.image)  # type: ignore[arg-type]
    path = tmp_path / "clip-000001.safetensors"
    write_part(path, replace(sample, levels=levels))
    assert sample.conditioning is not None
    write_refined(tmp_path, path, sample.conditioning)
    back = StoredSet(tmp_path, [tmp_path / "clip-000001.safetensors"]).rows(torch.tensor([2, 0]))
    assert back.levels is not None
    with torch.no_grad():
        from_disk = network.from_levels((back.levels[0], *back.levels), hand, back.conditioning).answer
        from_picture = network(normalised(sample.image[[2, 0]]), hand, back.conditioning).answer
    assert (from_disk.joints_m - from_picture.joints_m).norm(dim=-1).mean() < 1e-3
    whole = with_vertices(back, hand)
    assert whole.vertices_rel_m.shape[2] == hand.template_m.shape[1]
    tips = whole.vertices_rel_m[0, 0, hand.tip_vertices[0]]
    torch.testing.assert_close(tips, back.joints_rel_m[0, 0, [4, 8, 12, 16, 20]], atol=1e-5, rtol=0)


def test_batches_are_deterministic_and_exclude_validation_files(tmp_path: Path, clip: SyntheticClip) -> None:
    sample = stored(tmp_path, clip)
    source = FeatureCacheSource(tmp_path, "palm", 3, seed=7, device=torch.device("cpu"))
    first = list(islice(source.batches(0), 4))
    again = next(source.batches(3))
    torch.testing.assert_close(first[3].joints_uv, again.joints_uv)
    assert len(StoredSet(tmp_path, sorted(tmp_path.glob("*.safetensors")))) == 3 * sample.batch
    assert (
        validation_set(tmp_path, load_open_hand().tensors(), 100, torch.device("cpu")).batch == sample.batch
    )
    other = FeatureCacheSource(tmp_path, "efficientnet_lite0", 3, 7, torch.device("cpu"))
    with pytest.raises(RequestError, match="of the palm backbone"):
        next(other.batches(0))


def test_faults_in_a_feature_cache_are_named(tmp_path: Path, clip: SyntheticClip) -> None:
    with pytest.raises(SetError, match="Make one with"):
        StoredSet(tmp_path, [])
    stored(tmp_path, clip, (0,))
    with pytest.raises(SetError, match="made with other settings"):
        open_set(tmp_path, replace(CARD, seed=2))
    with pytest.raises(SetError, match="no samples"):
        StoredSet(tmp_path, [])
    path = tmp_path / "clip-000000.safetensors"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(SetError, match=r"clip-000000\.safetensors is damaged"):
        StoredSet(tmp_path, [path])


def scenes_of(folder: Path) -> Settings:
    """The settings of the scenes in a set, as its card tells them."""
    told = json.loads((folder / "set.json").read_text())["scenes"]
    return Settings(**told | {"ways": tuple(map(tuple, told["ways"])), "fill": tuple(told["fill"])})


def test_making_a_feature_cache_can_be_resumed(tmp_path: Path) -> None:
    make_set(tmp_path, [("clip", 0)], clip_frames=3, seed=1, backgrounds=2)
    assert scenes_of(tmp_path) == replace(
        scene_settings(), backgrounds=2, no_hand=scenes_of(tmp_path).no_hand
    )
    before = (tmp_path / "clip-000000.safetensors").stat().st_mtime_ns
    make_set(tmp_path, [("clip", 0), ("clip", 1)], clip_frames=3, seed=1, backgrounds=2)
    assert (tmp_path / "clip-000000.safetensors").stat().st_mtime_ns == before
    paths = sorted(tmp_path.glob("*.safetensors"))
    with pytest.raises(SetError, match="python -m training cache refine"):
        StoredSet(tmp_path, paths)
    refine_set(tmp_path, untaught_head(tmp_path.parent))
    assert (tmp_path / REFINED / HEAD_FILE).is_file()
    sample = StoredSet(tmp_path, paths).rows(torch.arange(6))
    assert sample.levels is not None and [level.shape[1] for level in sample.levels] == [128, 256, 256]
    assert isinstance(sample.conditioning, Conditioning)
    # Another head reads all anew.
    before = (tmp_path / REFINED / paths[0].name).stat().st_mtime_ns
    refine_set(tmp_path, tmp_path / REFINED / HEAD_FILE)
    assert (tmp_path / REFINED / paths[0].name).stat().st_mtime_ns == before
    (tmp_path / "damaged").mkdir()
    with pytest.raises(WeightsError):
        refine_set(tmp_path, tmp_path / "damaged")


def test_a_feature_cache_fits_networks_of_its_backbone(tmp_path: Path) -> None:
    make_set(tmp_path, [("clip", 0)], clip_frames=2, seed=1, backgrounds=2, backbone_name="landmark")
    refine_set(tmp_path, untaught_head(tmp_path.parent))
    sample = StoredSet(tmp_path, [tmp_path / "clip-000000.safetensors"]).rows(torch.arange(2))
    assert sample.levels is not None
    network = DirNetwork(replace(DIR_S, backbone="landmark", stages=0)).eval()
    levels = (torch.empty(0), *sample.levels)
    hands = network.from_levels(levels, load_open_hand().tensors(), sample.conditioning).answer
    assert hands.joints_m.shape == (2, 2, 21, 3) and hands.joints_m.isfinite().all()
    with pytest.raises(WeightsError, match="backbone is resnet50"):
        make_set(tmp_path / "other", [], 2, 1, 2, "resnet50")


CROPS = np.array([[60.0, 40.0, 50.0, 0.4], [30.0, 70.0, 80.0, -2.0]])
SIDES = np.array([LEFT, RIGHT])


def knowing_head(points: Floats, world_m: Floats, log_sigma: float = -9.0) -> HeadCall:
    """Says what it was told, sure of it."""
    told = RefinedLandmarks(
        points, world_m, np.full((*points.shape[:2], 2), log_sigma), np.zeros(len(points))
    )
    return lambda features: told


def test_head_readings_become_conditioning_of_known_hands_only() -> None:
    random = np.random.default_rng(3)
    points_px, world = random.uniform(10, 90, (1, 21, 2)), random.normal(size=(1, 21, 3)) * 0.05
    crops, sides = CROPS[:1], SIDES[:1]
    homography = torch.tensor([[0.02, 0, -1], [0, 0.02, -1], [0, 0.001, 1.0]])
    hand_crops = HandCrops(
        torch.zeros(2, 2, 112, 14, 14), torch.zeros(2, 2, 4), homography.expand(2, 3, 3).contiguous()
    )
    hand_crops.crops[0, LEFT] = torch.from_numpy(crops[0]).float()
    conditioning = Conditioning.none(2, torch.zeros)
    conditioning.hand_score[0, LEFT] = 0.8
    conditioning.landmark_score[1, RIGHT] = 0.5
    told = points_to_crop(points_px, crops, sides), world_to_crop(world, crops, sides)
    head = knowing_head(*told)
    read = refined(conditioning, hand_crops, head)
    flat = np.concatenate([points_px, np.ones((1, 21, 1))], -1) @ homography.numpy().T
    np.testing.assert_allclose(read.landmarks_uv[0, LEFT], (flat[..., :2] / flat[..., 2:])[0], atol=1e-5)
    np.testing.assert_allclose(read.world_rel_m[0, LEFT], world[0] - world[0, :1], atol=1e-6)
    assert (read.landmark_score[0, LEFT] - 0.8).abs().max() < 1e-4
    assert torch.equal(read.landmark_score[1], conditioning.landmark_score[1])
    # A hand that nothing vouches for is not brought back by a look.
    assert refined(Conditioning.none(2, torch.zeros), hand_crops, head).hand_score.sum() == 0
    unsure = knowing_head(*told, log_sigma=0.0)
    assert refined(conditioning, hand_crops, unsure).hand_score[0, LEFT] < 0.05
