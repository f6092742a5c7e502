# SPDX-License-Identifier: GPL-3.0-or-later
"""The solve's evidence as a take stores it: about 0.8 KB a frame, so that a range can be solved again without footage.

Image landmarks are the take's own; metric values and rotations are rounded to half floats (0.03 mm, 0.05 degrees), well
below the error of landmarks and networks.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.shared import quaternions
from inference_core.shared.errors import RequestError
from inference_core.shared.take import Take
from inference_core.shared.take_format import EVIDENCE_OF_TRACKS
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.two_hand.predictions import TwoHandPredictions


def evidence_arrays(
    tracks: HandTracks, predictions: TwoHandPredictions | None, world_scale: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    """A take's evidence_ arrays. world_scale (S,): of the hand model over the world landmarks."""
    kept: dict[str, NDArray[Any]] = {
        "evidence_present": tracks.present,
        "evidence_world_m": tracks.world_m.astype(np.float16),
        "evidence_world_scale": world_scale,
    }
    if predictions is None:
        return kept
    return {
        **kept,
        "evidence_rotations_wxyz": quaternions.from_matrix(predictions.rotations.astype(np.float64)).astype(
            np.float16
        ),
        "evidence_joints_rel_m": predictions.joints_rel_m.astype(np.float16),
        "evidence_wrist_cam_m": predictions.wrist_cam_m,
        "evidence_offset_m": predictions.offset_m,
        "evidence_confidence": np.nan_to_num(predictions.confidence),
        "evidence_presence": np.nan_to_num(predictions.presence),
    }


def evidence_of(take: Take) -> tuple[HandTracks, TwoHandPredictions | None]:
    """The evidence of the take's solve; a RequestError if the take does not hold it."""
    if any(getattr(take, name) is None for name in EVIDENCE_OF_TRACKS):
        imported = take.meta.get("imported")
        if isinstance(imported, dict):
            raise RequestError(
                f"The take was imported from {imported.get('engine', 'another engine')}, which leaves nothing to solve "
                "again. Edit its keys in Blender, or capture the footage."
            )
        raise RequestError(
            "The take does not hold the evidence of its solve: it was made by an older Duohand. Capture it again."
        )
    assert take.evidence_present is not None and take.evidence_world_m is not None
    seen = take.landmarks_px[..., 2:] > 0
    tracks = HandTracks(
        landmarks_px=np.where(seen, take.landmarks_px, np.float32(np.nan)),
        world_m=take.evidence_world_m.astype(np.float32),
        present=take.evidence_present,
        side_score=np.ones(take.evidence_present.shape, np.float32),
    )
    if take.evidence_rotations_wxyz is None:
        return tracks, None
    assert take.evidence_joints_rel_m is not None and take.evidence_wrist_cam_m is not None
    assert take.evidence_offset_m is not None
    assert take.evidence_confidence is not None and take.evidence_presence is not None
    return tracks, TwoHandPredictions(
        rotations=quaternions.to_matrix(take.evidence_rotations_wxyz.astype(np.float64)).astype(np.float32),
        joints_rel_m=take.evidence_joints_rel_m.astype(np.float32),
        wrist_cam_m=take.evidence_wrist_cam_m,
        betas=np.zeros((*take.present.shape, 10), np.float32),
        offset_m=take.evidence_offset_m,
        confidence=take.evidence_confidence,
        presence=take.evidence_presence,
    )
