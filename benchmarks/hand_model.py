# SPDX-License-Identifier: GPL-3.0-or-later
"""The cost of posing both hands: python -m benchmarks.hand_model [FRAMES]

NumPy's, as a capture poses them, and torch's, as training does.
"""

import sys
import time
from collections.abc import Callable, Sized

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.geometry.rotations import exp
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_open_hand


def main() -> None:
    """Prints milliseconds of processor time for landmarks and for skinned vertices."""
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    angles = np.random.default_rng(0).normal(0, 0.3, (frames, 2, 16, 3))
    arrays(load_open_hand(), angles)
    tensors(load_open_hand().tensors(), torch.from_numpy(angles).float())


def arrays(model: HandModel, angles: NDArray[np.float64]) -> None:
    """As a capture poses hands: one shape."""
    shaped, wrist = model.with_shape(np.zeros((2, 10))), np.zeros((*angles.shape[:2], 3))
    _print("NumPy, landmarks", lambda: shaped.with_pose(exp(angles), wrist).landmarks21_m, angles)
    some = angles[:30]
    _print("NumPy, vertices", lambda: shaped.with_pose(exp(some), wrist[:30]).vertices_m, some)


def tensors(model: HandModel, angles: Tensor) -> None:
    """As training does: landmarks with their gradient, vertices without."""
    betas = torch.zeros(2, 10, requires_grad=True)
    wrist = torch.zeros(*angles.shape[:2], 3, requires_grad=True)
    vectors, some = angles.clone().requires_grad_(), angles[:30]

    def landmarks() -> None:
        posed = model.with_shape(betas).with_pose(exp(vectors), wrist)
        posed.landmarks21_m.square().sum().backward()

    @torch.no_grad()
    def vertices() -> None:
        assert model.with_shape(betas).with_pose(exp(some), wrist[:30]).vertices_m.shape[0] == 30

    _print("torch, landmarks and gradient", landmarks, angles)
    _print("torch, vertices", vertices, some)


def _print(name: str, action: Callable[[], object], frames: Sized) -> None:
    spent = best_ms(action)
    print(f"{name}, {len(frames)} frames, both hands: {spent:.1f} ms, {spent / len(frames):.3f} ms a frame")


def best_ms(action: Callable[[], object]) -> float:
    """Least processor time of an action, milliseconds."""
    best = float("inf")
    for _ in range(30):
        start = time.process_time()
        action()
        best = min(best, time.process_time() - start)
    return best * 1e3


if __name__ == "__main__":
    main()
