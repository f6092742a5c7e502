# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a shot before it is solved: landmarks on two side-labelled tracks, and a network's estimates.

T frames, S sides (left, right). Absent entries hold NaN, their scores and confidences 0.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

ABSENT, SEEN, FILLED = 0, 1, 2
# For so many frames what was seen of a hand tells that it is there.
REMEMBERED_FRAMES = 50
# What a network's reading of a landmark in the picture counts beside the landmark network's.
_READ_SHARE = 0.7


@dataclass(frozen=True)
class HandEvidence:
    """Landmarks of the subject's two hands through the shot.

    landmarks_px (T, S, 21, 3): x, y in pixels of the whole frame (pixel centres at +0.5), score 0..1.
    world_m (T, S, 21, 3): metres about the hand's centre, camera axes (x right, y down, z forward).
    present (T, S) uint8: ABSENT, SEEN, or FILLED (a short gap, to be bridged by the solve).
    side_score (T, S): 0..1, how sure this frame alone is that the hand is of that side.
    """

    landmarks_px: NDArray[np.float32]
    world_m: NDArray[np.float32]
    present: NDArray[np.uint8]
    side_score: NDArray[np.float32]


@dataclass(frozen=True)
class NetworkEvidence:
    """A two-hand network's estimates of the shot, in the whole frame's camera.

    rotations (T, S, 16, 3, 3): wrist in camera axes, then the fingers relative to the rest pose, MANO's order.
    joints_rel_m (T, S, 21, 3): relative to the wrist, camera axes.
    wrist_cam_m (T, S, 3); betas (T, S, 10); offset_m (T, 3): right wrist minus left wrist.
    confidence (T, S): 0..1; 0 where the network says nothing. presence (T, S): 0..1.
    landmarks_px, world_m: the landmarks as the network reads them in its own looks at the hands, as HandEvidence's;
    NaN where it saw no hand.
    """

    rotations: NDArray[np.float32]
    joints_rel_m: NDArray[np.float32]
    wrist_cam_m: NDArray[np.float32]
    betas: NDArray[np.float32]
    offset_m: NDArray[np.float32]
    confidence: NDArray[np.float32]
    presence: NDArray[np.float32]
    landmarks_px: NDArray[np.float32]
    world_m: NDArray[np.float32]


def read_again(evidence: HandEvidence, network: NetworkEvidence) -> HandEvidence:
    """The evidence with the network's reading of the landmarks, where it looked and saw the hand.

    World landmarks and scores are the network's; in the picture a landmark of a hand that was seen before lies between
    the two readings, which err in different ways. Other hands count as seen from here on.
    """
    read = np.isfinite(network.landmarks_px).all((-1, -2)) & np.isfinite(network.world_m).all((-1, -2))
    twice = (read & (evidence.present == SEEN))[..., None, None]
    between = (1 - _READ_SHARE) * evidence.landmarks_px + _READ_SHARE * network.landmarks_px
    points = np.where(twice, between, network.landmarks_px)[..., :2]
    again = np.concatenate([points, network.landmarks_px[..., 2:]], -1)
    return replace(
        evidence,
        landmarks_px=np.where(read[..., None, None], again, evidence.landmarks_px),
        world_m=np.where(read[..., None, None], network.world_m, evidence.world_m),
        present=np.where(read, np.uint8(SEEN), evidence.present),
    )


def frames_to_known(known: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frames since the last one and until the next one in which a hand is known, of known (T, S); 0 where it is known,
    far more than T where it is not before, or not after.
    """
    frames, far = np.arange(len(known))[:, None], 1_000_000
    last = np.maximum.accumulate(np.where(known, frames, -far), 0)
    following = np.minimum.accumulate(np.where(known, frames, 2 * far)[::-1], 0)[::-1]
    return frames - last, following - frames
