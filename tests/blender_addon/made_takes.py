# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes with a made-up, smooth motion of the open hand, and the core's own vertices to hold Blender's against.

Runs in the engine's Python, never in Blender's:  python -m tests.blender_addon.made_takes FOLDER
writes NAME.npz for each of TAKES, and NAME.truth.npz: rows (N,), vertices_cam_m (N, 2, V, 3) by the core.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from inference_core.__main__ import main as duohand
from inference_core.geometry import rotations
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_open_hand
from inference_core.shared.take import Take, load_take, save_take
from tests.inference_core import engine_results
from tests.inference_core.solve_scenes import meeting_shot, take_of

SIZE_PX = np.array([1280, 720])
K = np.array([[1100.0, 0, 640], [0, 1100.0, 360], [0, 0, 1]])
SEED = 11


def made_take(frame_count: int = 24, fps: float = 24.0, seed: int = SEED) -> Take:
    """Two hands about 0.5 m before the camera, both seen throughout, every joint moving smoothly."""
    model = load_open_hand()
    rng = np.random.default_rng(seed)
    time_s = np.arange(frame_count) / fps
    betas = rng.normal(0, 1, (2, 10))
    shaped = model.with_shape(betas)
    turns = _finger_turns(model, rng, time_s)
    root = rotations.exp(_facing_camera() + _smooth(rng, time_s, (2, 3), 0.5))
    wrist_m = np.array([[-0.15, 0.05, 0.5], [0.15, 0.05, 0.55]]) + _smooth(rng, time_s, (2, 3), 0.06)
    posed = shaped.with_pose(np.concatenate([root[:, :, None], turns], 2), wrist_m)
    moving = {
        "root_wxyz": rotations.matrix_to_quaternion(root),
        "pose_wxyz": rotations.matrix_to_quaternion(turns),
        "wrist_cam_m": wrist_m,
        "joints_cam_m": posed.joints21_m,
    }
    confidence = 0.9 + 0.1 * np.sin(np.arange(frame_count) / 3)[:, None] * np.ones(2)
    seen = np.concatenate([posed.joints21_m, np.ones((frame_count, 2, 21, 1))], -1)
    seen[..., :2] = (seen[..., :3] / seen[..., 2:3] @ K.T)[..., :2]
    seen[..., 2] = 1
    shaken = {**moving, "wrist_cam_m": wrist_m + rng.normal(0, 0.002, wrist_m.shape)}
    return Take(
        time_s=time_s,
        frame=np.arange(frame_count),
        fps=fps,
        size_px=SIZE_PX,
        K=K,
        T_world_cam=np.tile(np.eye(4), (frame_count, 1, 1)),
        present=np.ones((frame_count, 2), np.uint8),
        confidence=np.clip(confidence, 0, 1).astype(np.float32),
        betas=betas,
        rest_vertices_m=shaped.rest_vertices_m,
        rest_joints_m=shaped.rest_joints_m,
        faces=model.faces,
        skin_weights=model.skin_weights,
        parents=model.parents,
        tip_vertices=model.tip_vertices,
        pose_dirs=model.pose_dirs,
        joint_axes=model.joint_axes,
        uvs=None if model.uvs is None else model.uvs,
        landmarks_px=seen[..., :3],
        meta={
            "footage": {"path": "made up.mp4"},
            "hand_model": {"name": model.name, "licence": model.licence},
        },
        **moving,
        **{f"raw_{name}": value for name, value in shaken.items()},
    )


def without_hand(take: Take, side: int, rows: slice) -> Take:
    """The take with that side absent in those rows."""
    changed: dict[str, Any] = {"present": take.present.copy(), "confidence": take.confidence.copy()}
    changed["present"][rows, side], changed["confidence"][rows, side] = 0, 0
    for name in ("root_wxyz", "pose_wxyz", "wrist_cam_m", "joints_cam_m"):
        for full_name in (name, f"raw_{name}"):
            changed[full_name] = getattr(take, full_name).copy()
            changed[full_name][rows, side] = np.nan
    return replace(take, **changed)


def with_filled(take: Take, side: int, rows: slice) -> Take:
    """The take with that side interpolated, not seen, in those rows, and little confidence there."""
    present, confidence = take.present.copy(), take.confidence.copy()
    present[rows, side], confidence[rows, side] = 2, 0.2
    return replace(take, present=present, confidence=confidence)


def with_moving_camera(take: Take) -> Take:
    """The take from a camera that moves and zooms, off its centre, with pixels that are not square."""
    steps = np.arange(take.frame_count)
    lens = np.tile(np.array([[900.0, 0, 700], [0, 990, 330], [0, 0, 1]]), (len(steps), 1, 1))
    lens[:, 0, 0] += 5 * steps
    lens[:, 1, 1] *= lens[:, 0, 0] / 900
    turn = rotations.exp(np.stack([0.01 * steps, 0.02 * steps, 0 * steps], -1))
    pose = take.T_world_cam.copy()
    pose[:, :3, :3] = turn
    pose[:, :3, 3] = np.stack([0.01 * steps, 0.002 * steps, -0.005 * steps], -1)
    return replace(take, K=lens, T_world_cam=pose)


