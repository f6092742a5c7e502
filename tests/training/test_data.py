# SPDX-License-Identifier: GPL-3.0-or-later
"""Data sets on disk: the processed layout against its golden values, made-up copies of the others, and damage."""

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from inference_core.hand_model.hand import HandModel
from inference_core.two_hand.picture import normalised
from tests.inference_core.released_network import toy_hand
from training.data.hic import CLIPS, FITS, READINGS, Fit, HandsInAction, Reading, parameters
from training.data.item import DamagedItemError, DataSetError, sample_from_items, stacked
from training.data.prepare import prepare, raw_entries
from training.data.prepared import PreparedHands
from training.data.processed import ProcessedInterHand
from training.data.raw_interhand import ANNOTATION_FILES
from training.data.re_interhand import TEST_CAPTURES
from training.data.sample import LEFT_HAND, RIGHT_HAND, Sample
from training.data.stored import StoredSource, in_order, open_data_set

DATA = Path(__file__).parents[1] / "data" / "interhand"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def toy() -> HandModel:
    """The toy hand with the golden file's fingertips: there the left middle one is vertex 444 as on the right."""
    return replace(toy_hand(), tip_vertices=np.array([[745, 317, 444, 556, 673]] * 2)).tensors()


@pytest.fixture(scope="module")
def processed(toy) -> Sample:
    data = ProcessedInterHand.opened(DATA / "mini", "test", toy)
    return sample_from_items(stacked([data[k] for k in range(len(data))]), toy, CPU)


def test_the_processed_layout_reproduces_the_golden_targets(processed):
    joints = processed.joints_rel_m + processed.wrist_cam_m[:, :, None]
    vertices = processed.vertices_rel_m + processed.wrist_cam_m[:, :, None]
    with np.load(DATA / "golden.npz") as golden:
        for k, side in enumerate(("left", "right")):
            for ours, name in ((joints, "joint"), (vertices, "mesh")):
                np.testing.assert_allclose(ours[:, k].numpy(), golden[f"targets/{name}_3d_{side}"], atol=1e-6)
            for ours, name in ((processed.joints_uv, "joint"), (processed.vertices_uv, "mesh")):
                target = golden[f"targets/{name}_2d_{side}"]
                np.testing.assert_allclose(ours[:, k].numpy(), target[..., :2], atol=3e-6)
            np.testing.assert_allclose(
                joints[:, k, 9].numpy(), golden[f"meta/center_{side}"][:, 0], atol=1e-6
            )
        np.testing.assert_allclose(processed.K.numpy(), golden["meta/camera"])
        means = normalised(processed.image).mean(dim=(2, 3)).numpy()
        np.testing.assert_allclose(means, golden["inputs/img_mean"], atol=1e-5)


def test_masks_are_green_for_left_and_red_for_right(tmp_path, toy):
    copied = _processed_copy(tmp_path)
    mask = np.zeros((256, 256, 3), np.uint8)
    mask[:, :100, 1], mask[:, 150:, 2] = 255, 255  # BGR on disk: green, then red
    cv2.imwrite(str(copied / "test" / "mask" / "0.jpg"), mask)
    sides = ProcessedInterHand.opened(copied, "test", toy)[0].side_mask
    assert (sides[:, :90] == LEFT_HAND).all() and (sides[:, 160:] == RIGHT_HAND).all()


@pytest.mark.parametrize("piece", ["img", "mask", "dense", "anno"])
def test_a_missing_folder_is_named(tmp_path, toy, piece):
    copied = _processed_copy(tmp_path)
    shutil.rmtree(copied / "test" / piece)
    with pytest.raises(DataSetError, match=rf"test/{piece} is missing"):
        open_data_set(copied, toy, "test")


def test_a_pickle_with_code_is_refused_without_running_it(tmp_path, toy):
    copied = _processed_copy(tmp_path)

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "run",))

    (copied / "test" / "anno" / "1.pkl").write_bytes(pickle.dumps({"camera": Evil()}))
    with pytest.raises(DamagedItemError, match=r"1\.pkl is damaged"):
        ProcessedInterHand.opened(copied, "test", toy)[1]
    assert not (tmp_path / "run").exists()


