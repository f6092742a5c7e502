# SPDX-License-Identifier: GPL-3.0-or-later
"""The poses of a moving camera: reading them, and their effect on hands."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference_core.fitting.shot import solve_shot
from inference_core.geometry.camera import default_camera
from inference_core.geometry.camera_path import with_camera_path
from inference_core.hand_model.load import load_open_hand
from inference_core.shared.errors import RequestError
from tests.inference_core.solve_scenes import resting_before_a_moving_camera, shake

POSES = np.tile(np.eye(4), (6, 1, 1))
POSES[:, 0, 3] = np.arange(6)


@pytest.mark.parametrize("name", ["path.json", "list.json", "path.npz"])
def test_poses_are_selected_by_frame_number(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if file.suffix == ".npz":
        np.savez(file, T_world_cam=POSES)
    else:
        file.write_text(
            json.dumps(POSES.tolist() if name == "list.json" else {"T_world_cam": POSES.tolist()})
        )
    camera = default_camera((64, 48))
    assert np.array_equal(with_camera_path(camera, file, range(6)).T_world_cam, POSES)
    assert with_camera_path(camera, file, range(1, 6, 2)).T_world_cam[:, 0, 3].tolist() == [1, 3, 5]


@pytest.mark.parametrize("name", ["path.json", "path.npz"])
def test_camera_poses_steady_hands_that_rest_in_the_world(tmp_path: Path, name: str) -> None:
    model, file = load_open_hand(), tmp_path / name
    shot = resting_before_a_moving_camera(model, 60)
    poses = shot.camera.T_world_cam
    if file.suffix == ".npz":
        np.savez(file, T_world_cam=poses)
    else:
        file.write_text(json.dumps({"T_world_cam": poses.tolist()}))
    standing = replace(shot.camera, T_world_cam=np.eye(4))
    moving = with_camera_path(standing, file, range(60))
    assert np.allclose(moving.T_world_cam, poses)

    def in_world_m(wrist_m: np.ndarray) -> np.ndarray:
        return (poses[:, None, :3, :3] @ wrist_m[..., None])[..., 0] + poses[:, None, :3, 3]

    known, unknown = (
        solve_shot(shot.tracks, camera, shot.time_s, model).wrist_cam_m for camera in (moving, standing)
    )
    assert np.linalg.norm(known - shot.wrist_m, axis=-1).mean() < 0.03
    assert shake(in_world_m(known)) < 0.2 * shake(known)
    assert shake(in_world_m(known)) < 0.4 * shake(in_world_m(unknown))
    rest_m, restless_m = (np.ptp(in_world_m(wrist_m), axis=0).max() for wrist_m in (known, unknown))
    assert rest_m < 0.4 * restless_m


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("{}", "holds no T_world_cam"),
        ("[1, 2]", "shape"),
        ('[["a"]]', "numbers"),
        (json.dumps((2 * POSES).tolist()), "not a rotation"),
        (json.dumps((1e300 * POSES).tolist()), "outside"),
        (json.dumps((np.nan * POSES).tolist()), "not finite"),
        (f"[[[1{'0' * 400}]]]", "numbers"),
        (f"[[[1{'0' * 5000}]]]", "cannot be read"),
        ("[" * 200_000, "cannot be read"),
        ("null", "numbers"),
        ('"text"', "numbers"),
        (json.dumps(POSES[:3].tolist()), "one pose a frame"),
    ],
)
def test_an_invalid_path_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "path.json"
    file.write_text(text)
    with pytest.raises(RequestError, match=said):
        with_camera_path(default_camera((64, 48)), file, range(6))


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be read"):
        with_camera_path(default_camera((64, 48)), tmp_path / "none.json", range(6))


@pytest.mark.parametrize("fault", ["not a zip", "cut", "objects", "a size that is not there"])
def test_a_damaged_npz_is_refused(tmp_path: Path, fault: str) -> None:
    file = tmp_path / "path.npz"
    if fault == "objects":
        np.savez(file, T_world_cam=np.array([{}], object))
    elif fault == "a size that is not there":
        with zipfile.ZipFile(file, "w") as archive, archive.open("T_world_cam.npy", "w") as member:
            np.lib.format.write_array_header_1_0(
                member, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 4, 4)}
            )
    else:
        np.savez(file, T_world_cam=POSES)
        file.write_bytes(b"x" if fault == "not a zip" else file.read_bytes()[:-40])
    with pytest.raises(RequestError, match="cannot be read"):
        with_camera_path(default_camera((64, 48)), file, range(6))
