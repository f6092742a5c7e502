# SPDX-License-Identifier: GPL-3.0-or-later
"""A made-up shot of two hands, and the files that other engines would write of it."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.geometry.mirror import mirror
from inference_core.hand_model.arrays import HandArrays, mirrored
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_hand_model, read_open_hand
from inference_core.shared import quaternions
from tests.data.mano.official_layout import official_pickle

SIZE, FRAMES = (640, 480), 6
FOCAL = 5000 / 256 * 640  # the engines' convention


@dataclass(frozen=True)
class EngineShot:
    """The truth, in camera axes: root (T, 2, 3, 3), fingers (T, 2, 15, 3, 3), betas (2, 10), wrist_m (T, 2, 3), and
    joints_m (T, 2, 21, 3) of `model`, whose left hand is its right one's mirror image.
    """

    model: HandModel
    root: NDArray[np.float64]
    fingers: NDArray[np.float64]
    betas: NDArray[np.float64]
    wrist_m: NDArray[np.float64]
    joints_m: NDArray[np.float64]

    @property
    def transl_m(self) -> NDArray[np.float64]:
        """MANO's translation (T, 2, 3)."""
        shaped = self.model.with_shape(self.betas)
        return self.wrist_m - shaped.rest_joints_m[:, 0]


def write_mano(folder: Path) -> Path:
    """MANO's files with the open hand in them, moved to where MANO has its wrist."""
    folder.mkdir(exist_ok=True)
    right = read_open_hand()
    shift = np.array([0.0957, 0.0064, 0.0062]) - (right.joint_regressor @ right.template_m)[0]
    moved = HandArrays(**{**vars(right), "template_m": right.template_m + shift, "uvs": None})
    for name, arrays in (("LEFT", mirrored(moved)), ("RIGHT", moved)):
        tree = np.array([arrays.parents, np.arange(16)], np.int64)
        held = {
            "v_template": arrays.template_m,
            "f": arrays.faces.astype(np.uint32),
            "shapedirs": arrays.shape_dirs,
            "posedirs": arrays.pose_dirs,
            "J_regressor": arrays.joint_regressor,
            "weights": arrays.skin_weights,
            "kintree_table": tree,
            "hands_components": arrays.hands_components,
            "hands_mean": arrays.hands_mean,
        }
        (folder / f"MANO_{name}.pkl").write_bytes(official_pickle(held))
    return folder


def engine_shot(mano: Path) -> EngineShot:
    """Two hands that turn and close."""
    noise = np.random.default_rng(5)
    model = load_hand_model(mano, tip_vertices=_tips())
    turn = noise.normal(0, 0.3, (1, 2, 16, 3)) + np.linspace(0, 0.3, FRAMES)[:, None, None, None]
    turn[:, :, 0] += np.array([2.0, 0.3, 0.2])
    matrices = quaternions.to_matrix(quaternions.exp(turn))
    betas = noise.normal(0, 0.7, (2, 10))
    wrist = np.array([[-0.1, 0.05, 9.0], [0.12, 0.02, 9.2]]) + np.linspace(0, 0.05, FRAMES)[:, None, None]
    posed = model.with_shape(betas).with_pose(matrices, wrist)
    return EngineShot(model, matrices[:, :, 0], matrices[:, :, 1:], betas, wrist, posed.joints21_m)


def _tips() -> list[list[int]]:
    tips = read_open_hand().tip_vertices.tolist()
    return [tips, tips]


def right_hand(shot: EngineShot, row: int, side: int) -> dict[str, Any]:
    """One hand as HaMeR and WiLoR estimate it: a right one, mirrored if it is a left one."""
    turn = mirror if side == 0 else lambda value, _kind: value
    transl = shot.transl_m[row, side]
    return {
        "global_orient": turn(shot.root[row, side], "matrix")[None],
        "hand_pose": turn(shot.fingers[row, side], "matrix"),
        "betas": shot.betas[side],
        "cam_t": transl,
        "joints": turn(shot.joints_m[row, side] - transl, "point"),
        "is_right": side,
    }


def hamer_tracks(shot: EngineShot, path: Path) -> list[Path]:
    """The joblib file of HaMeR's tracker, as Dyn-HaMR calls it: by picture, lists of hands."""
    frames = {}
    for row in range(FRAMES):
        hands = [right_hand(shot, row, side) for side in (0, 1)]
        keys = ("global_orient", "hand_pose", "betas", "is_right")
        frames[f"/images/{row + 1:06d}.jpg"] = {
            "mano": [
                {key: np.asarray(hand[key], np.float32) if key != "is_right" else hand[key] for key in keys}
                for hand in hands
            ],
            "cam_trans": [hand["cam_t"].astype(np.float32) for hand in hands],
            "tracked_ids": [0, 1],
            "tid": np.array([0, 1]),
            "tracked_time": [0, 0],
            "shot": 0,
            "extra_data": [np.zeros((21, 3)).tolist()] * 2,
        }
    joblib.dump(frames, path / "demo.pkl")
    return [path / "demo.pkl"]


