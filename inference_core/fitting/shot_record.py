# SPDX-License-Identifier: GPL-3.0-or-later
"""The shot's arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference_core.fitting.arrays import Flags, Floats, Indices
from inference_core.fitting.observations import Observations
from inference_core.fitting.parameterisation import HandParameterisation, HandState
from inference_core.fitting.single_frame import ShotShape
from inference_core.fitting.solution import ShotSolution
from inference_core.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix
from inference_core.hand_model.hand import HandModel
from inference_core.shared.presence import FILLED

# As many hand frames, or frames, are computed together.
_CHUNK = 512
_ZERO_WHERE_ABSENT = ("confidence", "pose_confidence", "distance_confidence", "contact")
_A_NUMBER = (*_ZERO_WHERE_ABSENT, "reprojection_px")


@dataclass(frozen=True)
class SolvedFrames:
    """N hand frames: raw, every frame on its own, and solved.

    jumped (N,) bool: landmarks were present but not believed. Confidences, reprojection_px
    and contact (N,) as in ShotSolution.
    """

    raw: HandState
    solved: HandState
    jumped: Flags
    confidence: Floats
    pose_confidence: Floats
    distance_confidence: Floats
    reprojection_px: Floats
    contact: Floats


class ShotRecord:
    """The shot's arrays; NaN or zero where there is no hand."""

    def __init__(self, present: NDArray[np.uint8], shape: ShotShape) -> None:
        count = len(present)
        self._present, self._parameterisation = present.copy(), shape.parameterisation
        self._world_scale = shape.world_scale
        self._numbers = {
            f"{kind}{name}": np.full((count, 2, *form), np.nan, np.float32)
            for kind in ("raw_", "")
            for name, form in (("root_wxyz", (4,)), ("pose_wxyz", (15, 4)), ("wrist_cam_m", (3,)))
        }
        for name in _A_NUMBER:
            self._numbers[name] = np.full((count, 2), np.nan, np.float32)

    def add(self, seen: Observations, solved: SolvedFrames) -> None:
        """Write the hand frames."""
        at = (seen.frame, seen.side)
        for start in range(0, len(seen), _CHUNK):
            part = slice(start, start + _CHUNK)
            frame, side = seen.frame[part], seen.side[part]
            for kind, state in (("raw_", solved.raw), ("", solved.solved)):
                for name, values in _arrays(self._parameterisation, side, state.take(part)).items():
                    self._numbers[f"{kind}{name}"][frame, side] = values
        for name in _A_NUMBER:
            self._numbers[name][at] = getattr(solved, name)
        self._present[at] = np.where(solved.jumped, FILLED, self._present[at])

    def solution(self, model: HandModel) -> ShotSolution:
        """The finished record, joints included."""
        numbers = self._numbers
        for name in _ZERO_WHERE_ABSENT:
            numbers[name] = np.nan_to_num(numbers[name])
        numbers["contact"] = numbers["contact"].max(1)
        betas = self._parameterisation.betas
        for kind in ("raw_", ""):
            numbers[f"{kind}joints_cam_m"] = joints_cam_m(
                model,
                betas,
                *(numbers[f"{kind}{name}"] for name in ("root_wxyz", "pose_wxyz", "wrist_cam_m")),
            )
        return ShotSolution(
            betas=betas.astype(np.float32),
            world_scale=self._world_scale,
            present=self._present,
            **numbers,
        )


def _arrays(parameterisation: HandParameterisation, side: Indices, state: HandState) -> dict[str, Floats]:
    fingers = parameterisation.finger_rotations(side, state.angles_rad)
    return {
        "root_wxyz": matrix_to_quaternion(state.root),
        "pose_wxyz": matrix_to_quaternion(fingers),
        "wrist_cam_m": state.wrist_m,
    }


def joints_cam_m(
    model: HandModel,
    betas: Floats,
    root_wxyz: NDArray[np.float32],
    pose_wxyz: NDArray[np.float32],
    wrist_cam_m: NDArray[np.float32],
) -> NDArray[np.float32]:
    """(T, S, 21, 3) joints of the hand model, computed some frames at a time; NaN where the hand is absent."""
    out = np.full((len(root_wxyz), 2, 21, 3), np.nan, np.float32)
    shaped = model.with_shape(betas)
    for start in range(0, len(out), _CHUNK):
        part = slice(start, start + _CHUNK)
        wxyz = np.concatenate([root_wxyz[part, :, None], pose_wxyz[part]], 2).astype(np.float64)
        absent = np.isnan(wxyz).any(-1, keepdims=True)
        rotations = quaternion_to_matrix(np.where(absent, np.array([1.0, 0, 0, 0]), wxyz))
        out[part] = shaped.with_pose(rotations, wrist_cam_m[part].astype(np.float64)).joints21_m
    return out