def test_damaged_items_are_skipped_counted_and_reported(tmp_path, toy, capsys):
    copied = _processed_copy(tmp_path)
    picture = copied / "test" / "img" / "2.jpg"
    picture.write_bytes(picture.read_bytes()[:-2000])
    data = open_data_set(copied, toy, "test")
    whole = list(in_order(data, 4, CPU))
    assert sum(sample.batch for sample, _ in whole) == 3
    assert [message for _, skipped in whole for message in skipped] == [
        f"{picture} is damaged or no picture."
    ]
    batch = next(StoredSource(data, 4, 0, 0, CPU).batches(0))
    assert batch.batch == 4, "training takes the next whole item instead"
    assert "skipped (1 so far)" in capsys.readouterr().err


def test_stored_batches_are_the_same_from_any_step(toy):
    data = open_data_set(DATA / "mini", toy, "test")
    source = StoredSource(data, 2, 7, 0, CPU)
    straight = source.batches(0)
    first_three = [next(straight).K for _ in range(3)]
    assert torch.equal(next(source.batches(2)).K, first_three[2])


def test_raw_interhand_becomes_crops_with_both_hands(tmp_path, toy):
    raw = _raw_copy(tmp_path / "raw", toy)
    count, skipped = prepare(raw, "test", toy, tmp_path / "out")
    assert count == 1, "one is whole, one dark, one cut short, one of a single hand, one without a fit"
    assert (
        len(skipped) == 2 and any("too dark" in s for s in skipped) and any("damaged" in s for s in skipped)
    )
    data = open_data_set(tmp_path / "out", toy, "test")
    assert isinstance(data, PreparedHands)
    sample = sample_from_items(stacked([data[0]]), toy, CPU)
    box = sample.vertices_uv.flatten(1, 2)
    low, high = box.amin(dim=1), box.amax(dim=1)
    assert (high - low).max().item() == pytest.approx(1.6, abs=1e-3), "the box takes 0.8 of the crop"
    assert ((low + high) / 2).abs().max() < 1e-3
    mask = sample.side_mask[0]
    for side in (0, 1):
        x, y = ((sample.vertices_uv[0, side] + 1) * 128).long().clamp(0, 255).unbind(-1)
        shown = mask[y, x]
        assert (shown > 0).float().mean() > 0.95
        assert (mask == LEFT_HAND + side).any()


@pytest.mark.parametrize("data_set", ["InterHand2.6M", "Re:InterHand"])
def test_a_converted_hand_matches_its_raw_annotation(tmp_path, toy, data_set):
    copy = _raw_copy if data_set == "InterHand2.6M" else _re_interhand_copy
    raw = copy(tmp_path / "raw", toy)
    prepare(raw, "test", toy, tmp_path / "out")
    sample = sample_from_items(stacked([PreparedHands.opened(tmp_path / "out", "test", toy)[0]]), toy, CPU)
    entry = raw_entries(raw, "test")[0]
    fits = entry.read_fits()
    vectors = torch.tensor([fit["pose"] for fit in fits]).reshape(2, 16, 3)
    vectors[:, 1:] += toy.hands_mean.reshape(2, 15, 3)
    from inference_core.geometry.rotations import exp

    shaped = toy.with_shape(torch.tensor([fit["shape"] for fit in fits]))
    world = shaped.with_pose(exp(vectors)).joints21_m + torch.tensor([fit["trans"] for fit in fits])[:, None]
    in_camera = world @ torch.from_numpy(entry.turn).mT + torch.from_numpy(entry.shift_m)
    ours = sample.joints_rel_m[0] + sample.wrist_cam_m[0][:, None]
    assert (ours - in_camera).abs().max() < 1e-5


@pytest.mark.parametrize("name", ANNOTATION_FILES)
def test_a_missing_annotation_file_is_named(tmp_path, toy, name):
    raw = _raw_copy(tmp_path, toy)
    (raw / "annotations" / "test" / f"InterHand2.6M_test_{name}.json").unlink()
    with pytest.raises(DataSetError, match=rf"InterHand2\.6M_test_{name}\.json is missing"):
        raw_entries(raw, "test")


def test_re_interhand_gives_each_camera_of_each_fitted_frame(tmp_path, toy):
    raw = _re_interhand_copy(tmp_path / "raw", toy)
    entries = raw_entries(raw, "test")
    assert len(entries) == 2 * 3, "two cameras, three frames of four have fits of both hands"
    assert {entry.picture.parent.name for entry in entries} == {"400262", "400265"}
    count, skipped = prepare(raw, "test", toy, tmp_path / "out")
    assert count == 3 and len(skipped) == 3
    told = " ".join(skipped)
    assert "000102.png is damaged" in told and "103_left.json is truncated" in told
    assert [entry.picture.parents[4].name for entry in raw_entries(raw, "train")] == [
        "m--20990101--0000--XYZ"
    ]
    with pytest.raises(DataSetError, match="no capture of Re:InterHand's val split"):
        raw_entries(raw, "val")


