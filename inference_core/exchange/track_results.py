# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of a whole shot as arrays, from HaWoR and Dyn-HaMR.

HaWoR uses MANO's own model for each side. Dyn-HaMR uses right hands only: a left hand's mesh, including its
translation, is mirrored in the world. Both work in world space and store the camera's path through it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.exchange.engine_hands import MANO_WRIST_M, EngineHands, Floats, empty_hands, pinhole
from inference_core.exchange.result_file import as_array
from inference_core.geometry.mirror import mirror
from inference_core.shared import quaternions
from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import LEFT, RIGHT

_HAWOR_FIELDS = ("trans", "rot", "hand_pose", "betas", "valid")
_DYN_HAMR_FIELDS = ("trans", "root_orient", "pose_body", "betas", "is_right", "cam_R", "cam_t", "intrins")
_LONGEST = 1_000_000  # frames


def is_hawor(content: Any) -> bool:
    """Whether this is world_space_res.pth's list of five arrays."""
    return isinstance(content, list) and len(content) == 5 and np.ndim(content[0]) == 3


def is_hawor_camera(content: Any) -> bool:
    """Whether this is hawor_slam_w_scale_*.npz."""
    return isinstance(content, Mapping) and {"traj", "scale"} <= set(content)


def is_dyn_hamr(content: Any) -> bool:
    """Whether this is *_world_results.npz."""
    return isinstance(content, Mapping) and {"trans", "root_orient"} <= set(_world(content))


def hawor_hands(content: Any, camera: Mapping[str, Any] | None, first: int) -> EngineHands:
    """The hands in world_space_res.pth, with the camera from hawor_slam_w_scale_*.npz."""
    if camera is None:
        raise RequestError(
            "HaWoR's hands are in a world and need its camera: give SLAM/hawor_slam_w_scale_*.npz as well."
        )
    trans, rot, pose, betas, valid = (as_array(part) for part in content)
    count = trans.shape[1]
    wanted = {"trans": (2, count, 3), "rot": (2, count, 3), "hand_pose": (2, count, 45), "valid": (2, count)}
    _check("HaWoR's result", dict(zip(_HAWOR_FIELDS, (trans, rot, pose, betas, valid), strict=True)), wanted)
    hands = empty_hands("HaWoR", first + np.arange(count, dtype=np.int64))
    T_world_cam = _hawor_poses(camera, count)
    hands.present[:] = valid.T > 0.5
    wrist = np.stack([mirror(MANO_WRIST_M, "point"), MANO_WRIST_M])
    for side in (LEFT, RIGHT):
        hands.root[:, side] = _matrices(rot[side])
        hands.fingers[:, side] = _matrices(pose[side].reshape(count, 15, 3))
        hands.transl_m[:, side] = trans[side]
        hands.betas[:, side] = betas[side].reshape(-1, betas.shape[-1])[:, :10]
    focal, centre = _number(camera.get("img_focal")), camera.get("img_center")
    centre_px = None if centre is None else as_array(centre).reshape(-1)[:2]
    known = focal is not None and centre_px is not None and (centre_px > 0).all()
    placed = replace(
        hands,
        confidence=hands.present.astype(float),
        K=pinhole(focal, centre_px) if known and focal and centre_px is not None else None,
        size_px=_size(centre_px) if known and centre_px is not None else None,
        focal_px=focal,
    )
    return _in_camera(placed, T_world_cam, wrist)


def is_dyn_hamr_tracks(content: Any) -> bool:
    """Whether this is track_info.json."""
    return isinstance(content, Mapping) and isinstance(content.get("tracks"), Mapping) and "meta" in content


def dyn_hamr_hands(content: Mapping[str, Any], info: Mapping[str, Any] | None, first: int) -> EngineHands:
    """The hands in *_world_results.npz; if a side has several tracks, the first. `info` is track_info.json: where the
    results start, and in which frames each hand was found.
    """
    held = _world(content)
    missing = [name for name in _DYN_HAMR_FIELDS if name not in held]
    if missing:
        raise RequestError(
            f"Dyn-HaMR's result holds no {missing[0]}. Give a *_world_results.npz of root_fit, smooth_fit or later."
        )
    trans, root, pose, betas, is_right, cam_R, cam_t, intrins = (
        as_array(held[name]) for name in _DYN_HAMR_FIELDS
    )
    tracks, count = trans.shape[:2]
    wanted = {"trans": (tracks, count, 3), "root_orient": (tracks, count, 3)}
    _check("Dyn-HaMR's result", {"trans": trans, "root_orient": root}, wanted)
    begins, found = (0, np.ones((tracks, count), bool)) if info is None else _tracked(info, tracks, count)
    hands = empty_hands("Dyn-HaMR", first + begins + np.arange(count, dtype=np.int64))
    fingers = _matrices(pose.reshape(tracks, count, 15, 3))
    rights = np.broadcast_to(is_right.reshape(tracks, -1), (tracks, count)).mean(1) > 0.5
    for track in reversed(range(tracks)):
        side = RIGHT if rights[track] else LEFT
        turn = (lambda value, _kind: value) if side == RIGHT else mirror
        hands.present[:, side] = _between_ends(found[track])
        hands.filled[:, side] = hands.present[:, side] & ~found[track]
        hands.root[:, side] = turn(_matrices(root[track]), "matrix")
        hands.fingers[:, side] = turn(fingers[track], "matrix")
        hands.transl_m[:, side] = turn(trans[track], "point")
        hands.betas[:, side] = betas.reshape(tracks, -1, betas.shape[-1])[track, :, :10]
    R = np.broadcast_to(cam_R.reshape(-1, count, 3, 3)[0], (count, 3, 3))
    t = np.broadcast_to(cam_t.reshape(-1, count, 3)[0], (count, 3))
    focal, centre = float(intrins.reshape(-1)[0]), intrins.reshape(-1)[2:4]
    placed = replace(
        hands,
        confidence=hands.present.astype(float),
        K=pinhole(focal, centre),
        size_px=_size(centre),
        focal_px=focal,
    )
    wrist = np.stack([mirror(MANO_WRIST_M, "point"), MANO_WRIST_M])
    return _in_camera(placed, _inverse(R, t), wrist)


