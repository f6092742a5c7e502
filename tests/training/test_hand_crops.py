# SPDX-License-Identifier: GPL-3.0-or-later
"""Made hand crops: what they are labelled with is what they show, and a seed makes them again."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inference_core.hand_model.hand import PosedHands
from inference_core.landmarks.crop_squares import cut, to_crop
from inference_core.landmarks.formats import CROP_PX, HEAD_FILE
from inference_core.landmarks.hand_crops import crop_features, points_to_crop
from inference_core.landmarks.landmark_head import LandmarkHead, load_head
from inference_core.landmarks.networks import load_landmark_networks
from inference_core.landmarks.weights import load_landmark_network
from inference_core.shared.skeleton import LEFT, RIGHT
from training.config import HeadExperiment
from training.data.hand_crops import HandCrops, cut_hand_crops
from training.feature_cache.store import SetError, from_bytes
from training.hand_crops.early_features import early_features, fastest_reader, torch_reader
from training.hand_crops.layers import LAYER_PX, ROOM, Layers, on_layer, render_layers
from training.hand_crops.made import Made, made_crops, made_rows
from training.hand_crops.pictures import draw_shots, taken
from training.hand_crops.scenes import HandScene, build_hand_scene, draw_hand_appearance
from training.hand_crops.shards import VALIDATION_SEED, CropSet, scene_settings, shard_path, write_shard
from training.hand_crops.whole_pictures import cut_pictures, rows_from_pictures
from training.hand_crops.windows import Windows, draw_cuts, windows_of, world_in_crop
from training.presets import LANDMARK_HEAD
from training.synthetic.generate import load_kit
from training.synthetic.randomness import Randomness
from training.synthetic.shading import draw_lights
from training.trainer.checkpoint import CHECKPOINT_FILE, CheckpointError
from training.trainer.head_validation import crop_errors
from training.trainer.landmark_head import train_head

KIT = load_kit(torch.device("cpu"))
NETWORK = load_landmark_network()
SCENES = replace(scene_settings(), backgrounds=2)
PICTURES = torch.arange(8)


@pytest.fixture(scope="module")
def scene() -> HandScene:
    return build_hand_scene(Randomness(3, PICTURES), KIT, SCENES)


@pytest.fixture(scope="module")
def layers(scene: HandScene) -> Layers:
    random = Randomness(3, PICTURES)
    with torch.inference_mode():
        return render_layers(
            KIT, scene, windows_of(scene), draw_hand_appearance(random, SCENES), draw_lights(random, SCENES)
        )


@pytest.fixture(scope="module")
def made() -> Made:
    return made_crops(KIT, SCENES, 3, PICTURES, 2)


def test_labels_are_on_the_layers_hand(scene: HandScene, layers: Layers) -> None:
    windows = windows_of(scene)
    own = layers.part == windows.side[:, None, None]
    on_hand = []
    for number, at in enumerate(on_layer(windows.landmarks_m, windows.square)[..., :2]):
        column, row = at.long().clamp(0, LAYER_PX - 1).unbind(-1)
        # A tip's landmark may stand a pixel or two beside the skin, and other hands and things hide some.
        near = torch.nn.functional.max_pool2d(own[number][None].float(), 9, 1, 4)[0].bool()
        if own[number].sum() > 4000:
            on_hand.append(near[row, column].float().mean())
    assert len(on_hand) >= 5 and torch.stack(on_hand).mean() > 0.9


def test_points_appear_in_a_cut_at_their_labels(layers: Layers, scene: HandScene) -> None:
    """A bright dot in the layer is found in the crop at the dot's place by `crop_squares`, mirrored for left hands."""
    windows = windows_of(scene)
    cuts = draw_cuts(Randomness(1, torch.arange(len(windows.side))), windows)
    plain = draw_shots(Randomness(1, torch.arange(len(windows.side))), 2)
    plain = replace(
        plain,
        side_px=np.full_like(plain.side_px, 1000.0),
        tint=np.zeros_like(plain.tint),
        shade=np.zeros_like(plain.shade),
        motion_px=np.zeros_like(plain.motion_px),
        blur_px=np.zeros_like(plain.blur_px),
        colour=np.broadcast_to(np.eye(3, 4), plain.colour.shape),
        gamma=np.ones_like(plain.gamma),
        noise=np.zeros_like(plain.noise),
        quality=np.zeros_like(plain.quality),
        border=np.full_like(plain.border, -1),
    )
    for number in range(len(windows.side)):
        dot = np.zeros((LAYER_PX, LAYER_PX, 4), np.uint8)
        row, column = 150, 130
        dot[row - 2 : row + 2, column - 2 : column + 2] = 255
        crop = taken(
            dot,
            np.zeros(dot.shape[:2], np.float32),
            windows.square[number],
            cuts.square[number],
            int(cuts.shown[number]),
            plain,
            number,
        )
        tangent = _tangent(windows, number, column, row)
        x, y = to_crop(np.append(tangent, 0.0)[None], cuts.square[number], CROP_PX)[0, :2]
        x = CROP_PX - x if cuts.shown[number] == LEFT else x
        found = crop.astype(float).sum(-1)
        seen_x = (found.sum(0) * (np.arange(CROP_PX) + 0.5)).sum() / found.sum()
        seen_y = (found.sum(1) * (np.arange(CROP_PX) + 0.5)).sum() / found.sum()
        np.testing.assert_allclose([seen_x, seen_y], [x, y], atol=0.6)


