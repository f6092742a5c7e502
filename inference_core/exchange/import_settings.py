# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of an import, and what must hold of another engine's hands before the hand model is needed."""

from dataclasses import dataclass, replace

import numpy as np

from inference_core.exchange.engine_hands import MANO_WRIST_M, EngineHands, Floats
from inference_core.footage import Footage
from inference_core.geometry.camera import Camera
from inference_core.geometry.mirror import mirror
from inference_core.hand_model.arrays import MANO_NAME
from inference_core.shared.errors import RequestError

_SAME_ASPECT = 0.01


@dataclass(frozen=True)
class ImportSettings:
    """Settings of an import. footage: whose frames these are, or None; fps and size_px: needed without it.
    lens: the camera that filmed them, or None for the engine's. hand_length_mm: of the open hand.
    """

    footage: Footage | None = None
    fps: float | None = None
    size_px: tuple[int, int] | None = None
    lens: Camera | None = None
    hand_length_mm: float | None = None


def hands_to_import(hands: EngineHands, settings: ImportSettings, hand_model: str) -> EngineHands:
    """The hands in the frames that the footage has. RequestError if they do not fit it, the settings or the hand model
    of that name.
    """
    hands = _within(hands, settings.footage)
    size_of_pictures(hands, settings)
    joints_or_wrist(hands)
    if settings.lens is not None and not hands.assumes_lens:
        raise RequestError(f"{hands.engine}'s result has its own lens; leave out --fov and --focal-mm.")
    if hand_model == MANO_NAME and hands.model != MANO_NAME:
        raise RequestError("The file is of the open hand: its shape is none of MANO's. Leave out --mano.")
    return hands


def size_of_pictures(hands: EngineHands, settings: ImportSettings) -> tuple[int, int]:
    """Width and height. RequestError if they are unknown, or of another shape than the engine's."""
    size = settings.footage.info.size_px if settings.footage else settings.size_px or hands.size_px
    if size is None:
        raise RequestError(
            f"{hands.engine}'s files do not say how large the pictures are. Give the footage (--footage) or --size."
        )
    if hands.size_px and abs(size[0] * hands.size_px[1] / (size[1] * hands.size_px[0]) - 1) > _SAME_ASPECT:
        raise RequestError(
            f"The results are of pictures of {hands.size_px[0]}x{hands.size_px[1]}, the footage is "
            f"{size[0]}x{size[1]}. Give the footage that they were made from."
        )
    return size


def joints_or_wrist(hands: EngineHands) -> Floats:
    """(T, 2, 3) the wrist, from the engine's joints or MANO's mean hand; RequestError if it is behind the camera."""
    resting = np.stack([mirror(MANO_WRIST_M, "point"), MANO_WRIST_M])
    known = np.isfinite(hands.joints_m).all((-1, -2))
    wrist_m = np.where(known[..., None], hands.joints_m[..., 0, :], hands.transl_m + resting)
    behind = hands.present & (wrist_m[..., 2] <= 0)
    if behind.any():
        row = int(np.argmax(behind.any(1)))
        raise RequestError(
            f"{hands.engine}'s result has a hand behind the camera in frame {hands.frame[row]}. Write it again."
        )
    return np.where(hands.present[..., None], wrist_m, np.array([0.0, 0.0, 1.0]))


def _within(hands: EngineHands, footage: Footage | None) -> EngineHands:
    """The frames that the footage has. RequestError if it has none of them."""
    rows = np.flatnonzero(hands.frame >= 0)
    if not len(rows):
        raise RequestError(
            f"All results are of frames before the footage's first, {hands.frame[0]} to {hands.frame[-1]} from it. "
            "Give the number of its first frame with --first."
        )
    if footage is not None:
        numbers = footage.info.numbers
        rows = np.flatnonzero((hands.frame >= numbers.start) & (hands.frame < numbers.stop))
        if not len(rows):
            raise RequestError(
                f"The results are of frames {hands.frame[0]} to {hands.frame[-1]}, the footage has {numbers.start} to "
                f"{numbers.stop - 1}. Give the number of its first frame with --first."
            )
    timed = (
        "frame",
        "present",
        "filled",
        "root",
        "fingers",
        "transl_m",
        "betas",
        "joints_m",
        "confidence",
        "T_world_cam",
    )
    kept = {name: getattr(hands, name)[rows] for name in timed}
    if hands.time_s is not None:
        kept["time_s"] = hands.time_s[rows]
    if hands.K is not None and hands.K.ndim == 3:
        kept["K"] = hands.K[rows]
    return replace(hands, **kept)