@pytest.mark.parametrize(
    "piece", ["Mugsy_cameras/cam_params.json", "mano_fits/params", "Mugsy_cameras/envmap_per_frame/images"]
)
def test_a_missing_file_of_re_interhand_is_named(tmp_path, toy, piece):
    raw = _re_interhand_copy(tmp_path, toy)
    path = raw / f"{TEST_CAPTURES[0]}--pilot" / piece
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DataSetError, match=rf"{piece} is missing"):
        raw_entries(raw, "test")


@pytest.mark.parametrize("reading", READINGS, ids=str)
def test_hands_in_action_conventions_are_inferred_from_vertices(tmp_path, toy, reading):
    _hands_in_action_copy(tmp_path, toy, reading)
    data = open_data_set(tmp_path, toy, "test")
    assert isinstance(data, HandsInAction) and len(data) == 1 and data.fingers == reading.fingers
    sample = sample_from_items(stacked([data[0]]), data.hand, CPU)
    stored = np.stack([_fit_of(tmp_path, "03", side)["v"] for side in "LR"])
    points = (sample.vertices_rel_m + sample.wrist_cam_m[:, :, None])[0]
    np.testing.assert_allclose(points.numpy(), stored, atol=1e-5)
    assert sample.vertices_uv.abs().max() < 1


def test_hands_in_action_is_test_only_and_its_faults_are_named(tmp_path, toy):
    _hands_in_action_copy(tmp_path, toy, READINGS[0])
    with pytest.raises(DataSetError, match="for testing only"):
        open_data_set(tmp_path, toy, "train")
    fit = _fit_of(tmp_path, "03", "L")
    path = _fit_path(tmp_path, "03", "L")
    path.write_bytes(pickle.dumps({**fit, "v": fit["v"] + 0.02}, protocol=4))
    with pytest.raises(DataSetError, match="miss its own vertices by"):
        open_data_set(tmp_path, toy, "test")
    path.write_bytes(b"no pickle")
    with pytest.raises(DataSetError, match="none of the 1 fits can be read"):
        open_data_set(tmp_path, toy, "test")
    shutil.rmtree(tmp_path / "05" / "1" / "rgb")
    with pytest.raises(DataSetError, match="05/1/rgb is missing"):
        open_data_set(tmp_path, toy, "test")


def _processed_copy(folder: Path) -> Path:
    shutil.copytree(DATA / "mini", folder / "mini")
    return folder / "mini"


def _raw_copy(root: Path, hand: HandModel) -> Path:
    """InterHand2.6M's own layout with five made-up pictures, one of them good."""
    rng = np.random.default_rng(5)
    pictures = root / "images" / "test" / "Capture0" / "ROM01" / "cam400262"
    pictures.mkdir(parents=True)
    (root / "annotations" / "test").mkdir(parents=True)
    images, annotations, fits = [], [], {}
    for frame, kind in enumerate(("good", "dark", "cut", "single", "unfitted")):
        image = rng.integers(0, 5 if kind == "dark" else 255, (512, 334, 3), np.uint8)
        path = pictures / f"image{frame}.jpg"
        cv2.imwrite(str(path), image)
        if kind == "cut":
            path.write_bytes(path.read_bytes()[:3000])
        file_name = f"Capture0/ROM01/cam400262/image{frame}.jpg"
        images.append(
            {"id": frame, "file_name": file_name, "capture": 0, "camera": "400262", "frame_idx": frame}
        )
        hand_type = "right" if kind == "single" else "interacting"
        annotations.append({"image_id": frame, "hand_type": hand_type, "hand_type_valid": 1})
        sides = {
            side: {
                "pose": (0.2 * rng.standard_normal(48)).tolist(),
                "shape": (0.3 * rng.standard_normal(10)).tolist(),
                "trans": [(-0.12, 0.12)[k], 0.0, 0.9],
            }
            for k, side in enumerate(("left", "right"))
        }
        fits[str(frame)] = {**sides, "left": None} if kind == "unfitted" else sides
    camera = {"campos": {"400262": [10.0, -20.0, -300.0]}, "camrot": {"400262": np.eye(3).tolist()}}
    camera |= {"focal": {"400262": [900.0, 900.0]}, "princpt": {"400262": [167.0, 256.0]}}
    contents = {
        "data": {"images": images, "annotations": annotations},
        "camera": {"0": camera},
        "joint_3d": {"0": {}},
        "MANO_NeuralAnnot": {"0": fits},
    }
    for name, content in contents.items():
        path = root / "annotations" / "test" / f"InterHand2.6M_test_{name}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
    return root