def _tangent(windows: Windows, number: int, column: float, row: float) -> np.ndarray:
    """Where a layer's pixel corner lies, in tangents; undoes `on_layer`."""
    cx, cy, side, rotation = windows.square[number]
    x, y = ((np.array([column, row]) - LAYER_PX / 2) * ROOM * side / LAYER_PX).tolist()
    cos, sin = np.cos(rotation), np.sin(rotation)
    return np.array([cx + cos * x - sin * y, cy + sin * x + cos * y])


def test_points_and_world_landmarks_agree_by_weak_perspective(made: Made) -> None:
    """Also of crops mirrored the wrong way, and wherever the hand stands in a wide picture."""
    flat = made.cuts.points - made.cuts.points.mean(1, keepdim=True)
    across_m = made.cuts.world_m[..., :2]
    scale = (flat * across_m).sum((1, 2)) / flat.square().sum((1, 2))
    off_m = (across_m - scale[:, None, None] * flat).norm(dim=-1).mean(1)
    assert ((scale > 0.03) & (scale < 0.2)).all()
    # Perspective and the wide lens's stretch are what is left.
    assert off_m.median() < 0.008 and off_m.max() < 0.03


def test_a_mirrored_left_hand_is_a_right_hand(scene: HandScene) -> None:
    """The crop of the scene's mirror image, whose hands have the other side, has the same truth."""
    flip = torch.tensor([-1.0, 1.0, 1.0])
    posed = scene.posed
    turned = flip[:, None] * posed.rotations.flip(1) * flip
    assert posed.wrist_m is not None
    shaped = posed.shaped.model.with_shape(posed.shaped.betas.flip(1))
    mirrored: PosedHands = shaped.with_pose(turned, posed.wrist_m.flip(1) * flip)
    other = replace(scene, posed=mirrored, present=scene.present.flip(1))
    windows, others = windows_of(scene), windows_of(other)
    index = windows.picture * 2 + windows.side
    their = others.rows(_order(others.picture * 2 + 1 - others.side, index))
    ours, theirs = _still(windows), _still(their)
    torch.testing.assert_close(ours[0], theirs[0], atol=2e-3, rtol=0)
    torch.testing.assert_close(ours[1], theirs[1], atol=2e-4, rtol=0)


def test_some_crops_are_wider_than_a_trackers() -> None:
    square = np.tile([0.1, 0.0, 0.4, 0.0], (400, 1))
    points = np.zeros((400, 21, 2))
    windows = Windows(
        torch.arange(400), torch.zeros(400).long(), square, points, torch.ones(400, 21, 3), points
    )
    larger = draw_cuts(Randomness(2, torch.arange(400)), windows).square[:, 2] / 0.4
    assert 0.25 < (larger > 1.12).mean() < 0.5
    assert 0.9 < np.median(larger[larger < 1.12]) < 1.03 and np.quantile(larger, 0.97) < ROOM


def _order(keys: Tensor, wanted: Tensor) -> Tensor:
    return torch.stack([(keys == key).nonzero()[0, 0] for key in wanted])


