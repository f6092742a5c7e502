# SPDX-License-Identifier: GPL-3.0-or-later
"""What the two-hand network says of a shot."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.presence import SEEN
from inference_core.tracking.hand_tracks import HandTracks

# What a network's reading of a landmark in the picture counts beside the landmark network's.
_READ_SHARE = 0.7


@dataclass(frozen=True)
class TwoHandPredictions:
    """A two-hand network's estimates of the shot, in the whole frame's camera.

    rotations (T, S, 16, 3, 3): wrist in camera axes, then the fingers relative to the rest pose, MANO's order.
    joints_rel_m (T, S, 21, 3): relative to the wrist, camera axes.
    wrist_cam_m (T, S, 3); betas (T, S, 10); offset_m (T, 3): right wrist minus left wrist.
    confidence (T, S): 0..1; 0 where the network says nothing. presence (T, S): 0..1.
    landmarks_px, world_m: the landmarks as the network reads them in its own hand_crops at the hands, as HandTracks's;
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


def with_refined_landmarks(evidence: HandTracks, network: TwoHandPredictions) -> HandTracks:
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
