# SPDX-License-Identifier: GPL-3.0-or-later
"""The cost of posing both hands: python -m benchmarks.hand_model [FRAMES]"""

import sys
import time
from collections.abc import Callable

import torch

from inference_core.geometry.rotations import exp
from inference_core.hand_model.load import load_open_hand


def main() -> None:
    """Prints milliseconds of processor time for landmarks with gradient and for skinned vertices without."""
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    model = load_open_hand()
    betas = torch.zeros(2, 10, requires_grad=True)
    vectors = (torch.randn(frames, 2, 16, 3) * 0.3).requires_grad_()
    wrist = torch.zeros(frames, 2, 3, requires_grad=True)

    def landmarks() -> None:
        posed = model.with_shape(betas).with_pose(exp(vectors), wrist)
        posed.landmarks21_m.square().sum().backward()

    def vertices() -> None:
        with torch.no_grad():
            posed = model.with_shape(betas).with_pose(exp(vectors[:30]), wrist[:30])
            assert posed.vertices_m.shape[0] == 30

    print(f"landmarks and gradient, {frames} frames, both hands: {best_ms(landmarks):.1f} ms a step")
    print(f"vertices, 30 frames, both hands: {best_ms(vertices) / 30:.2f} ms a frame")


def best_ms(action: Callable[[], None]) -> float:
    """Least processor time of an action, milliseconds."""
    best = float("inf")
    for _ in range(30):
        start = time.process_time()
        action()
        best = min(best, time.process_time() - start)
    return best * 1e3


if __name__ == "__main__":
    main()