def _still(windows: Windows) -> tuple[Tensor, Tensor]:
    """Points and world landmarks of crops that are exactly the windows, each for its own side."""
    side = windows.side.numpy()
    points = torch.from_numpy(points_to_crop(windows.points, windows.square, side)).float()
    return points, world_in_crop(windows.landmarks_m.double(), windows.points, windows.square, side)


def test_crops_depend_on_the_seed_and_not_on_the_batch(made: Made) -> None:
    again = made_crops(KIT, SCENES, 3, PICTURES[4:6], 2)
    rows = [n for n, picture in enumerate(made.windows.picture.tolist()) if picture in (4, 5)]
    assert len(rows) == len(again.images)
    torch.testing.assert_close(made.cuts.points[rows], again.cuts.points)
    off = np.abs(made.images[rows].astype(int) - again.images.astype(int))
    assert off.mean() < 0.01
    other = made_crops(KIT, SCENES, 4, PICTURES[4:6], 1)
    assert (
        other.images.shape != again.images[::2].shape
        or np.abs(other.images.astype(int) - again.images[::2].astype(int)).mean() > 5
    )


def test_crops_cover_both_views_and_both_mirrorings(made: Made) -> None:
    assert 0 < made.own_view.float().mean() < 1
    assert made.cuts.right.float().mean() > 0.5
    assert {LEFT, RIGHT} == set(made.windows.side.tolist())
    assert (made.gap_m < 0.003).any()


def test_stored_features_are_those_of_the_landmark_network(made: Made, tmp_path: Path) -> None:
    rows = made_rows(KIT, SCENES, 3, 0, len(PICTURES), 2, torch_reader(NETWORK, torch.float32))
    squares = np.tile([CROP_PX / 2, CROP_PX / 2, float(CROP_PX), 0.0], (len(made.images), 1))
    sides = np.full(len(made.images), RIGHT)
    direct = torch.from_numpy(crop_features(list(made.images), squares, sides, load_landmark_networks()))
    index = made.windows.picture * 16 + made.windows.side * 8 + made.cut
    chosen = _order(index, rows.picture * 16 + rows.side.long() * 8 + rows.cut.long())
    write_shard(shard_path(tmp_path, 3, 0), rows)
    back = CropSet([shard_path(tmp_path, 3, 0)])
    stored = back.features(torch.arange(len(back)))
    assert _off(stored, direct[chosen]) < 0.04
    fast = early_features(made.images, fastest_reader(NETWORK))
    assert _off(fast, direct) < 0.08
    assert torch.equal(stored, from_bytes(rows.features))


def _off(read: Tensor, true: Tensor) -> float:
    return float((read - true).norm() / true.norm())


def test_missing_and_truncated_shards_are_named(tmp_path: Path) -> None:
    with pytest.raises(SetError, match="no hand crops"):
        CropSet([])
    path = shard_path(tmp_path, 1, 0)
    path.write_bytes(b"cut short")
    with pytest.raises(SetError, match=path.name):
        CropSet([path])


def head_run(crops: Path, out: Path, **run: Any) -> HeadExperiment:
    """The preset with some settings of its run."""
    quick = replace(LANDMARK_HEAD.optimiser, warmup_steps=4)
    settings = replace(LANDMARK_HEAD.run, out=out, **run)
    return replace(LANDMARK_HEAD, crops=crops, optimiser=quick, run=settings)


