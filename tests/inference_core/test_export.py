# SPDX-License-Identifier: GPL-3.0-or-later
"""A take's hands for other programs, and back."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from inference_core.__main__ import main
from inference_core.exchange.openxr import JOINTS_26, openxr_joints
from inference_core.hand_model.load import load_hand_model
from inference_core.shared import quaternions
from inference_core.shared.presence import ABSENT
from inference_core.shared.take import Take, load_take, save_take
from tests.inference_core import engine_results as made

MOVING = ("root_wxyz", "pose_wxyz", "wrist_cam_m", "joints_cam_m")


@pytest.fixture(scope="module")
def mano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.write_mano(tmp_path_factory.mktemp("mano"))


@pytest.fixture(scope="module")
def takes(mano: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One take on the open hand, one on MANO's; no left hand in the last frame; frames have even numbers."""
    folder = tmp_path_factory.mktemp("takes")
    files = made.hawor(made.engine_shot(mano), folder)
    for name, more in (("open", []), ("mano", ["--mano", str(mano)])):
        assert main(["import", *map(str, files), "--out", str(folder / f"{name}.npz"), *more]) == 0
        take = load_take(folder / f"{name}.npz")
        save_take(Take(**{**vars(take), "frame": 2 * take.frame}), folder / f"{name}.npz")
    return {name: folder / f"{name}.npz" for name in ("open", "mano")}


@pytest.mark.parametrize("kind", ["open", "mano"])
def test_exported_mano_parameters_are_imported_unchanged(
    tmp_path: Path, mano: Path, takes: dict[str, Path], kind: str
) -> None:
    more = ["--mano", str(mano)] if kind == "mano" else []
    assert main(["export", str(takes[kind]), "--as", "mano-npz", "--out", str(tmp_path / "m.npz")]) == 0
    assert main(["import", str(tmp_path / "m.npz"), "--out", str(tmp_path / "t.npz"), *more]) == 0
    before, after = load_take(takes[kind]), load_take(tmp_path / "t.npz")
    for name in ("frame", "time_s", "fps", "size_px", "K", "T_world_cam", "present", "confidence"):
        assert np.array_equal(getattr(before, name), getattr(after, name)), name
    for name in (*MOVING, "rest_vertices_m", "betas"):
        assert np.allclose(getattr(before, name), getattr(after, name), atol=2e-6, equal_nan=True), name


def test_mano_parameters_reproduce_the_takes_hands(
    tmp_path: Path, mano: Path, takes: dict[str, Path]
) -> None:
    """By MANO's own formula: translation plus resting wrist."""
    assert main(["export", str(takes["mano"]), "--as", "mano-npz", "--out", str(tmp_path / "m.npz")]) == 0
    held, take = np.load(tmp_path / "m.npz"), load_take(takes["mano"])
    model = load_hand_model(mano)
    vectors = np.concatenate([held["global_orient"][:, :, None], held["hand_pose"].reshape(-1, 2, 15, 3)], 2)
    shaped = model.with_shape(held["betas"])
    rotations = quaternions.to_matrix(quaternions.exp(vectors))
    posed = shaped.with_pose(rotations, shaped.rest_joints_m[:, 0] + held["transl"])
    there = take.present != ABSENT
    assert np.abs(posed.joints21_m - take.joints_cam_m)[there].max() < 1e-5
    assert (held["hand_pose"][~there] == 0).all()


def test_smplx_export_has_poses_with_and_without_the_mean(
    tmp_path: Path, mano: Path, takes: dict[str, Path]
) -> None:
    command = ["export", str(takes["open"]), "--as", "smplx", "--out", str(tmp_path / "s.npz")]
    assert main(command) == 0
    held, take = np.load(tmp_path / "s.npz"), load_take(takes["open"])
    assert "left_hand_pose_less_mean" not in held
    for side, name in enumerate(("left", "right")):
        there = held[f"{name}_hand_present"]
        assert np.array_equal(there, take.present[:, side] != ABSENT)
        turns = quaternions.exp(held[f"{name}_hand_pose"].reshape(-1, 15, 3))
        apart = quaternions.angle_between(turns, take.pose_wxyz[:, side].astype(float))
        assert apart[there].max() < 1e-5
    assert main([*command, "--mano", str(mano)]) == 0
    means = load_hand_model(mano).hands_mean
    held = np.load(tmp_path / "s.npz")
    for side, name in enumerate(("left", "right")):
        again = held[f"{name}_hand_pose_less_mean"] + means[side]
        assert again == pytest.approx(held[f"{name}_hand_pose"], abs=1e-6)


