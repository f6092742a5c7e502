# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands found, landmark difference and time a frame, against mediapipe in the same run.

python -m benchmarks.landmarks CLIP...
"""

import argparse
import resource
import time
from pathlib import Path

import mediapipe
import numpy as np

from inference_core.footage import Frame, FrameRange, open_footage
from inference_core.landmarks.networks import load_landmark_networks
from inference_core.shared.presence import FILLED, SEEN
from inference_core.tracking.assign import build_tracks
from inference_core.tracking.detect import detect_shot
from inference_core.tracking.detections import ShotDetections

# Images are read beforehand, so that both sides are timed without decoding; this many fit in memory.
_MAX_FRAMES = 240
# mediapipe's two readings of one hand lie closer than this share of its box's diagonal.
_SAME_HAND = 0.15


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--frames", type=int, default=_MAX_FRAMES)
    arguments = parser.parse_args()
    print(
        "| clip | frames | hands ours | hands mediapipe | difference median | p90 | ms/frame ours | mediapipe |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for clip in arguments.clips:
        print(_row(clip, arguments.frames), flush=True)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak memory of this process, both sides and the images: {peak_mib:.0f} MiB")


def _row(clip: Path, limit: int) -> str:
    frames = list(open_footage(clip, FrameRange(0, limit)))
    networks = load_landmark_networks()
    detect_shot(frames[:2], networks)
    start = time.perf_counter()
    detections = detect_shot(frames, networks)
    tracks = build_tracks(detections)
    ours_ms = (time.perf_counter() - start) / len(frames) * 1e3
    theirs, theirs_ms = _mediapipe(frames)
    differences = np.array(_differences(detections, theirs)) * 100
    seen = [(tracks.present[:, side] == SEEN).sum() for side in (0, 1)]
    filled = (tracks.present == FILLED).sum()
    return (
        f"| {clip.name} | {len(frames)} | {len(detections.at)} (left {seen[0]}, right {seen[1]}, filled {filled}) "
        f"| {sum(map(len, theirs))} | {np.median(differences):.2f} % | {np.percentile(differences, 90):.2f} % "
        f"| {ours_ms:.1f} | {theirs_ms:.1f} |"
    )


def _mediapipe(frames: list[Frame]) -> tuple[list[list[np.ndarray]], float]:
    """Hands (21, 2) in pixels of each frame, and milliseconds a frame. Second readings of one hand are left out."""
    found: list[list[np.ndarray]] = []
    spent_s = 0.0
    with mediapipe.solutions.hands.Hands(max_num_hands=2) as peer:
        for frame in frames:
            hands: list[np.ndarray] = []
            if frame.image is not None:
                start = time.perf_counter()
                result = peer.process(frame.image)
                spent_s += time.perf_counter() - start
                size_px = np.array(frame.image.shape[1::-1])
                for landmarks in result.multi_hand_landmarks or []:
                    hand = np.array([[point.x, point.y] for point in landmarks.landmark]) * size_px
                    if all(_difference(hand, other) > _SAME_HAND for other in hands):
                        hands.append(hand)
            found.append(hands)
    return found, spent_s / len(frames) * 1e3


def _differences(detections: ShotDetections, theirs: list[list[np.ndarray]]) -> list[float]:
    """Of each of mediapipe's hands to the closest of ours in its frame, as a share of its box's diagonal."""
    out: list[float] = []
    for at, hands in enumerate(theirs):
        ours = detections.points_px[detections.at == at, :, :2]
        out += [min(_difference(hand, other) for other in ours) for hand in hands if len(ours)]
    return out


def _difference(hand: np.ndarray, other: np.ndarray) -> float:
    diagonal = float(np.linalg.norm(np.ptp(hand, axis=0)))
    return float(np.linalg.norm(other - hand, axis=-1).mean()) / diagonal


if __name__ == "__main__":
    main()
