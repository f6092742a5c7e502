# SPDX-License-Identifier: GPL-3.0-or-later
"""Fits the hand model to each frame as it arrives, starting from the previous frame."""

import numpy as np
from numpy.typing import NDArray

from inference_core.exchange.hand_size import betas_of_length
from inference_core.fitting.observations import Observations, gather
from inference_core.fitting.parameterisation import HandState, make_parameterisation
from inference_core.fitting.single_frame import ShotShape, fit_frames, start_state
from inference_core.geometry.camera import Camera
from inference_core.hand_model.hand import HandModel
from inference_core.live.follower import SeenHand
from inference_core.shared.presence import ABSENT, SEEN
from inference_core.tracking.hand_tracks import HandTracks

_STEPS = 5  # from the frame before; a capture takes as many as are needed

Floats = NDArray[np.float64]


class LiveSolver:
    """Fits both hands; their shape is the mean hand's, or that of a hand of the given length."""

    def __init__(self, model: HandModel, camera: Camera, hand_length_mm: float | None) -> None:
        self._model = model
        betas = np.zeros((2, 10)) if hand_length_mm is None else betas_of_length(model, hand_length_mm)
        self._shape = ShotShape(make_parameterisation(model, betas), np.ones(2))
        self._shaped = model.with_shape(betas)
        self._camera = camera
        self._last: tuple[list[int], HandState] | None = None

    @property
    def faces(self) -> NDArray[np.int32]:
        """(S, F, 3) triangles of `vertices_m`."""
        return self._model.faces.astype(np.int32)

    def vertices_m(self, hands: dict[int, SeenHand]) -> Floats:
        """(S, V, 3) the skins in camera axes, NaN for an absent hand."""
        vertices = np.full(self._model.template_m.shape, np.nan)
        if not hands:
            self._last = None
            return vertices
        seen = self._observed(hands)
        sides = seen.side.tolist()
        state = self._last[1] if self._last and self._last[0] == sides else start_state(self._shape, seen)
        state = fit_frames(self._shape, seen, state, _STEPS)
        self._last = sides, state
        posed = self._skins(sides, state)
        vertices[sides] = posed[sides]
        return vertices

    def _observed(self, hands: dict[int, SeenHand]) -> Observations:
        landmarks = np.full((1, 2, 21, 3), np.nan, np.float32)
        world_m = np.full((1, 2, 21, 3), np.nan, np.float32)
        present = np.full((1, 2), ABSENT, np.uint8)
        for side, hand in hands.items():
            landmarks[0, side, :, :2], landmarks[0, side, :, 2] = hand.points_px, hand.presence
            world_m[0, side], present[0, side] = hand.world_m, SEEN
        tracks = HandTracks(landmarks, world_m, present, np.ones((1, 2), np.float32))
        return gather(tracks, None, present, self._camera, np.zeros(1), self._model.joint_axes, range(1))

    def _skins(self, sides: list[int], state: HandState) -> Floats:
        rotations = np.tile(np.eye(3), (2, 16, 1, 1))
        angles, wrists_m = np.zeros((2, 15, 3)), np.zeros((2, 3))
        angles[sides], wrists_m[sides] = state.angles_rad, state.wrist_m
        rotations[:, 1:] = self._model.rotations_from_angles(angles)
        rotations[sides, 0] = state.root
        return self._shaped.with_pose(rotations, wrists_m).vertices_m