def hamer_pictures(shot: EngineShot, path: Path) -> list[Path]:
    """A file a picture with the network's own output, hands along the first axis; joints still a right hand's."""
    files = []
    for row in range(FRAMES):
        hands = [right_hand(shot, row, side) for side in (0, 1)]
        stacked = {key: np.stack([np.asarray(hand[key], np.float32) for hand in hands]) for key in hands[0]}
        out = {
            "pred_mano_params": {key: stacked[key] for key in ("global_orient", "hand_pose", "betas")},
            "pred_cam_t_full": stacked["cam_t"],
            "pred_keypoints_3d": stacked["joints"],
            "right": stacked["is_right"],
            "img_size": np.array([SIZE, SIZE], np.float32),
            "scaled_focal_length": np.float32(FOCAL),
        }
        files.append(path / f"frame_{row:04d}.npz")
        np.savez(files[-1], **out)
    return files


def wilor_list(shot: EngineShot, path: Path) -> list[Path]:
    """WiLoR-mini's lists of hands, a picture after the other, as a plain pickle; joints mirrored to their side."""
    pictures = []
    for row in range(FRAMES):
        pictures.append([])
        for side in (1, 0):
            hand = right_hand(shot, row, side)
            joints = hand["joints"] if side else mirror(hand["joints"], "point")
            predictions = {
                "global_orient": _vectors(hand["global_orient"])[None],
                "hand_pose": _vectors(hand["hand_pose"])[None],
                "betas": hand["betas"][None].astype(np.float32),
                "pred_cam_t_full": hand["cam_t"][None],
                "pred_keypoints_3d": joints[None],
                "scaled_focal_length": np.float64(FOCAL),
            }
            pictures[-1].append(
                {"hand_bbox": [1.0, 2.0, 3.0, 4.0], "is_right": float(side), "wilor_preds": predictions}
            )
    (path / "wilor.pkl").write_bytes(pickle.dumps(pictures))
    return [path / "wilor.pkl"]


def world_of(row: int) -> NDArray[np.float64]:
    """T_world_cam (4, 4) of a camera that moves."""
    pose = np.eye(4)
    pose[:3, :3] = quaternions.to_matrix(quaternions.exp(np.array([0.1, 0.2 * row, -0.05])))
    pose[:3, 3] = [0.1 * row, 0.3, -0.2]
    return pose


def hawor(shot: EngineShot, path: Path) -> list[Path]:
    """world_space_res.pth, of tensors, and the camera in SLAM/: both hands in the world, each with its own MANO."""
    poses = np.stack([world_of(row) for row in range(FRAMES)])
    root = poses[:, None, :3, :3] @ shot.root
    wrist = np.einsum("tij,tsj->tsi", poses[:, :3, :3], shot.wrist_m) + poses[:, None, :3, 3]
    resting = shot.wrist_m - shot.transl_m
    valid = torch.ones(2, FRAMES)
    valid[0, -1] = 0
    held = [
        torch.as_tensor(np.moveaxis(wrist - resting, 1, 0).copy()),
        torch.as_tensor(np.moveaxis(_vectors(root), 1, 0).copy()),
        torch.as_tensor(np.moveaxis(_vectors(shot.fingers), 1, 0).reshape(2, FRAMES, 45)),
        torch.as_tensor(np.repeat(shot.betas[:, None], FRAMES, 1)),
        valid,
    ]
    joblib.dump(held, path / "world_space_res.pth")
    (path / "SLAM").mkdir()
    wxyz = quaternions.from_matrix(poses[:, :3, :3])
    way = np.concatenate([poses[:, :3, 3] / 2, wxyz[:, [1, 2, 3, 0]]], 1)
    np.savez(
        path / "SLAM" / f"hawor_slam_w_scale_0_{FRAMES}.npz",
        traj=way,
        scale=2.0,
        img_focal=FOCAL,
        img_center=np.array(SIZE) / 2,
    )
    return [path / "world_space_res.pth"]


def dyn_hamr(shot: EngineShot, path: Path) -> list[Path]:
    """*_world_results.npz: right hands in the world; a left one's mesh is mirrored with its translation."""
    poses = np.stack([world_of(row) for row in range(FRAMES)])
    root = poses[:, None, :3, :3] @ shot.root
    wrist = np.einsum("tij,tsj->tsi", poses[:, :3, :3], shot.wrist_m) + poses[:, None, :3, 3]
    trans = wrist - (shot.wrist_m - shot.transl_m)
    w2c = np.linalg.inv(poses)
    arrays = {"trans": [], "root_orient": [], "pose_body": []}
    for side, turn in ((0, mirror), (1, lambda value, _kind: value)):
        arrays["trans"].append(turn(trans[:, side], "point"))
        arrays["root_orient"].append(_vectors(turn(root[:, side], "matrix")))
        arrays["pose_body"].append(_vectors(turn(shot.fingers[:, side], "matrix")).reshape(FRAMES, 45))
    np.savez(
        path / "shot_000300_world_results.npz",
        **{name: np.stack(value).astype(np.float32) for name, value in arrays.items()},
        latent_pose=np.stack(arrays["pose_body"]),
        betas=shot.betas,
        is_right=np.repeat([[0], [1]], FRAMES, 1),
        cam_R=np.repeat(w2c[None, :, :3, :3], 2, 0),
        cam_t=np.repeat(w2c[None, :, :3, 3], 2, 0),
        intrins=np.array([FOCAL, FOCAL, SIZE[0] / 2, SIZE[1] / 2]),
        world_scale=np.ones((1, 1)),
    )
    return [path / "shot_000300_world_results.npz"]


def _vectors(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    return quaternions.log(quaternions.from_matrix(matrices))
