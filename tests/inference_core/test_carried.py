# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames whose hands cannot be separated where they are take the pair of a frame beside them."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from inference_core.fitting.capsules import fit_capsules
from inference_core.fitting.carried import carried
from inference_core.fitting.contact import Contact
from inference_core.fitting.interaction import hand_pairs
from inference_core.fitting.intersections import PlaceFinder
from inference_core.fitting.joint_fit import fit_shot
from inference_core.fitting.observations import Observations, gather, pairs
from inference_core.fitting.parameterisation import (
    JOINTS,
    HandState,
    image_depth_of,
    make_parameterisation,
    pose_points,
)
from inference_core.fitting.polish import near_pairs, taken_apart
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.single_frame import ShotShape, fit_frames, start_state
from inference_core.fitting.skin import fit_skin
from inference_core.geometry.rotations import exp
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_hand_model
from inference_core.shared.skeleton import RIGHT
from tests.inference_core.solve_scenes import make_shot

COUNT = 24
Flags = NDArray[np.bool_]


class Pairs:
    """COUNT frames of one pair of hands that moves as a whole; of another one from the frame `other` on."""

    def __init__(self, model: HandModel, other: int = COUNT) -> None:
        shot = make_shot(model, COUNT)
        self.parameterisation = make_parameterisation(model, shot.betas)
        axes, times = self.parameterisation.axes, shot.time_s * 30
        tracks = shot.tracks
        self.seen = gather(tracks, None, tracks.present, shot.camera, times, axes, range(COUNT))
        random = np.random.default_rng(5)
        first = np.arange(COUNT) < other
        form, frame, side = np.where(first, 0, 1)[self.seen.frame], self.seen.frame, self.seen.side
        wrist_m = np.array([0, 0, 0.6]) + random.normal(0, 0.1, (2, 2, 3))
        root, angles = exp(random.normal(size=(2, 2, 3))), random.uniform(0, 0.5, (2, 2, 15, 3))
        turn, way_m = exp(0.3 * random.normal(size=(COUNT, 3))), random.normal(0, 0.02, (COUNT, 3))
        moved_m = (turn[frame] @ wrist_m[form, side][..., None])[..., 0] + way_m[frame]
        self.state = HandState(image_depth_of(moved_m), turn[frame] @ root[form, side], angles[form, side])

    def joints_m(self, state: HandState) -> NDArray[np.float64]:
        """(COUNT, 42, 3) of both hands."""
        points_m = pose_points(self.parameterisation, self.seen.side, state).points_m[:, JOINTS]
        return np.concatenate([points_m[hands] for hands in pairs(self.seen)], 1)

    def misplaced(self, frames: Flags) -> HandState:
        """The state with hands elsewhere in the given frames."""
        bad = frames[self.seen.frame]
        spread = np.random.default_rng(6).normal(0, 0.05, self.state.image_depth.shape)
        return replace(self.state, image_depth=self.state.image_depth + spread * bad[:, None])

    def carried(
        self, apart: HandState, deep: Flags, fine: Flags, seen: Observations | None = None
    ) -> HandState:
        return carried(self.parameterisation, seen or self.seen, self.state, apart, deep, fine)


@pytest.fixture(scope="module")
def model() -> HandModel:
    return load_hand_model()


def only(*frames: int) -> Flags:
    return np.isin(np.arange(COUNT), frames)