def test_a_head_learns_from_crops_and_resumes(tmp_path: Path) -> None:
    crops, out = tmp_path / "crops", tmp_path / "out"
    rows = made_rows(KIT, SCENES, 3, 0, 8, 2, torch_reader(NETWORK))
    for seed in (3, VALIDATION_SEED):
        write_shard(shard_path(crops, seed, 0), rows)
    untaught = LandmarkHead()
    untaught.start_from(NETWORK)
    device, back = torch.device("cpu"), CropSet([shard_path(crops, 3, 0)])
    all_rows = torch.arange(len(back))
    before = crop_errors(untaught, back, all_rows, device).world_m.mean()
    train_head(head_run(crops, out, steps=30), device)
    taught = train_head(head_run(crops, out, steps=60), device).average
    assert crop_errors(taught, back, all_rows, device).world_m.mean() < 0.8 * before
    # The second command made thirty steps more, of the same optimiser.
    state = torch.load(out / LANDMARK_HEAD.name / CHECKPOINT_FILE, weights_only=True)
    assert state["step"] == 60 == int(state["optimiser"]["state"][0]["step"])
    torch.testing.assert_close(
        load_head(out / LANDMARK_HEAD.name / HEAD_FILE).world.weight,
        taught.world.weight,
        atol=1e-3,
        rtol=1e-2,
    )
    # Another run starts from these weights: one step later they are nearly the same.
    again = head_run(crops, tmp_path / "on", steps=1, init_from=out / LANDMARK_HEAD.name / HEAD_FILE)
    gone_on = train_head(again, device).average
    torch.testing.assert_close(gone_on.world.weight, taught.world.weight, atol=2e-3, rtol=2e-2)
    with pytest.raises(CheckpointError, match="another experiment"):
        train_head(head_run(crops, out, steps=70, seed=1), device)


def test_a_crop_row_has_one_of_everything() -> None:
    rows = made_rows(KIT, SCENES, 5, 0, 2, 1, torch_reader(NETWORK))
    assert {len(getattr(rows, field.name)) for field in fields(rows)} == {len(rows.side)}


def test_crops_of_whole_pictures_are_those_that_a_tracker_would_cut() -> None:
    """Turned, mirrored for left hands and beyond the picture's border, as `crop_squares.cut` has them."""
    size, focal = 160, 200.0
    coarse = torch.rand(2, 3, 10, 10, generator=torch.Generator().manual_seed(0))
    images = (torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear") * 255).byte()
    K = torch.tensor([[focal, 0, 80.0], [0, focal, 75.0], [0, 0, 1]]).expand(2, 3, 3)
    square = np.array([[0.1, 0.05, 0.4, 0.6], [-0.3, 0.2, 0.5, -2.0], [0.0, 0.0, 0.3, 0.0]])
    picture, shown = torch.tensor([0, 1, 1]), np.array([RIGHT, LEFT, RIGHT])
    crops = cut_pictures(images, K, picture, square, shown)
    for number, (cx, cy, side, turn) in enumerate(square):
        in_pixels = np.array([focal * cx + 80, focal * cy + 75, focal * side, turn])
        image = images[picture[number]].permute(1, 2, 0).contiguous().numpy()
        by_tracker = cut(image, in_pixels, CROP_PX)
        by_tracker = by_tracker[:, ::-1] if shown[number] == LEFT else by_tracker
        off = np.abs(crops[number].permute(1, 2, 0).numpy() * 255 - by_tracker.astype(float))
        assert off.mean() < 1.0


def test_whole_pictures_give_rows_of_visible_hands() -> None:
    settings = replace(SCENES, size_px=128, chunk=6)
    rows = rows_from_pictures(settings, 5, 0, 6, 2, NETWORK)
    assert len(rows.side) >= 6 and {len(getattr(rows, field.name)) for field in fields(rows)} == {
        len(rows.side)
    }
    again = rows_from_pictures(settings, 5, 3, 3, 2, NETWORK)
    same = rows.chosen(rows.picture >= 3)
    torch.testing.assert_close(same.points, again.points)
    assert _off(from_bytes(same.features), from_bytes(again.features)) < 0.05
    # Read by the network that never saw a rendered hand, the labels are roughly where it sees them.
    read = NETWORK.read(from_bytes(rows.features)).points[..., :2] / 112 - 1
    assert (read - rows.points)[rows.right].norm(dim=-1).mean() < 0.35


def test_unknown_hands_have_no_crop() -> None:
    image = np.random.default_rng(1).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    known = np.array([[True, False]])
    points = np.random.default_rng(0).uniform(20, 80, (1, 2, 21, 2))
    hand_crops = cut_hand_crops([image], points, known, np.eye(3)[None], load_landmark_networks())
    assert (hand_crops.crops[..., 2] > 0).tolist() == [[True, False]]
    assert (hand_crops.features[0, 1] == 0).all() and hand_crops.features[0, 0].abs().mean() > 0.01
    both = HandCrops.joined([hand_crops, hand_crops])
    assert both.features.shape[0] == 2 and torch.equal(both.uv_from_px[1], hand_crops.uv_from_px[0])