def bare(take: Take) -> Take:
    """The take without the arrays that may be left out."""
    return replace(take, pose_dirs=None, joint_axes=None, uvs=None)


def solved_take() -> Take:
    """Index fingertips that meet in the picture and not in depth; it can be solved again."""
    model = load_open_hand()
    shot = meeting_shot(model, 90)
    return take_of(model, shot, shot.tracks)


def imported_take() -> Take:
    """What `duohand import` makes of HaWoR's files: no footage, a moving camera, a hand absent at the end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        files = engine_results.hawor(
            engine_results.engine_shot(engine_results.write_mano(path / "mano")), path
        )
        assert duohand(["import", *map(str, files), "--out", str(path / "t.npz")]) == 0
        return load_take(path / "t.npz")


TAKES: dict[str, Callable[[], Take]] = {
    "two_hands": made_take,
    "right_only": lambda: without_hand(made_take(), 0, slice(None)),
    "half_absent": lambda: with_filled(without_hand(made_take(), 0, slice(6, 18)), 1, slice(8, 12)),
    "nobody": lambda: without_hand(without_hand(made_take(), 0, slice(None)), 1, slice(None)),
    "one_frame": lambda: made_take(1),
    "moving_camera": lambda: with_moving_camera(made_take()),
    "bare": lambda: bare(made_take()),
    "at_12_fps": lambda: made_take(12, 12.0),
    "at_23.976_fps": lambda: made_take(24, 24 / 1.001),
    "at_30_fps": lambda: made_take(30, 30.0),
    "at_60_fps": lambda: made_take(60, 60.0),
    "long": lambda: made_take(10_000, 30.0),
    "solved": solved_take,
    "imported": imported_take,
}


def truth_vertices(take: Take, rows: np.ndarray) -> np.ndarray:
    """(N, 2, V, 3) the core's own skin in those rows, camera axes; NaN where a hand is absent."""
    model = load_open_hand()
    if take.pose_dirs is None:
        model = replace(model, pose_dirs=np.zeros_like(model.pose_dirs))
    quaternions = np.concatenate([take.root_wxyz[rows, :, None], take.pose_wxyz[rows]], 2).astype(np.float64)
    turns = rotations.quaternion_to_matrix(quaternions)
    shaped = model.with_shape(take.betas.astype(np.float64))
    wrist_m = take.wrist_cam_m[rows].astype(np.float64)
    return shaped.with_pose(turns, wrist_m).vertices_m


def write_counted_footage(folder: Path) -> None:
    """counted.mp4 and counted/shot_####.png (from 10 on): 30 grey frames, the n-th of brightness 8 n (of 255)."""
    (folder / "counted").mkdir()
    with av.open(str(folder / "counted.mp4"), "w") as movie:
        stream: Any = movie.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(30):
            image = np.full((48, 64, 3), 8 * number, np.uint8)
            cv2.imwrite(str(folder / "counted" / f"shot_{number + 10:04d}.png"), image)
            movie.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        movie.mux(stream.encode())


def _finger_turns(model: HandModel, rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
    """(T, 2, 15, 3, 3): flexing up to a fist, some spread and twist."""
    angles = _smooth(rng, time_s, (2, 15, 3), 1.0) * [0.6, 0.2, 0.1] + [0.6, 0, 0]
    return model.rotations_from_angles(angles)


def _facing_camera() -> np.ndarray:
    """Axis-angles (2, 3) that turn the resting hands' fingers up, palms to the camera."""
    return np.array([[0.0, 0.0, -np.pi / 2], [0.0, 0.0, np.pi / 2]])


def _smooth(rng: np.random.Generator, time_s: np.ndarray, shape: tuple[int, ...], size: float) -> np.ndarray:
    """(T, *shape) sums of slow sines, within about `size`."""
    total = np.zeros((len(time_s), *shape))
    for _ in range(3):
        rate, phase = rng.uniform(0.2, 1.5, shape), rng.uniform(0, 2 * np.pi, shape)
        total += np.sin(2 * np.pi * rate * time_s.reshape(-1, *[1] * len(shape)) + phase)
    return size * total / 3


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_counted_footage(folder)
    for name, make in TAKES.items():
        take = make()
        save_take(take, folder / f"{name}.npz")
        rows = np.unique(np.linspace(0, take.frame_count - 1, 4).astype(int))
        np.savez(folder / f"{name}.truth.npz", rows=rows, vertices_cam_m=truth_vertices(take, rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
