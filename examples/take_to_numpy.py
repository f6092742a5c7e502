# SPDX-License-Identifier: GPL-3.0-or-later
"""What a take holds, read with numpy alone: python examples/take_to_numpy.py take.npz"""

import json
import sys
from pathlib import Path

import numpy as np

SIDES = ("left", "right")


def thumb_to_index_mm(take: dict[str, np.ndarray]) -> np.ndarray:
    """(T, 2) distance between the tips of thumb and index finger, millimetres; NaN where the hand is absent."""
    joints_m = take["joints_cam_m"]
    return 1000 * np.linalg.norm(joints_m[:, :, 4] - joints_m[:, :, 8], axis=-1)


def main(path: Path) -> None:
    with np.load(path, allow_pickle=False) as file:
        take = dict(file)
    meta = json.loads(str(take["meta"]))
    print(f"{meta['footage']['path']}: {len(take['time_s'])} frames at {float(take['fps']):g} a second")
    for side, name in enumerate(SIDES):
        there = take["present"][:, side] > 0
        if not there.any():
            print(f"{name}: absent")
            continue
        pinch_mm = thumb_to_index_mm(take)[there, side]
        away_m = take["wrist_cam_m"][there, side, 2]
        print(
            f"{name}: in {there.sum()} frames, {away_m.mean():.2f} m away, "
            f"thumb to index {pinch_mm.min():.0f} to {pinch_mm.max():.0f} mm"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
