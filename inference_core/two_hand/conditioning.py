# SPDX-License-Identifier: GPL-3.0-or-later
"""The expected hands of a shot as conditioning for the network, relative to each frame's crop."""

from __future__ import annotations

import numpy as np

from inference_core.tracking.expected_hands import ExpectedHands, mean_of_known
from inference_core.two_hand.crop import CropCamera
from inference_core.two_hand.records import Conditioning


def crop_conditioning(expected: ExpectedHands, at: int, camera: CropCamera) -> Conditioning:
    """The conditioning for frame `at` in a crop, as a batch of one.

    World landmarks come from upright single-hand crops, seen straight on; they are used in the crop's axes unchanged.
    """
    score = expected.score[at]
    known = score > 0
    uv = np.where(known[..., None], camera.uv_from_px(expected.points_px[at]), 0.0)
    world = expected.world_m[at]
    rel = np.where(known[..., None], world - world[:, :1], 0.0)
    side_score = np.where(known.any(-1), expected.side_score[at], 0.0)
    arrays = (uv, score, rel, mean_of_known(score), side_score, np.float32(camera.focal_uv))
    return Conditioning(*(np.asarray(values, np.float32)[None] for values in arrays))