def _tracked(info: Mapping[str, Any], tracks: int, count: int) -> tuple[int, NDArray[np.bool_]]:
    """The number of the results' first frame, and where each track's hand was found (tracks, T)."""
    first, last = (int(number) for number in as_array(info["meta"]["seq_interval"]).reshape(2))
    masks = {
        int(track["index"]): as_array(track["vis_mask"])[first:last] > 0 for track in info["tracks"].values()
    }
    if set(masks) != set(range(tracks)) or any(len(mask) != count for mask in masks.values()):
        raise RequestError(
            "Dyn-HaMR's track_info.json belongs to other results. Give the one of the same run, or move it away."
        )
    begins = int(as_array(info["meta"].get("data_interval", (0, 0))).reshape(-1)[0])
    return begins + first, np.stack([masks[track] for track in range(tracks)])


def _between_ends(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The frames from the first to the last in which the hand was found; outside them the engine holds it still."""
    rows = np.flatnonzero(found)
    there = np.zeros(len(found), bool)
    there[slice(rows[0], rows[-1] + 1) if len(rows) else slice(0)] = True
    return there


def _in_camera(hands: EngineHands, T_world_cam: Floats, wrist_m: Floats) -> EngineHands:
    """Hands from world space in camera axes. MANO's translation is not the hand's position: the wrist is moved, and the
    resting wrist is then subtracted again.
    """
    R = T_world_cam[:, :3, :3].swapaxes(-1, -2)
    seen_m = hands.transl_m + wrist_m - T_world_cam[:, None, :3, 3]
    wrists_m = np.einsum("tij,tsj->tsi", R, seen_m)
    return replace(hands, root=R[:, None] @ hands.root, transl_m=wrists_m - wrist_m, T_world_cam=T_world_cam)


def _hawor_poses(camera: Mapping[str, Any], count: int) -> Floats:
    """T_world_cam (T, 4, 4): positions times the scale, quaternions x y z w."""
    way, scale = as_array(camera["traj"]), float(as_array(camera["scale"]).reshape(-1)[0])
    if way.shape != (count, 7):
        raise RequestError(
            f"HaWoR's camera has the shape {way.shape}, where ({count}, 7) is required, a row per frame of the hands. "
            "Give the camera of the same shot."
        )
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = quaternions.to_matrix(way[:, [6, 3, 4, 5]])
    poses[:, :3, 3] = way[:, :3] * scale
    return poses


def _inverse(R: Floats, t: Floats) -> Floats:
    """T_world_cam (T, 4, 4) of rotations and translations from the world to the camera."""
    poses = np.tile(np.eye(4), (len(R), 1, 1))
    poses[:, :3, :3] = R.swapaxes(-1, -2)
    poses[:, :3, 3] = -np.einsum("tji,tj->ti", R, t)
    return poses


def _check(what: str, arrays: Mapping[str, Floats], wanted: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in wanted.items():
        if arrays[name].shape != shape or not 0 < shape[1] <= _LONGEST:
            raise RequestError(
                f"{what}: {name} has the shape {arrays[name].shape}, where {shape} is required. Write it again."
            )


def _matrices(vectors: Floats) -> Floats:
    return quaternions.to_matrix(quaternions.exp(vectors))


def _world(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The results, which some versions nest in a dictionary of that name."""
    held = content.get("world")
    return held if isinstance(held, Mapping) else content


def _size(centre_px: Floats) -> tuple[int, int]:
    return round(2 * float(centre_px[0])), round(2 * float(centre_px[1]))


def _number(value: Any) -> float | None:
    number = None if value is None else float(as_array(value).reshape(-1)[0])
    return number if number else None
