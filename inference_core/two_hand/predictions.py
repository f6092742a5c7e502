# SPDX-License-Identifier: GPL-3.0-or-later
"""The two-hand network's estimates for a shot."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference_core.tracking.interpolate import between

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class TwoHandPredictions:
    """A two-hand network's estimates for T frames, in the whole frame's camera. S sides (left, right).

    rotations (T, S, 16, 3, 3): wrist in camera axes, then the fingers relative to the rest pose, MANO's order.
    joints_rel_m (T, S, 21, 3): relative to the wrist, camera axes.
    wrist_cam_m (T, S, 3); betas (T, S, 10); offset_m (T, 3): right wrist minus left wrist.
    confidence (T, S): 0..1. presence (T, S): 0..1. Without an estimate, confidence is 0 and all else NaN.
    """

    rotations: Floats
    joints_rel_m: Floats
    wrist_cam_m: Floats
    betas: Floats
    offset_m: Floats
    confidence: Floats
    presence: Floats

    @staticmethod
    def nothing(count: int) -> "TwoHandPredictions":
        """Predictions for `count` frames without any estimate."""

        def missing(*shape: int) -> Floats:
            return np.full((count, *shape), np.nan, np.float32)

        return TwoHandPredictions(
            rotations=missing(2, 16, 3, 3),
            joints_rel_m=missing(2, 21, 3),
            wrist_cam_m=missing(2, 3),
            betas=missing(2, 10),
            offset_m=missing(3),
            confidence=np.zeros((count, 2), np.float32),
            presence=np.zeros((count, 2), np.float32),
        )

    def weighted(self, shares: NDArray[np.floating]) -> "TwoHandPredictions":
        """The predictions, trusted by shares (T,), 0..1, of what they are."""
        return replace(self, confidence=self.confidence * shares.astype(np.float32)[:, None])

    def with_frames_between(self, shares: NDArray[np.floating]) -> "TwoHandPredictions":
        """The predictions, with those interpolated that count in part or not at all (`reading_shares`, (T,))."""
        drawn = {name: between(values, shares).astype(np.float32) for name, values in vars(self).items()}
        there = np.isfinite(drawn["rotations"]).all((-1, -2))
        u, _, v = np.linalg.svd(
            np.where(there[..., None, None], drawn["rotations"], np.eye(3, dtype=np.float32))
        )
        drawn["rotations"] = np.where(there[..., None, None], u @ v, np.float32(np.nan))
        known = there.all(-1)
        for name in ("confidence", "presence"):
            drawn[name] = np.where(known, drawn[name], np.float32(0))
        return TwoHandPredictions(
            **{
                name: np.where((shares == 1).reshape(-1, *[1] * (values.ndim - 1)), values, drawn[name])
                for name, values in vars(self).items()
            }
        )
