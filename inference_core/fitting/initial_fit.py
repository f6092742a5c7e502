# SPDX-License-Identifier: GPL-3.0-or-later
"""The hand model fitted to the landmarks of each crop, to replace the landmark network's world landmarks.

World landmarks alone are off by about 20 degrees and have no absolute size; the single-frame fit halves that error by
using 2D landmarks, joint limits and one shape for the shot. The two-hand network starts there and corrects the rest.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inference_core.fitting.observations import gather
from inference_core.fitting.parameterisation import LANDMARKS, make_parameterisation, pose_points
from inference_core.fitting.single_frame import (
    ShotShape,
    best_scored,
    estimate_shape,
    fit_frames,
    start_state,
    well_seen,
)
from inference_core.geometry.camera import Camera
from inference_core.hand_model.hand import HandModel
from inference_core.shared.presence import ABSENT, SEEN
from inference_core.tracking.expected_hands import ExpectedHands
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.two_hand.conditioning import crop_conditioning
from inference_core.two_hand.configuration import CROP_PX
from inference_core.two_hand.crop import CropCamera
from inference_core.two_hand.predictor import frame_views
from inference_core.two_hand.records import Conditioning

# For an unknown lens: 60 degrees across a crop of the whole picture.
_USUAL_FOCAL_UV = 1.7
_HALF = CROP_PX / 2


def shape_of(conditioning: Conditioning, hand: HandModel) -> ShotShape:
    """One shape per hand for the crops (T, ...) of one shot."""
    tracks, camera = _as_tracks(conditioning)
    return _estimated(tracks, camera, well_seen(tracks), hand)


def for_refined(shape: ShotShape, hand: HandModel) -> ShotShape:
    """The shape for world landmarks read by the landmark head: in metres, for a hand of mean size."""
    mean = make_parameterisation(hand, np.zeros_like(shape.parameterisation.betas))
    return replace(shape, world_scale=shape.parameterisation.reach_m / mean.reach_m)


def fitted(conditioning: Conditioning, shape: ShotShape) -> Conditioning:
    """The conditioning with world_rel_m (T, S, 21, 3) replaced by the fitted hands' landmarks; each crop on its own."""
    tracks, camera = _as_tracks(conditioning)
    count = len(tracks.present)
    axes = shape.parameterisation.axes
    seen = gather(tracks, None, tracks.present, camera, _apart(count), axes, range(count))
    world_rel_m = np.zeros_like(conditioning.world_rel_m)
    if len(seen):
        state = fit_frames(shape, seen, start_state(shape, seen))
        points = pose_points(shape.parameterisation, seen.side, state).points_m[:, LANDMARKS]
        world_rel_m[seen.frame, seen.side] = points - points[:, :1]
    world_rel_m[conditioning.landmark_score == 0] = 0
    return replace(conditioning, world_rel_m=world_rel_m)


def shot_shape(
    tracked: ExpectedHands,
    squares_px: NDArray[np.float64],
    camera: Camera,
    hand: HandModel,
    head_read: bool,
) -> ShotShape:
    """One shape per hand for the shot, from the tracks.

    squares_px (T, 3): the two-hand crops, in whose cameras hands are fitted. head_read: whether the landmark head
    reads the seen hands.
    """
    shown = np.isfinite(squares_px).all(1)
    chosen = best_scored(np.where(shown[:, None, None], tracked.score, 0).astype(np.float32))
    # Only these frames are turned into crops: of a long shot, all would take more memory than anything else.
    views = frame_views(np.where(chosen.any(1)[:, None], squares_px, np.nan), camera)
    tracks, cameras = _as_tracks(_in_crops(tracked, views))
    shape = _estimated(tracks, cameras, chosen[list(views)], hand)
    return for_refined(shape, hand) if head_read else shape


def fit_expected_hands(
    expected: ExpectedHands, squares_px: NDArray[np.float64], camera: Camera, shape: ShotShape
) -> ExpectedHands:
    """The expected hands with the fitted hand model's world landmarks, each frame on its own.

    squares_px (T, 3): each frame's crop for the two-hand network. Frames without one (NaN) are unchanged.
    """
    views = frame_views(squares_px, camera)
    if not views:
        return expected
    frames, world_m = np.array(list(views)), expected.world_m.copy()
    world_m[frames] = fitted(_in_crops(expected, views), shape).world_rel_m
    return replace(expected, world_m=world_m)


def _in_crops(hands: ExpectedHands, views: dict[int, CropCamera]) -> Conditioning:
    if not views:
        return Conditioning.none(0)
    return Conditioning.joined([crop_conditioning(hands, at, view) for at, view in views.items()])


def _estimated(tracks: HandTracks, camera: Camera, chosen: NDArray[np.uint8], hand: HandModel) -> ShotShape:
    """One shape per hand from the chosen (T, S) hand frames of crops."""
    count = len(tracks.present)
    seen = gather(tracks, None, chosen, camera, _apart(count), hand.joint_axes, range(count))
    return estimate_shape(hand, seen)


def _as_tracks(conditioning: Conditioning) -> tuple[HandTracks, Camera]:
    """The crops as a shot: landmarks in the crop's pixels, with a lens for each."""
    pixels = (conditioning.landmarks_uv + 1) * _HALF
    score = conditioning.landmark_score[..., None]
    present = np.where(conditioning.hand_score > 0, SEEN, ABSENT).astype(np.uint8)
    K = np.zeros((len(pixels), 3, 3))
    K[:, 0, 0] = K[:, 1, 1] = _HALF * np.where(
        conditioning.focal_uv > 0, conditioning.focal_uv, _USUAL_FOCAL_UV
    )
    K[:, :2, 2], K[:, 2, 2] = _HALF, 1.0
    landmarks = np.concatenate([pixels, score], -1)
    tracks = HandTracks(landmarks, conditioning.world_rel_m, present, conditioning.side_score)
    return tracks, Camera(K, (CROP_PX, CROP_PX), np.eye(4))


def _apart(count: int) -> NDArray[np.float64]:
    """Times so far apart that no two crops are neighbours."""
    return np.arange(count, dtype=np.float64) * 1000.0
