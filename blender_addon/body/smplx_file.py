# SPDX-License-Identifier: GPL-3.0-or-later
"""Body motion from .npz files of the SMPL family: AMASS (SMPL-H, SMPL-X) and similar files. Does not import bpy.

Such a file has rotations, and shape coefficients that only the body model can interpret. Its licence does not allow us
to ship the model, so bones have average proportions; only angles and the path of the pelvis are the file's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from inference_core.shared import quaternions
from inference_core.shared.errors import RequestError
from inference_core.shared.npz import NpzError, NpzFile, open_npz

from ..scene.axes import Floats

_BODY: Final = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle"),
    *("right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
)
_FINGERS: Final = ("index", "middle", "pinky", "ring", "thumb")
_HANDS: Final = tuple(
    f"{side}_{finger}{k}" for side in ("left", "right") for finger in _FINGERS for k in (1, 2, 3)
)
JOINTS: Final = (*_BODY, *_HANDS)
PARENTS: Final = {
    **{
        "left_hip": "pelvis",
        "right_hip": "pelvis",
        "spine1": "pelvis",
        "spine2": "spine1",
        "spine3": "spine2",
    },
    **{"neck": "spine3", "head": "neck"},
    **{
        f"{side}_{joint}": f"{side}_{parent}"
        for side in ("left", "right")
        for joint, parent in (("knee", "hip"), ("ankle", "knee"), ("foot", "ankle"))
    },
    **{
        f"{side}_{joint}": f"{side}_{parent}"
        for side in ("left", "right")
        for joint, parent in (("shoulder", "collar"), ("elbow", "shoulder"), ("wrist", "elbow"))
    },
    **{f"{side}_collar": "spine3" for side in ("left", "right")},
    **{
        name: f"{name[:-1]}{int(name[-1]) - 1}" if name[-1] != "1" else f"{name.split('_')[0]}_wrist"
        for name in _HANDS
    },
}
# A person of 1.7 m at rest, arms out, y up, facing +z, in metres from the pelvis; the right side mirrors the left.
_MIDDLE: Final = {
    **{"pelvis": (0, 0, 0), "spine1": (0, 0.11, -0.02), "spine2": (0, 0.24, -0.01), "spine3": (0, 0.3, 0)},
    **{"neck": (0, 0.5, -0.03), "head": (0, 0.58, 0.01)},
}
_LEFT: Final = {
    **{
        "hip": (0.08, -0.08, 0),
        "knee": (0.1, -0.47, 0),
        "ankle": (0.09, -0.87, -0.03),
        "foot": (0.11, -0.93, 0.1),
    },
    **{"collar": (0.07, 0.42, -0.01), "shoulder": (0.18, 0.44, -0.02), "elbow": (0.44, 0.44, -0.04)},
    **{"wrist": (0.69, 0.44, -0.03)},
}
_KNUCKLES: Final = {  # from the wrist, and the direction and lengths of the bones
    "thumb": ((0.03, -0.01, 0.03), (0.7, -0.1, 0.7), (0.035, 0.03)),
    "index": ((0.09, 0, 0.025), (1, 0, 0.05), (0.038, 0.024)),
    "middle": ((0.094, 0.003, 0.003), (1, 0, 0), (0.042, 0.027)),
    "ring": ((0.087, 0, -0.017), (1, 0, -0.05), (0.038, 0.025)),
    "pinky": ((0.078, -0.005, -0.035), (1, 0, -0.1), (0.03, 0.019)),
}
PELVIS_M: Final = np.array(
    [0.0, -0.35, 0.01]
)  # of these models at rest: what a file's translation is counted from
_COUNTS: Final = {165: 55, 156: 52, 72: 24, 66: 22}  # numbers of a frame's pose to joints
_WHOLE: Final = {"poses", "pose"}
_ROOT: Final = ("root_orient", "global_orient")
_BODY_POSE: Final = ("pose_body", "body_pose")
_TRANS: Final = ("trans", "transl", "translation")
_RATE: Final = ("mocap_framerate", "mocap_frame_rate", "framerate", "fps")
_HAND_POSES: Final = ("left_hand_pose", "right_hand_pose", "pose_hand")
_USUAL_RATE: Final = 30.0
_MOST_FRAMES: Final = 1_000_000


@dataclass(frozen=True)
class BodyMotion:
    """T frames: rotations_wxyz (T, J, 4) of JOINTS against their parents, trans_m (T, 3), fps; z_up: whether the file's
    world has z up (as AMASS), else y.
    """

    rotations_wxyz: Floats
    trans_m: Floats
    fps: float
    z_up: bool


def read_body_motion(path: Path) -> BodyMotion:
    """The motion. RequestError says what the file lacks."""
    names = {*_WHOLE, *_ROOT, *_BODY_POSE, *_TRANS, *_RATE, *_HAND_POSES}
    try:
        with open_npz(path, names) as file:
            return _motion(path, file)
    except NpzError as error:
        raise RequestError(f"{path} cannot be read as body motion: {error}.") from error


def rest_joints() -> dict[str, Floats]:
    """Positions (3,) of the joints at rest, in metres from the pelvis, y up, facing +z."""
    found = {name: np.array(place, np.float64) for name, place in _MIDDLE.items()}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        mirror = np.array([sign, 1.0, 1.0])
        found |= {f"{side}_{name}": mirror * place for name, place in _LEFT.items()}
        for finger, (knuckle, direction, lengths) in _KNUCKLES.items():
            along = mirror * direction / np.linalg.norm(direction)
            joint = found[f"{side}_wrist"] + mirror * knuckle
            for k, length in enumerate((0.0, *lengths), 1):
                joint = joint + length * along
                found[f"{side}_{finger}{k}"] = joint
    return {name: found[name] for name in JOINTS}


def _motion(path: Path, file: NpzFile) -> BodyMotion:
    whole = next((name for name in _WHOLE if name in file.headers), None)
    trans = _first(file, _TRANS)
    vectors = _from_parts(path, file) if whole is None else _from_whole(path, file.read(whole))
    count = len(vectors)
    trans_m = np.zeros((count, 3)) if trans is None else trans.reshape(-1, 3).astype(np.float64)
    if not 0 < count <= _MOST_FRAMES or len(trans_m) != count:
        raise RequestError(
            f"{path} has {count} frames of poses and {len(trans_m)} of positions. Export it again."
        )
    if not (np.isfinite(vectors).all() and np.isfinite(trans_m).all()):
        raise RequestError(f"{path} has invalid numbers (NaN) in its motion. Export it again.")
    rate = _first(file, _RATE)
    fps = float(rate.ravel()[0]) if rate is not None and rate.size else _USUAL_RATE
    if not 1 <= fps <= 10_000:
        raise RequestError(
            f"{path} states a rate of {fps:g} frames a second, which is not possible. Export it again."
        )
    turns = quaternions.continuous(quaternions.exp(vectors))
    return BodyMotion(turns, trans_m, fps, z_up=whole is not None or "root_orient" in file.headers)


def _from_whole(path: Path, poses: Floats) -> Floats:
    """Axis-angles (T, J, 3) of JOINTS, from an array with all joints of one of the models in a row."""
    poses = np.asarray(poses, np.float64)
    joints = _COUNTS.get(int(np.prod(poses.shape[1:]))) if poses.ndim >= 2 else None
    if joints is None:
        raise RequestError(
            f"{path} has poses of {poses.shape}: no SMPL, SMPL-H or SMPL-X body has that many numbers a frame."
        )
    vectors = poses.reshape(len(poses), joints, 3)
    found = np.zeros((len(poses), len(JOINTS), 3))
    found[:, : len(_BODY)] = vectors[:, : len(_BODY)]
    if joints in (52, 55):
        found[:, len(_BODY) :] = vectors[:, -len(_HANDS) :]
    return found


def _from_parts(path: Path, file: NpzFile) -> Floats:
    """Axis-angles (T, J, 3) of JOINTS, from separate arrays for root, body and hands."""
    root, body = _first(file, _ROOT), _first(file, _BODY_POSE)
    if root is None or body is None:
        raise RequestError(
            f"{path} holds no body motion: it has neither poses nor global_orient and body_pose."
        )
    count = len(root)
    parts = body.reshape(count, -1, 3) if count and body.size % (3 * count) == 0 else np.empty((0, 0, 3))
    if root.size != 3 * count or parts.shape[1] < len(_BODY) - 1:
        raise RequestError(
            f"{path} has a body_pose of {body.shape}: 21 joints of 3 numbers a frame are needed."
        )
    found = np.zeros((count, len(JOINTS), 3))
    found[:, 0] = root.reshape(count, 3)
    found[:, 1 : len(_BODY)] = parts[:, : len(_BODY) - 1]
    hands = [file.read(name) for name in ("left_hand_pose", "right_hand_pose") if name in file.headers]
    hands = [file.read("pose_hand")] if "pose_hand" in file.headers else hands
    size = sum(item.size for item in hands)
    if size == count * 3 * len(_HANDS):  # fewer are components of a basis that only the model has
        found[:, len(_BODY) :] = np.concatenate([item.reshape(count, -1) for item in hands], 1).reshape(
            count, -1, 3
        )
    return found


def _first(file: NpzFile, names: tuple[str, ...]) -> Floats | None:
    return next((np.asarray(file.read(name)) for name in names if name in file.headers), None)
