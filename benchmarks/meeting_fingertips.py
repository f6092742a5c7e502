# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures how far apart takes have fingertips that meet in the pictures of real clips.

python -m benchmarks.meeting_fingertips TAKES     TAKES holds a take for each clip, by the clip's name (namaste.npz)

Frames and fingers were marked by eye (tests/data/meeting_fingertips.json, first and last frame). Tips are points on
the skin, not on one another: where fingers press together a centimetre may lie between.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from inference_core.shared.skeleton import TIPS_21
from inference_core.shared.take import load_take

MARKED = Path(__file__).parents[1] / "tests/data/meeting_fingertips.json"
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")


def main() -> None:
    """Print a row per clip: median and 90th percentile of the gaps, and their share of depth."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("takes", type=Path)
    folder = parser.parse_args().takes
    for clip, stretches in json.loads(MARKED.read_text()).items():
        file = folder / f"{Path(clip).stem}.npz"
        if not file.is_file():
            print(f"{clip}: no take {file}")
            continue
        take = load_take(file)
        parts: list[np.ndarray] = []
        for stretch in stretches:
            chosen = (take.frame >= stretch["frames"][0]) & (take.frame <= stretch["frames"][1])
            for pair in stretch["pairs"]:
                left, right = (TIPS_21[_FINGERS.index(finger)] for finger in pair)
                parts.append(
                    1000 * (take.joints_cam_m[chosen, 1, right] - take.joints_cam_m[chosen, 0, left])
                )
        apart_mm = np.concatenate(parts)
        apart_mm = apart_mm[np.isfinite(apart_mm).all(1)]
        gaps_mm = np.linalg.norm(apart_mm, axis=1)
        print(
            f"{clip}: {len(gaps_mm)} meetings, {np.median(gaps_mm):.1f} mm apart at the median, "
            f"{np.quantile(gaps_mm, 0.9):.1f} at 90 %; in depth {np.median(np.abs(apart_mm[:, 2])):.1f}"
        )


if __name__ == "__main__":
    main()