def _re_interhand_copy(root: Path, hand: HandModel) -> Path:
    """Re:InterHand's own layout: a capture to test on with two cameras and four frames, one to train on with one."""
    rng = np.random.default_rng(6)
    for capture, cameras, frames in (
        (f"{TEST_CAPTURES[0]}--pilot", ("400262", "400265"), (101, 102, 103, 104)),
        ("m--20990101--0000--XYZ", ("400262",), (7,)),
    ):
        folder = root / capture
        (folder / "mano_fits" / "params").mkdir(parents=True)
        views = {}
        for camera in cameras:
            pictures = folder / "Mugsy_cameras" / "envmap_per_frame" / "images" / camera
            pictures.mkdir(parents=True)
            for frame in frames:
                image = rng.integers(0, 255, (512, 334, 3), np.uint8)
                cv2.imwrite(str(pictures / f"{frame:06d}.png"), image)
            turn = cv2.Rodrigues(rng.normal(0, 0.05, 3))[0]
            views[camera] = {"R": turn.tolist(), "t": [10.0, -20.0, 300.0], "focal": [900.0, 905.0]}
            views[camera]["princpt"] = [167.0, 256.0]
        (folder / "Mugsy_cameras" / "cam_params.json").write_text(json.dumps(views))
        for frame in frames:
            for k, side in enumerate(("left", "right")):
                fit = {
                    "pose": (0.2 * rng.standard_normal(48)).tolist(),
                    "shape": (0.3 * rng.standard_normal(10)).tolist(),
                    "trans": [(-0.12, 0.12)[k], 0.0, 0.6],
                }
                (folder / "mano_fits" / "params" / f"{frame}_{side}.json").write_text(json.dumps(fit))
    test = root / f"{TEST_CAPTURES[0]}--pilot"
    cut = test / "Mugsy_cameras" / "envmap_per_frame" / "images" / "400262" / "000102.png"
    cut.write_bytes(cut.read_bytes()[:20000])
    (test / "mano_fits" / "params" / "103_left.json").write_text('{"pose": [')
    (test / "mano_fits" / "params" / "104_right.json").unlink()
    return root


def _hands_in_action_copy(root: Path, hand: HandModel, reading: Reading) -> None:
    """The published layout with a picture in each clip and fits, by a reading, of one of them."""
    rng = np.random.default_rng(3)
    for clip in CLIPS:
        (root / clip / "1" / "rgb").mkdir(parents=True)
        picture = rng.integers(0, 255, (480, 640, 3), np.uint8)
        cv2.imwrite(str(root / clip / "1" / "rgb" / "000.png"), picture)
        for side in "LR":
            _fit_path(root, clip, side).parent.mkdir(parents=True)
    pose, betas = 0.3 * rng.standard_normal((2, 48)), rng.standard_normal((2, 10))
    trans = np.array([[-0.1, 0, 0.7], [0.1, 0, 0.7]])
    fit = Fit(*(torch.from_numpy(part.astype(np.float32)) for part in (pose, betas, trans)), torch.empty(0))
    hand = reading.model(hand)
    rotations, wrist = parameters(fit, hand, reading.fingers)
    vertices = hand.with_shape(fit.betas).with_pose(rotations, wrist).vertices_m.numpy()
    for k, side in enumerate("LR"):
        stored = {"pose": pose[k], "betas": betas[k], "trans": trans[k], "v": vertices[k].astype(np.float64)}
        _fit_path(root, "03", side).write_bytes(pickle.dumps(stored | {"ncomps": 45}, protocol=4))


def _fit_path(root: Path, clip: str, side: str) -> Path:
    return root / FITS / f"IJCV16___fakeGT___IJCV___{clip}___Model_Hand_{side}___ncomps45" / "000.pkl"


def _fit_of(root: Path, clip: str, side: str) -> dict[str, np.ndarray]:
    return pickle.loads(_fit_path(root, clip, side).read_bytes())
