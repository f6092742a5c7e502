# SPDX-License-Identifier: GPL-3.0-or-later
"""Tracks through the stages from refine to predict, as a capture takes them."""

from collections.abc import Sequence

import numpy as np

from inference_core.fitting.initial_fit import shot_shape
from inference_core.footage.records import Frame
from inference_core.geometry.camera import Camera
from inference_core.hand_model.hand import HandModel
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.landmarks.kept_readings import KeptReadings
from inference_core.reading import FrameReader
from inference_core.tracking.expected_hands import expected_hands
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.tracking.read_frames import with_frames_between
from inference_core.tracking.refine import asked_widely, refined_tracks
from inference_core.two_hand.crop import shot_crops
from inference_core.two_hand.predictions import TwoHandPredictions
from inference_core.two_hand.predictor import Predictor, with_presence_of_shot


def refined_and_predicted(
    frames: Sequence[Frame],
    tracks: HandTracks,
    camera: Camera,
    predictor: Predictor,
    hand: HandModel,
    head: HeadWithLandmarks | None = None,
) -> tuple[HandTracks, TwoHandPredictions]:
    """The tracks that the solve gets, and the predictions."""
    expected, squares_px = expected_hands(tracks), shot_crops(tracks)
    shape = shot_shape(expected, squares_px, camera, hand, head is not None)
    kept = None if head is None else KeptReadings(head)
    reader = FrameReader(camera, kept, lambda: (predictor, shape))
    widely = asked_widely(expected, camera.focal_px)
    readings, predictions = reader.read(frames, expected, squares_px, widely)
    readings = with_frames_between(readings, expected, np.ones(len(frames)))
    tracks = refined_tracks(tracks, expected, readings, camera.focal_px)
    return tracks, with_presence_of_shot(predictions, tracks.present, np.zeros(tracks.present.shape, bool))