def distances_m(joints_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 42, 42) between all joints of a pair."""
    return np.linalg.norm(joints_m[..., :, None, :] - joints_m[..., None, :, :], axis=-1)


def test_a_pair_goes_where_the_fit_takes_the_pair_as_a_whole(model: HandModel) -> None:
    shot, deep = Pairs(model), only(7, 8)
    found = shot.carried(shot.misplaced(deep), deep, ~deep)
    np.testing.assert_allclose(shot.joints_m(found), shot.joints_m(shot.state), atol=1e-9)


def test_each_frame_takes_the_side_that_it_is_more_like(model: HandModel) -> None:
    shot, deep = Pairs(model, other=9), only(*range(6, 12))
    forms = distances_m(shot.joints_m(shot.carried(shot.misplaced(deep), deep, ~deep)))
    np.testing.assert_allclose(forms[:9], np.broadcast_to(forms[0], forms[:9].shape), atol=1e-9)
    np.testing.assert_allclose(forms[9:], np.broadcast_to(forms[-1], forms[9:].shape), atol=1e-9)


def test_what_is_neither_deep_nor_beside_it_stays_as_it_is(model: HandModel) -> None:
    shot = Pairs(model)
    apart = shot.misplaced(np.ones(COUNT, bool))
    found = shot.carried(apart, only(7), ~only(7, 8, 15, 16))
    moved = (found.image_depth != apart.image_depth).any(1)
    assert set(shot.seen.frame[moved].tolist()) == {7, 8}
    assert set(shot.seen.side[moved].tolist()) == {0, 1}


def test_a_pair_is_carried_over_a_few_frames_only(model: HandModel) -> None:
    shot, deep = Pairs(model), np.arange(COUNT) >= 3
    apart = shot.misplaced(deep)
    found = shot.carried(apart, deep, ~deep)
    moved = (found.image_depth != apart.image_depth).any(1)
    assert set(shot.seen.frame[moved].tolist()) == set(range(3, 11))


def test_a_pair_is_not_carried_over_frames_in_which_a_hand_is_missing(model: HandModel) -> None:
    shot, deep = Pairs(model), only(7, 8)
    apart = shot.misplaced(deep)
    there = ~np.isin(shot.seen.frame, (6, 9))
    seen, kept = shot.seen.of_frames(there), np.flatnonzero(there)
    rows = np.flatnonzero(~only(6, 9))
    found = carried(
        shot.parameterisation, seen, shot.state.take(kept), apart.take(kept), deep[rows], ~deep[rows]
    )
    np.testing.assert_array_equal(found.image_depth, apart.image_depth[kept])


def test_hands_that_would_pass_through_one_another_do_not_stay_in_each_other(model: HandModel) -> None:
    """The network sees the right hand before the left one and, from one frame to the next, behind it."""
    count = 12
    shot = make_shot(model, count, seed=4, apart_m=0.0, speed=0.3)
    network, tracks = shot.network(0.7), shot.tracks
    way_m = np.zeros((count, 2, 3), np.float32)
    way_m[:, RIGHT, 2] = np.where(np.arange(count) < count // 2, 0.04, -0.04)
    network = replace(
        network, wrist_cam_m=network.wrist_cam_m + way_m, offset_m=network.offset_m + way_m[:, RIGHT]
    )
    parameterisation = make_parameterisation(model, shot.betas)
    shape, settings = ShotShape(parameterisation, np.ones(2)), SolveSettings()
    seen = gather(
        tracks, network, tracks.present, shot.camera, shot.time_s * 30, parameterisation.axes, range(count)
    )
    capsules = fit_capsules(model, parameterisation)
    nothing = np.zeros((count, len(capsules.ends), len(capsules.ends)))
    contact = Contact.of(np.zeros(count), nothing)
    start = fit_frames(shape, seen, start_state(shape, seen))
    fitted = fit_shot(shape, seen, start, capsules, contact, settings)
    skin = fit_skin(model, parameterisation, capsules)
    found = taken_apart(shape, seen, fitted, capsules, contact, settings, skin)

    left, right = pairs(seen)
    posed = pose_points(parameterisation, seen.side, found)
    hands = hand_pairs(seen, posed, capsules, contact)
    assert hands.nearest is not None
    near = near_pairs(hands, hands.nearest.gap_m, np.arange(count))
    finder = PlaceFinder(skin, parameterisation, np.zeros(count, np.int64))
    places = finder.find(found, (left, right), near)
    assert places.deepest_m(count).max() < 0.007