def test_a_pose_file_is_read_by_pose_format(tmp_path: Path, takes: dict[str, Path]) -> None:
    pose_format = pytest.importorskip("pose_format")
    assert main(["export", str(takes["open"]), "--as", "pose-format", "--out", str(tmp_path / "p.pose")]) == 0
    pose, take = pose_format.Pose.read((tmp_path / "p.pose").read_bytes()), load_take(takes["open"])
    assert [part.name for part in pose.header.components] == ["LEFT_HAND_LANDMARKS", "RIGHT_HAND_LANDMARKS"]
    assert (pose.header.dimensions.width, pose.header.dimensions.height) == tuple(take.size_px)
    assert pose.body.fps == pytest.approx(take.fps / 2)
    data = pose.body.data[:, 0].reshape(-1, 2, 21, 3)
    there = take.present != ABSENT
    assert np.abs(data[..., :2] - take.landmarks_px[..., :2])[there].max() < 0.01
    assert np.array_equal(np.asarray(pose.body.confidence)[:, 0].reshape(-1, 2, 21).min(-1) > 0, there)
    assert np.abs(data[there][:, 0, 2]).max() == 0  # depth counts from the wrist
    index = pose.header.get_point_index("RIGHT_HAND_LANDMARKS", "INDEX_FINGER_TIP")
    assert index == 21 + 8


def test_openxr_joints_match_the_take_in_openxrs_axes(tmp_path: Path, takes: dict[str, Path]) -> None:
    assert main(["export", str(takes["open"]), "--as", "openxr", "--out", str(tmp_path / "x.json")]) == 0
    held, take = json.loads((tmp_path / "x.json").read_text()), load_take(takes["open"])
    assert held["joints"] == list(JOINTS_26) and len(held["joints"]) == 26
    assert "left" not in held["frames"][-1] and "right" in held["frames"][-1]
    names = {
        f"{finger}_proximal": place
        for finger, place in zip(("index", "middle", "ring", "little"), (5, 9, 13, 17), strict=True)
    }
    names |= {
        "wrist": 0,
        "thumb_metacarpal": 1,
        "thumb_distal": 3,
        "thumb_tip": 4,
        "little_tip": 20,
        "middle_distal": 11,
    }
    for row, frame in enumerate(held["frames"]):
        for side, name in enumerate(("left", "right")):
            if name not in frame:
                continue
            places = np.array(frame[name]["position_m"])
            for joint, place in names.items():
                wanted = take.joints_cam_m[row, side, place] * np.array([1, -1, -1])
                assert places[JOINTS_26.index(joint)] == pytest.approx(wanted, abs=2e-6), joint
            xyzw = np.array(frame[name]["orientation_xyzw"])
            assert np.linalg.norm(xyzw, axis=-1) == pytest.approx(1, abs=1e-5)
            turns = quaternions.to_matrix(xyzw[:, [3, 0, 1, 2]])
            for finger in ("thumb", "index", "middle", "ring", "little"):
                chain = [number for number, joint in enumerate(JOINTS_26) if joint.startswith(finger)]
                for joint, after in pairwise(chain):
                    along = places[after] - places[joint]
                    assert turns[joint][:, 2] @ along / np.linalg.norm(along) < -0.98, JOINTS_26[joint]
            assert (np.array(held["radius_m"][name]) > 0.002).all()
            assert (np.array(held["radius_m"][name]) < 0.03).all()


@pytest.mark.parametrize("side", [0, 1])
def test_openxrs_y_points_out_of_the_back_of_both_hands(takes: dict[str, Path], side: int) -> None:
    take = load_take(takes["open"])
    flat = np.zeros_like(take.pose_wxyz)
    flat[..., 0] = 1
    root = np.broadcast_to(np.array([1, 0, 0, 0], np.float32), take.root_wxyz.shape)
    rest = Take(**{**vars(take), "pose_wxyz": flat, "root_wxyz": root})
    _, turns, _ = openxr_joints(rest, side)
    up = turns[0, :, :, 1] * np.array([1, -1, -1])  # in the hand's own axes: the back is +y
    fingers = [number for number, name in enumerate(JOINTS_26) if not name.startswith("thumb")]
    assert (up[fingers][:, 1] > 0.8).all()
    right = turns[0, 0, :, 0] * np.array([1, -1, -1])
    assert right[2] == pytest.approx(
        1 if side == 0 else -1, abs=0.2
    )  # x to the thumb on a left hand, away on a right


def test_exports_are_written_beside_the_take_by_default(tmp_path: Path, takes: dict[str, Path]) -> None:
    (tmp_path / "t.npz").write_bytes(takes["open"].read_bytes())
    assert main(["export", str(tmp_path / "t.npz"), "--as", "smplx"]) == 0
    assert (tmp_path / "t.smplx.npz").exists()
    assert (
        main(["export", str(tmp_path / "t.npz"), "--as", "mano-npz", "--out", str(tmp_path / "t.npz")]) == 2
    )
