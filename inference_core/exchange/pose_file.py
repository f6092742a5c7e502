# SPDX-License-Identifier: GPL-3.0-or-later
"""A take's hands as a .pose file for sign-language programs (the library pose-format).

Two components of 21 points, named as in MediaPipe Holistic: x, y in pixels of the picture; z in pixels relative to the
wrist, away from the camera; and the take's confidence.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import RequestError
from inference_core.shared.presence import ABSENT
from inference_core.shared.skeleton import PARENTS_21
from inference_core.shared.take import Take
from inference_core.shared.whole_file import whole_file

_COMPONENTS = ("LEFT_HAND_LANDMARKS", "RIGHT_HAND_LANDMARKS")
_COLOURS = ((36, 148, 255), (127, 174, 0))
_POINTS = (
    "WRIST",
    *(f"THUMB_{bone}" for bone in ("CMC", "MCP", "IP", "TIP")),
    *(
        f"{finger}_{bone}"
        for finger in ("INDEX_FINGER", "MIDDLE_FINGER", "RING_FINGER", "PINKY")
        for bone in ("MCP", "PIP", "DIP", "TIP")
    ),
)
_MOST_ROWS = 1_000_000


def write_pose(take: Take, out: Path) -> None:
    """Write the take as a .pose file. RequestError if the library is missing or the file cannot be written."""
    try:
        from pose_format import Pose
        from pose_format.numpy import NumPyPoseBody
        from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions
    except ImportError as error:
        raise RequestError(
            ".pose files need the library pose-format: pip install 'duohand[signs]'."
        ) from error
    limbs = [(int(parent), point) for point, parent in enumerate(PARENTS_21) if parent >= 0]
    components = [
        PoseHeaderComponent(name, list(_POINTS), limbs, [colour] * len(limbs), "XYZC")
        for name, colour in zip(_COMPONENTS, _COLOURS, strict=True)
    ]
    width, height = take.size_px.tolist()
    points, confidence, fps = pose_points(take)
    header = PoseHeader(0.2, PoseHeaderDimensions(width, height, width), components)
    body = NumPyPoseBody(fps, np.ma.masked_array(points[:, None], _hidden(confidence)), confidence[:, None])
    held = io.BytesIO()
    Pose(header, body).write(held)
    try:
        with whole_file(out) as temporary:
            temporary.write_bytes(held.getvalue())
    except OSError as error:
        raise RequestError(
            f"{out} cannot be written: {error.strerror or error}. Choose another place."
        ) from error


def pose_points(take: Take) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Points (N, 42, 3), confidence (N, 42) and rows per second. Rows are evenly spaced, because the format has no
    times; they are empty where the take has no frame.
    """
    step = int(np.gcd.reduce(np.diff(take.frame))) if take.frame_count > 1 else 1
    rows = (take.frame - take.frame[0]) // step
    if rows[-1] >= _MOST_ROWS:
        raise RequestError(f"The take's frames span {rows[-1]} rows; a .pose file is of one shot.")
    points = np.zeros((int(rows[-1]) + 1, 42, 3), np.float32)
    confidence = np.zeros(points.shape[:2], np.float32)
    points[rows] = np.nan_to_num(_pixels(take)).reshape(take.frame_count, 42, 3)
    seen = np.where(take.present == ABSENT, 0, np.maximum(take.confidence, 1e-3))
    confidence[rows] = np.repeat(seen, 21, axis=1)
    return points, confidence, take.fps / step


def _pixels(take: Take) -> NDArray[np.float64]:
    """(T, 2, 21, 3) pixels, and the depth behind the wrist in pixels at the wrist's distance."""
    K = np.broadcast_to(take.K, (take.frame_count, 3, 3))
    joints_m = take.joints_cam_m.astype(np.float64)
    projected = np.einsum("tij,tskj->tski", K, joints_m)
    depth_m = joints_m[..., 2:] - joints_m[..., :1, 2:]
    scale = K[:, None, None, :1, 0] / joints_m[..., :1, 2:]
    return np.concatenate([projected[..., :2] / projected[..., 2:], depth_m * scale], -1)


def _hidden(confidence: NDArray[np.float32]) -> Any:
    return np.broadcast_to((confidence == 0)[:, None, :, None], (len(confidence), 1, 42, 3))
