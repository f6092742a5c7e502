# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hands throughout a shot, as estimated by another engine: MANO's parameters in camera axes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import TakeError
from inference_core.shared.take_values import check_part

Floats = NDArray[np.float64]

# Where MANO's mean right hand has its wrist at rest, metres: MANO turns a hand about this point, and its translation
# leaves it there. The left hand's is the mirror image.
MANO_WRIST_M = np.array([0.0957, 0.0064, 0.0062])


@dataclass(frozen=True)
class EngineHands:
    """T frames of two hands (axis of 2: left, right), each with the parameters of its own side, never mirrored.

    engine: its name. frame (T,): numbers, increasing. present (T, 2). filled (T, 2): interpolated by the engine. root
    (T, 2, 3, 3): the hand in camera axes (x right, y down, z forward). fingers (T, 2, 15, 3, 3): MANO's order, relative
    to the flat hand. transl_m (T, 2, 3): MANO's translation, to which the resting wrist is added. betas (T, 2, 10): of
    `model`, MANO or the open hand.
    joints_m (T, 2, 21, 3): joints of the engine's own mesh in camera axes, NaN where the file has none.
    confidence (T, 2). K (3, 3) or (T, 3, 3) and size_px of the pictures that the engine saw, or None; focal_px: where
    only that is known. T_world_cam (T, 4, 4). assumes_lens: whether the focal length is the engine's convention rather
    than a measurement. time_s (T,) and fps where the file has them.
    """

    engine: str
    frame: NDArray[np.int64]
    present: NDArray[np.bool_]
    filled: NDArray[np.bool_]
    root: Floats
    fingers: Floats
    transl_m: Floats
    betas: Floats
    joints_m: Floats
    confidence: Floats
    K: Floats | None
    size_px: tuple[int, int] | None
    T_world_cam: Floats
    focal_px: float | None = None
    assumes_lens: bool = False
    model: str = "MANO"
    time_s: Floats | None = None
    fps: float | None = None

    @property
    def frame_count(self) -> int:
        """Number of frames, T."""
        return len(self.frame)


# Of what is given for every frame, beside the frames' axis.
_SHAPES = {
    "present": (2,),
    "filled": (2,),
    "root": (2, 3, 3),
    "fingers": (2, 15, 3, 3),
    "transl_m": (2, 3),
    "betas": (2, 10),
    "joints_m": (2, 21, 3),
    "confidence": (2,),
}


def empty_hands(engine: str, frame: NDArray[np.int64]) -> EngineHands:
    """Frames without hands, whose arrays are to be filled."""
    count = len(frame)
    return EngineHands(
        engine=engine,
        frame=frame,
        present=np.zeros((count, 2), bool),
        filled=np.zeros((count, 2), bool),
        root=np.tile(np.eye(3), (count, 2, 1, 1)),
        fingers=np.tile(np.eye(3), (count, 2, 15, 1, 1)),
        transl_m=np.zeros((count, 2, 3)),
        betas=np.zeros((count, 2, 10)),
        joints_m=np.full((count, 2, 21, 3), np.nan),
        confidence=np.zeros((count, 2)),
        K=None,
        size_px=None,
        T_world_cam=np.tile(np.eye(4), (count, 1, 1)),
    )


def check_hands(hands: EngineHands, where: str) -> None:
    """A TakeError that names the file and the field unless a take can hold what is taken over as it is."""
    for name, rest in _SHAPES.items():
        shape = getattr(hands, name).shape
        if shape != (hands.frame_count, *rest):
            raise TakeError(
                f"{where}: {name} has the shape {shape}, where {(hands.frame_count, *rest)} is required."
            )
    held: dict[str, Any] = {
        "frame": hands.frame - min(hands.frame.min(initial=0), 0),  # those before the footage are left out
        "time_s": hands.time_s,
        "fps": hands.fps,
        "size_px": hands.size_px,
        "K": hands.K,
        "T_world_cam": hands.T_world_cam,
        "confidence": hands.confidence,
    }
    check_part({name: np.asarray(value) for name, value in held.items() if value is not None}, where)
    if hands.focal_px is not None:
        check_part({"K": pinhole(hands.focal_px, np.zeros(2))}, where)


def pinhole(focal_px: float, centre_px: Floats) -> Floats:
    """K (3, 3)."""
    return np.array([[focal_px, 0, centre_px[0]], [0, focal_px, centre_px[1]], [0, 0, 1]])
