# SPDX-License-Identifier: GPL-3.0-or-later
"""The solve's parts: points and derivatives, smoothness, the banded solver, contact, gaps."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import block_diag, expm

from inference_core.fitting.capsules import Capsules, fit_capsules, nearest_points
from inference_core.fitting.contact import Contact, find_contact
from inference_core.fitting.gaps import interpolate_gaps
from inference_core.fitting.interaction import (
    HandPairs,
    depth_ties,
    draws,
    hand_pairs,
    pair_cost,
    pair_equations,
    pairs,
)
from inference_core.fitting.landmark_terms import landmark_normal
from inference_core.fitting.network_offset import network_offset
from inference_core.fitting.normal_equations import NormalEquations
from inference_core.fitting.observations import Observations, gather, judged_by_scores
from inference_core.fitting.parameterisation import (
    DEPTH,
    JOINTS,
    LANDMARKS,
    HandParameterisation,
    HandState,
    make_parameterisation,
    pose_points,
)
from inference_core.fitting.residuals import frame_cost, frame_normal
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.single_frame import ShotShape, fit_frames, start_state
from inference_core.fitting.temporal import accelerations, sigmas, solve_banded, temporal_normal
from inference_core.geometry.projection import project_pinhole
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_hand_model
from inference_core.shared.skeleton import RIGHT
from inference_core.tracking.hand_tracks import HandTracks
from tests.inference_core.solve_scenes import Shot, make_shot, meeting_shot, without

COUNT = 6
Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def model() -> HandModel:
    return load_hand_model()


@pytest.fixture(scope="module")
def parameterisation(model: HandModel) -> HandParameterisation:
    return make_parameterisation(model, np.linspace(-1, 1, 20).reshape(2, 10))


@pytest.fixture(scope="module")
def shot(model: HandModel) -> Shot:
    return make_shot(model, COUNT, seed=4, apart_m=0.05)


@pytest.fixture(scope="module")
def seen(parameterisation: HandParameterisation, shot: Shot) -> Observations:
    times = shot.time_s * 30
    tracks = shot.tracks
    return gather(
        tracks, shot.network(0.7), tracks.present, shot.camera, times, parameterisation.axes, range(COUNT)
    )


@pytest.fixture(scope="module")
def state(parameterisation: HandParameterisation, seen: Observations) -> HandState:
    shape = ShotShape(parameterisation, np.ones(2))
    fitted = fit_frames(shape, seen, start_state(shape, seen))
    step = 0.05 * np.random.default_rng(0).normal(size=(len(seen), parameterisation.size))
    return fitted.moved(step, parameterisation)


def test_points_match_the_hand_model(
    model: HandModel, parameterisation: HandParameterisation, seen: Observations, state: HandState
) -> None:
    posed = pose_points(parameterisation, seen.side, state)
    axes = parameterisation.axes[seen.side]
    fingers = axes @ expm(_hat(state.angles_rad)) @ np.swapaxes(axes, -1, -2)
    rotations = np.concatenate([state.root[:, None], fingers], 1)
    both = np.stack([rotations, rotations], 1)
    wrist_m = np.stack([state.wrist_m, state.wrist_m], 1)
    expected = model.with_shape(parameterisation.betas).with_pose(both, wrist_m)
    pick = (np.arange(len(seen)), seen.side)
    np.testing.assert_allclose(posed.joints_m, expected.joints16_m[pick], atol=1e-12)
    for part, points_m in ((JOINTS, expected.joints21_m), (LANDMARKS, expected.landmarks21_m)):
        assert np.linalg.norm(posed.points_m[:, part] - points_m[pick], axis=-1).max() < 1.5e-3


def test_derivatives_of_the_points_are_exact(
    parameterisation: HandParameterisation, seen: Observations, state: HandState
) -> None:
    def points(moved: HandState) -> Floats:
        return np.swapaxes(pose_points(parameterisation, seen.side, moved).points_m, 1, 2)

    exact = pose_points(parameterisation, seen.side, state).jacobian(slice(0, 42))
    np.testing.assert_allclose(exact, _differences(points, state, parameterisation), rtol=1e-5, atol=1e-7)


def test_derivatives_by_shape_are_exact(
    model: HandModel, parameterisation: HandParameterisation, seen: Observations, state: HandState
) -> None:
    exact = pose_points(parameterisation, seen.side, state).shape_jacobian(seen.side, slice(0, 42))
    for beta in (0, 4, 9):
        step = np.zeros((2, 10))
        step[:, beta] = 1e-3
        up = pose_points(
            make_parameterisation(model, parameterisation.betas + step), seen.side, state
        ).points_m
        down = pose_points(
            make_parameterisation(model, parameterisation.betas - step), seen.side, state
        ).points_m
        expected = np.swapaxes((up - down) / 2e-3, 1, 2)
        np.testing.assert_allclose(exact[..., beta], expected, rtol=1e-5, atol=1e-6)


def test_the_gradient_of_single_frame_terms_matches_their_cost(
    parameterisation: HandParameterisation, seen: Observations, state: HandState
) -> None:
    scale = np.array([0.9, 1.1])
    normal = frame_normal(parameterisation, seen, pose_points(parameterisation, seen.side, state), scale)
    differences = _differences(
        lambda moved: frame_cost(seen, pose_points(parameterisation, seen.side, moved), scale),
        state,
        parameterisation,
    )
    # The network's root is compared by a logarithm whose derivative is taken at a small angle.
    assert np.abs(normal.gradient - differences).max() < 0.01 * np.abs(differences).max()
    cost = frame_cost(seen, pose_points(parameterisation, seen.side, state), scale)
    np.testing.assert_allclose(normal.cost, cost)


def test_the_curvature_of_landmark_terms_is_exact_where_hands_fit_their_landmarks(
    parameterisation: HandParameterisation, seen: Observations, state: HandState
) -> None:
    points_m = pose_points(parameterisation, seen.side, state).points_m[:, LANDMARKS]
    fitting = replace(
        seen, pixels=project_pinhole(points_m, seen.K), world_m=points_m - points_m.mean(1, keepdims=True)
    )

    def normal(at: HandState, log_scale: float = 0.0) -> NormalEquations:
        posed = pose_points(parameterisation, seen.side, at)
        scale = np.full(2, np.exp(log_scale))
        return landmark_normal(fitting, posed, posed.jacobian(LANDMARKS), scale, by_scale=True)

    by_pose = _differences(lambda moved: normal(moved).gradient, state, parameterisation)
    by_scale = (normal(state, 1e-5).gradient - normal(state, -1e-5).gradient) / 2e-5
    expected = np.concatenate([by_pose, by_scale[..., None]], -1)
    hessian = normal(state).hessian
    size = np.sqrt(np.diagonal(hessian, axis1=1, axis2=2))
    assert np.abs((hessian - expected) / (size[:, None] * size[..., None])).max() < 1e-3


def test_hands_that_touch_stay_in_contact_while_one_is_lost(model: HandModel) -> None:
    shot, count, lost = meeting_shot(model, 30), 30, slice(10, 20)
    parameterisation = make_parameterisation(model, np.zeros((2, 10)))
    shape = ShotShape(parameterisation, np.ones(2))
    still = HandTracks(*(values[np.full(count, 18)] for values in vars(shot.tracks).values()))
    tracks = without(still, lost, RIGHT)
    seen = gather(
        tracks,
        None,
        tracks.present,
        shot.camera,
        np.arange(float(count)),
        parameterisation.axes,
        range(count),
    )
    state = interpolate_gaps(seen, seen.seen, fit_frames(shape, seen, start_state(shape, seen)))
    led_away = ~seen.seen[:, None] * np.array([0.12, 0.0, 0.0])
    state = replace(state, image_depth=state.image_depth + led_away)
    contact = find_contact(shape, seen, state, fit_capsules(model, parameterisation), SolveSettings())
    assert contact.hands.min() > 0.9


def test_the_gradient_of_interaction_terms_matches_their_cost(
    model: HandModel, parameterisation: HandParameterisation, seen: Observations, state: HandState
) -> None:
    capsules = fit_capsules(model, parameterisation)
    contact = _touching(seen, capsules)

    def hands(at: HandState) -> HandPairs:
        return hand_pairs(seen, pose_points(parameterisation, seen.side, at), capsules, contact)

    drawn = draws(contact, hands(state))
    equations = pair_equations(seen, hands(state), capsules, drawn)

    def cost(moved: HandState) -> float:
        return float(pair_cost(seen, hands(moved), drawn).sum())

    assert equations.cost.sum() > 0 and np.isclose(equations.cost.sum(), cost(state))
    gradient = np.zeros((len(seen), parameterisation.size))
    gradient[equations.left], gradient[equations.right] = equations.gradient[:, 0], equations.gradient[:, 1]
    numbers = np.zeros_like(gradient)
    for n in range(0, len(seen), 5):
        for k in range(parameterisation.size):
            step = np.zeros_like(numbers)
            step[n, k] = 1e-6
            up, down = (cost(state.moved(sign * step, parameterisation)) for sign in (1, -1))
            numbers[n, k] = (up - down) / 2e-6
        assert np.abs(gradient[n] - numbers[n]).max() < 2e-3 * np.abs(numbers).max()


def test_a_network_that_sees_both_hands_too_far_away_does_not_move_their_offset(
    parameterisation: HandParameterisation, seen: Observations, state: HandState
) -> None:
    network = seen.network
    assert network is not None
    further = replace(network, wrist_m=1.25 * network.wrist_m, from_other_m=1.25 * network.from_other_m)
    posed = pose_points(parameterisation, seen.side, state)
    first, second = (network_offset(one, posed, *pairs(seen)) for one in (network, further))
    assert first.cost.min() > 0
    np.testing.assert_allclose(first.cost, second.cost)
    # Nor is a pair moved towards the camera or away as a whole.
    pulled = (first.rows[..., DEPTH.start] * first.residual[..., None]).sum((1, 2))
    assert np.abs(pulled).max() < 1e-9


def test_the_banded_solution_equals_the_dense_one(
    model: HandModel, parameterisation: HandParameterisation, seen: Observations, state: HandState
) -> None:
    strength = np.linspace(0.5, 1.5, len(seen))
    temporal = temporal_normal(seen, state, parameterisation, sigmas(seen, state, parameterisation), strength)
    posed = pose_points(parameterisation, seen.side, state)
    frames = frame_normal(parameterisation, seen, posed, np.ones(2))
    capsules = fit_capsules(model, parameterisation)
    contact = _touching(seen, capsules)
    hands = hand_pairs(seen, posed, capsules, contact)
    between = pair_equations(seen, hands, capsules, draws(contact, hands))
    ties = depth_ties(seen, state.image_depth[:, 2], contact)
    assert len(ties.pair)
    count, size = frames.gradient.shape
    dense = block_diag(*frames.hessian) + np.diag(temporal.diagonal.ravel() + 1e-9)
    for band, reach in ((temporal.near, 1), (temporal.far, 2)):
        off = np.diag(band[: count - reach].ravel(), -reach * size)
        dense = dense + off + off.T
    gradient = (frames.gradient + temporal.gradient).ravel()
    for n, both in enumerate(zip(between.left.tolist(), between.right.tolist(), strict=True)):
        rows = np.concatenate([np.arange(size) + hand * size for hand in both])
        dense[rows[:, None], rows] += between.hessian[n].reshape(2 * size, 2 * size)
        gradient[rows] += between.gradient[n].ravel()
    for pair, following, weight, residual in zip(*vars(ties).values(), strict=True):
        row = np.zeros((count, size))
        for n, sign in ((following, 1.0), (pair, -1.0)):
            row[between.right[n], 2], row[between.left[n], 2] = sign, -sign
        dense += weight * np.outer(row, row)
        gradient += weight * residual * row.ravel()
    damping = np.linspace(1e-3, 1e-1, count)
    dense += np.diag(dense.diagonal() * damping.repeat(size))
    expected = -np.linalg.solve(dense, gradient)
    found = solve_banded(seen, frames, temporal, between, ties, damping).ravel()
    assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)


def test_capsules_lie_under_the_skin_and_meet_where_segments_do(
    model: HandModel, parameterisation: HandParameterisation
) -> None:
    capsules = fit_capsules(model, parameterisation)
    assert (capsules.radii_m > 0.004).all() and (capsules.radii_m < 0.020).all()
    first, second = np.random.default_rng(1).normal(size=(2, 50, 2, 3))
    thin = Capsules(capsules.ends[:1], np.zeros((2, 1)))
    nearest = nearest_points(first[:, None], second[:, None], thin)
    along, across = nearest.along[:, 0, 0], nearest.across[:, 0, 0]
    grid = np.stack(np.meshgrid(*2 * [np.linspace(0, 1, 41)]), -1).reshape(-1, 2)

    def apart(own: Floats, other: Floats) -> Floats:
        points, others = (
            ends[:, None, 0] + share[..., None] * (ends[:, None, 1] - ends[:, None, 0])
            for ends, share in ((first, own), (second, other))
        )
        return np.linalg.norm(points - others, axis=-1)

    least = apart(grid[None, :, 0], grid[None, :, 1]).min(1)
    found = apart(along[:, None], across[:, None])[:, 0]
    assert (found <= least + 1e-9).all()
    np.testing.assert_allclose(nearest.gap_m[:, 0, 0], found, atol=1e-9)


def test_temporal_terms_are_squared_accelerations(
    parameterisation: HandParameterisation, seen: Observations, state: HandState
) -> None:
    sigma = np.full((len(seen), 8), 0.3)
    # Speeds in depth cost something by themselves.
    state = replace(state, image_depth=np.where([True, True, False], state.image_depth, -0.5))
    temporal = temporal_normal(seen, state, parameterisation, sigma, np.ones(len(seen)))
    expected = 0.5 * ((accelerations(seen, state, parameterisation) / 0.3) ** 2).sum()
    assert np.isclose(temporal.cost.sum(), expected)


def test_uniform_motion_has_no_acceleration_at_uneven_times(
    parameterisation: HandParameterisation, shot: Shot
) -> None:
    times = np.array([0.0, 1.0, 1.5, 3.5, 4.0, 7.0])
    tracks = shot.tracks
    seen = gather(tracks, None, tracks.present, shot.camera, times, parameterisation.axes, range(COUNT))
    image_depth = np.array([0.1, -0.2, -0.5]) + seen.time[:, None] * 0.03
    vector = np.zeros((len(seen), 3))
    vector[:, 1] = seen.time * 0.1
    angles = seen.time[:, None, None] * np.full((15, 3), 0.02)
    even = HandState(image_depth, expm(_hat(vector)), angles)
    assert np.abs(accelerations(seen, even, parameterisation)).max() < 1e-9


def test_a_moving_camera_does_not_accelerate_a_resting_hand(
    parameterisation: HandParameterisation, shot: Shot
) -> None:
    random = np.random.default_rng(3)
    poses = np.tile(np.eye(4), (COUNT, 1, 1))
    poses[:, :3, :3] = expm(_hat(random.normal(size=(COUNT, 3)) * 0.05))
    poses[:, :3, 3] = random.normal(size=(COUNT, 3)) * 0.02
    camera = replace(shot.camera, T_world_cam=poses)
    tracks = shot.tracks
    seen = gather(tracks, None, tracks.present, camera, shot.time_s * 30, parameterisation.axes, range(COUNT))
    cam_from_world = np.linalg.inv(poses)[seen.frame]
    wrist_m = cam_from_world[:, :3, :3] @ [0.1, 0.0, 0.6] + cam_from_world[:, :3, 3]
    image_depth = np.concatenate([wrist_m[:, :2] / wrist_m[:, 2:], np.log(wrist_m[:, 2:])], -1)
    resting = HandState(image_depth, cam_from_world[:, :3, :3], np.zeros((len(seen), 15, 3)))
    assert np.abs(accelerations(seen, resting, parameterisation)).max() < 1e-9
    still = gather(
        tracks, None, tracks.present, shot.camera, shot.time_s * 30, parameterisation.axes, range(COUNT)
    )
    assert np.abs(accelerations(still, resting, parameterisation)).max() > 0.01


def test_gaps_are_interpolated_but_never_across_an_absence(
    parameterisation: HandParameterisation, shot: Shot, state: HandState
) -> None:
    tracks = shot.tracks
    present = tracks.present.copy()
    present[4, 0] = 0
    seen = gather(tracks, None, present, shot.camera, shot.time_s * 30, parameterisation.axes, range(COUNT))
    held = np.ones(len(seen), bool)
    held[[1, 2, 4]] = False
    some = state.take(slice(0, len(seen)))
    interpolated = interpolate_gaps(seen, held, some)
    third = (some.image_depth[3] - some.image_depth[0]) / 3
    np.testing.assert_allclose(interpolated.image_depth[1], some.image_depth[0] + third)
    np.testing.assert_allclose(interpolated.image_depth[2], some.image_depth[0] + 2 * third)
    np.testing.assert_array_equal(interpolated.image_depth[held], some.image_depth[held])
    # Frame 5, alone after the absence, has no held neighbour in its run: it stays what it was.
    np.testing.assert_array_equal(interpolated.image_depth[4], some.image_depth[4])


def test_contact_holds_the_parts_of_pairs_that_touch_alone() -> None:
    parts = np.zeros((4, 2, 2))
    parts[1], parts[3, 0, 1] = 0.9, 0.8
    contact = Contact.of(np.array([0.9, 0.001, 0.0, 0.5]), parts)
    assert contact.pair.tolist() == [3]
    np.testing.assert_array_equal(contact.of_all(contact.parts)[3], parts[3])
    some = contact.take(np.array([0, 3]))
    assert some.pair.tolist() == [1]
    np.testing.assert_array_equal(some.hands, [0.9, 0.5])
    np.testing.assert_array_equal(some.parts, parts[3:])


def _touching(seen: Observations, capsules: Capsules) -> Contact:
    count, bones = len(pairs(seen)[0]), len(capsules.ends)
    everywhere = np.ones((count, bones, bones))
    return Contact.of(np.full(count, 0.8), np.zeros_like(everywhere), everywhere)


def _hat(vectors: Floats) -> Floats:
    """Matrices (..., 3, 3) of the cross products with vectors (..., 3)."""
    return -np.cross(vectors[..., None, :], np.eye(3))


def _differences(
    function: Callable[[HandState], Floats], state: HandState, parameterisation: HandParameterisation
) -> Floats:
    """Central differences (N, ..., D) of a function of each hand frame's own unknowns."""
    columns: list[Floats] = []
    for k in range(parameterisation.size):
        step = np.zeros((len(state.image_depth), parameterisation.size))
        step[:, k] = 1e-5
        columns.append(
            (function(state.moved(step, parameterisation)) - function(state.moved(-step, parameterisation)))
            / 2e-5
        )
    return np.stack(columns, -1)


def test_landmarks_are_doubted_where_they_are_less_sure_than_usual(
    model: HandModel, parameterisation: HandParameterisation
) -> None:
    """However sure they are: a clip of hidden hands is not doubted as a whole."""
    whole = make_shot(model, 60, seed=4, apart_m=0.3)
    tracks = whole.tracks
    seen = gather(
        tracks, None, tracks.present, whole.camera, whole.time_s * 30, parameterisation.axes, range(60)
    )
    less = (seen.frame >= 30) & (seen.frame < 40) & (seen.side == 1)
    scores = np.where(less[:, None], 0.3, 0.6) * np.ones_like(seen.score)
    doubt = judged_by_scores(replace(seen, score=scores)).doubt
    assert doubt[less & (seen.frame > 32) & (seen.frame < 37)].min() > 0.35
    assert doubt[(seen.side == 0) | (seen.frame < 27) | (seen.frame > 42)].max() < 1e-12
    np.testing.assert_allclose(judged_by_scores(replace(seen, score=scores / 4)).doubt, doubt, atol=1e-12)
