# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands that lie in each other: where their skins intersect, and how the solve takes them apart."""

import numpy as np
import pytest

from inference_core.fitting.capsules import fit_capsules
from inference_core.fitting.contact import Contact
from inference_core.fitting.interaction import HardSkin, hand_pairs, pair_cost, pair_equations
from inference_core.fitting.intersections import NearPairs, Overlaps, PlaceFinder, Places, beside
from inference_core.fitting.joint_fit import fit_shot
from inference_core.fitting.observations import gather, pairs
from inference_core.fitting.parameterisation import JOINTS, HandState, make_parameterisation, pose_points
from inference_core.fitting.polish import taken_apart
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.single_frame import ShotShape, fit_frames, start_state
from inference_core.fitting.skin import fit_skin
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_hand_model
from tests.inference_core.solve_scenes import make_shot

COUNT = 8


class Scene:
    """Hands whose wrists are apart_m apart, fitted together without regard to their skins."""

    def __init__(self, model: HandModel, apart_m: float) -> None:
        shot = make_shot(model, COUNT, seed=4, apart_m=apart_m)
        parameterisation = make_parameterisation(model, shot.betas)
        self.shape = ShotShape(parameterisation, np.ones(2))
        self.parameterisation, times = parameterisation, shot.time_s * 30
        tracks, network = shot.tracks, shot.network(0.7)
        self.seen = gather(
            tracks, network, tracks.present, shot.camera, times, parameterisation.axes, range(COUNT)
        )
        self.capsules = fit_capsules(model, parameterisation)
        self.skin = fit_skin(model, parameterisation, self.capsules)
        nothing = np.zeros((COUNT, len(self.capsules.ends), len(self.capsules.ends)))
        self.contact = Contact.of(np.zeros(COUNT), nothing)
        start = fit_frames(self.shape, self.seen, start_state(self.shape, self.seen))
        self.state = fit_shot(self.shape, self.seen, start, self.capsules, self.contact, SolveSettings())

    def taken_apart(self) -> HandState:
        return taken_apart(
            self.shape, self.seen, self.state, self.capsules, self.contact, SolveSettings(), self.skin
        )

    def places(self, state: HandState) -> Places:
        left, right = pairs(self.seen)
        posed = pose_points(self.parameterisation, self.seen.side, state)
        finder = PlaceFinder(self.skin, self.parameterisation, np.zeros(len(left), np.int64))
        hands = hand_pairs(self.seen, posed, self.capsules, self.contact)
        assert hands.nearest is not None
        joints_m = np.stack([posed.points_m[rows, JOINTS] for rows in (left, right)], 1)[hands.near]
        near = NearPairs(hands.near, joints_m, beside(hands.nearest.gap_m))
        return finder.find(state, (left, right), near)

    def deepest_m(self, state: HandState) -> float:
        return float(self.places(state).deepest_m(COUNT).max())


@pytest.fixture(scope="module")
def model() -> HandModel:
    return load_hand_model()


@pytest.fixture(scope="module")
def crossed(model: HandModel) -> Scene:
    return Scene(model, apart_m=0.033)


def test_hands_that_still_intersect_are_separated_along_their_skins(crossed: Scene) -> None:
    before, after = crossed.state, crossed.taken_apart()
    assert crossed.deepest_m(before) > 0.008
    assert crossed.deepest_m(after) < 0.006
    moved_m = np.linalg.norm(after.wrist_m - before.wrist_m, axis=-1)
    assert moved_m.max() < 0.04


def test_hands_that_are_apart_are_not_changed(model: HandModel) -> None:
    scene = Scene(model, apart_m=0.3)
    assert scene.taken_apart() is scene.state


def test_the_depth_of_intersections_is_correct(crossed: Scene) -> None:
    """The residual, linear in the joints, follows the place's depth along its normal."""
    places = crossed.places(crossed.state)
    deepest = int(places.depth_m.argmax())
    row = int(places.pair[deepest])
    assert np.isclose(np.linalg.norm(places.normal[deepest]), 1)
    left, right = pairs(crossed.seen)
    posed = pose_points(crossed.parameterisation, crossed.seen.side, crossed.state)
    overlaps = Overlaps.of(places, len(left))
    apart_m = overlaps.left @ posed.points_m[left, JOINTS] - overlaps.right @ posed.points_m[right, JOINTS]
    depth_m = overlaps.reach_m - (overlaps.normal * apart_m).sum(-1)
    at = deepest - int(np.searchsorted(places.pair, row))
    assert np.isclose(float(depth_m[row, at]), places.depth_m[deepest])


def test_places_move_steadily_with_the_hands(crossed: Scene) -> None:
    """A single nearest vertex would change by a whole vertex, and its normal by twenty degrees."""
    shift = np.zeros((len(crossed.seen), crossed.parameterisation.size))
    shift[crossed.seen.side == 0, 0] = 1e-4
    moved = crossed.state.moved(shift, crossed.parameterisation)
    before, after = crossed.places(crossed.state), crossed.places(moved)
    deep = before.take(before.depth_m > 0.004)
    same = after.take(np.isin(after.key, deep.key))
    assert len(same) == len(deep) > 2
    assert np.abs(deep.depth_m - same.depth_m).max() < 3e-4
    assert (deep.normal * same.normal).sum(-1).min() > 0.99


def test_the_gradient_of_skin_residuals_matches_their_cost(crossed: Scene) -> None:
    skin = HardSkin(Overlaps.of(crossed.places(crossed.state), COUNT), 0.002)

    def cost(state: HandState) -> float:
        posed = pose_points(crossed.parameterisation, crossed.seen.side, state)
        return float(pair_cost(crossed.seen, hand_pairs(crossed.seen, posed, None, None), None, skin).sum())

    posed = pose_points(crossed.parameterisation, crossed.seen.side, crossed.state)
    hands = hand_pairs(crossed.seen, posed, None, None)
    equations = pair_equations(crossed.seen, hands, None, None, skin)
    assert np.isclose(equations.cost.sum(), cost(crossed.state))
    for hand, gradient in (
        (equations.left[3], equations.gradient[3, 0]),
        (equations.right[3], equations.gradient[3, 1]),
    ):
        for k in (0, 2, 4, 9):
            step = np.zeros((len(crossed.seen), crossed.parameterisation.size))
            step[hand, k] = 1e-6
            up, down = (cost(crossed.state.moved(sign * step, crossed.parameterisation)) for sign in (1, -1))
            assert np.isclose(gradient[k], (up - down) / 2e-6, rtol=0.02, atol=0.02 * np.abs(gradient).max())
