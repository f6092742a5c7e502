# SPDX-License-Identifier: GPL-3.0-or-later
"""The shot solve against shots with known truth, and its laws."""

import tracemalloc
from dataclasses import fields, replace

import numpy as np
import pytest

from inference_core.fitting.observations import usable_presence
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.shot import solve_shot
from inference_core.fitting.solution import ShotSolution
from inference_core.geometry.mirror import mirror
from inference_core.geometry.rotations import exp, quaternion_to_matrix
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_hand_model
from inference_core.shared.errors import RequestError
from inference_core.shared.presence import ABSENT, FILLED, SEEN
from inference_core.shared.skeleton import RIGHT
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.two_hand.predictions import TwoHandPredictions
from tests.inference_core.solve_scenes import (
    Shot,
    make_shot,
    meeting_shot,
    mirrored,
    only,
    shake,
    without,
    wrist_aligned_error_m,
)

GAP = slice(40, 48)


@pytest.fixture(scope="module")
def model() -> HandModel:
    return load_hand_model()


@pytest.fixture(scope="module")
def shot(model: HandModel) -> Shot:
    return make_shot(model, 90, seed=1)


@pytest.fixture(scope="module")
def solution(model: HandModel, shot: Shot) -> ShotSolution:
    return _solve(model, shot)


def test_true_hands_are_recovered(shot: Shot, solution: ShotSolution) -> None:
    assert wrist_aligned_error_m(solution.joints_cam_m, shot.joints_m) < 0.006
    assert _wrist_error(shot, solution.wrist_cam_m) < 0.02
    assert (solution.present == SEEN).all() and (solution.confidence > 0.7).all()


@pytest.mark.parametrize("distance_m", [0.35, 1.6])
def test_distance_is_metric_near_and_far(model: HandModel, distance_m: float) -> None:
    shot = make_shot(model, 40, seed=2, distance_m=distance_m)
    assert _wrist_error(shot, _solve(model, shot).wrist_cam_m) < 0.04


def test_shake_is_removed_and_motion_is_kept(shot: Shot, solution: ShotSolution) -> None:
    assert shake(solution.wrist_cam_m) < shake(solution.raw_wrist_cam_m) / 4
    assert wrist_aligned_error_m(solution.joints_cam_m, shot.joints_m) < wrist_aligned_error_m(
        solution.raw_joints_cam_m, shot.joints_m
    )


def test_fast_motion_keeps_its_amplitude_without_lag(model: HandModel) -> None:
    shot = make_shot(model, 90, seed=3, speed=4.0)
    solved = _solve(model, shot).wrist_cam_m
    for axis in (0, 1):
        found, truth = solved[..., axis], shot.wrist_m[..., axis]
        assert np.all(np.ptp(found, axis=0) > 0.95 * np.ptp(truth, axis=0))
        errors = [np.abs(found[3:87] - truth[3 + lag : 87 + lag]).mean() for lag in (-1, 0, 1)]
        assert np.argmin(errors) == 1


def test_unsure_landmarks_of_varying_size_do_not_move_a_still_hand(
    model: HandModel,
) -> None:
    still = make_shot(model, 40, seed=4, speed=0.0, noise=0.3)
    wave = 1 + 0.08 * np.sin(np.arange(40) / 40 * 2 * np.pi * 3)[:, None, None, None]
    px = still.tracks.landmarks_px.copy()
    middle = px[..., :2].mean(2, keepdims=True)
    px[..., :2] = middle + (px[..., :2] - middle) * wave
    px[..., 2] = 0.5
    solved = _solve(model, replace(still, tracks=replace(still.tracks, landmarks_px=px)))
    depth_m = solved.wrist_cam_m[..., 2]
    raw_m = solved.raw_wrist_cam_m[..., 2]
    assert (np.ptp(depth_m, axis=0) < 0.28 * np.ptp(raw_m, axis=0)).all()


def test_motion_towards_the_camera_is_kept(model: HandModel) -> None:
    shot = make_shot(model, 60, seed=5, speed=0.0, noise=0.5)
    way = 1 - 0.35 * np.clip((np.arange(60) - 25) / 8, 0, 1)[:, None, None, None]
    camera, px = shot.camera, shot.tracks.landmarks_px.copy()
    centre = camera.K[:2, 2]
    px[..., :2] = centre + (px[..., :2] - centre) / way
    solved = _solve(model, replace(shot, tracks=replace(shot.tracks, landmarks_px=px)))
    came, raw_came = (
        depth_m[36:].mean(0) / depth_m[:22].mean(0)
        for depth_m in (solved.wrist_cam_m[..., 2], solved.raw_wrist_cam_m[..., 2])
    )
    assert (raw_came < 0.75).all() and np.abs(came - raw_came).max() < 0.01


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_brief_flips_and_depth_jumps_are_filled_in(model: HandModel, frames: int) -> None:
    shot = make_shot(model, 60, seed=7, speed=0.3, noise=0.3)
    px, world_m = shot.tracks.landmarks_px.copy(), shot.tracks.world_m.copy()
    flipped, leapt = slice(20, 20 + frames), slice(40, 40 + frames)
    turn = exp(np.array([0.0, 1.0, 0.0])).T
    for moment, change in ((flipped, turn), (leapt, np.eye(3) * 0.75)):
        hand_m = shot.joints_m[moment, RIGHT]
        middle_m = hand_m.mean(1, keepdims=True)
        moved = (hand_m - middle_m) @ change
        flat = shot.camera.K @ (moved + middle_m)[..., None]
        px[moment, RIGHT, :, :2] = (flat[..., :2, 0] / flat[..., 2:, 0]).astype(np.float32)
        if change is turn:
            world_m[moment, RIGHT] = world_m[moment, RIGHT] @ change
    solved = _solve(model, replace(shot, tracks=replace(shot.tracks, landmarks_px=px, world_m=world_m)))
    for moment in (flipped, leapt):
        assert (solved.present[moment, RIGHT] == FILLED).all()
        error_m = np.linalg.norm(solved.joints_cam_m - shot.joints_m, axis=-1)[moment, RIGHT]
        assert error_m.mean() < 0.03
    others = np.delete(np.arange(60), np.r_[flipped, leapt])
    assert (solved.present[others] == SEEN).all()


def test_a_hand_that_flips_does_not_leap_to_where_the_network_has_it(model: HandModel) -> None:
    """The network has the right hand 4 cm aside throughout, which its landmarks outweigh but in the frame of the flip,
    after which they are elsewhere.
    """
    shot = make_shot(model, 40, seed=7, speed=0.3, noise=0.3, apart_m=0.4)
    tracks = replace(
        shot.tracks, landmarks_px=shot.tracks.landmarks_px.copy(), world_m=shot.tracks.world_m.copy()
    )
    px, hand_m = tracks.landmarks_px[20, RIGHT, :, :2], tracks.world_m[20, RIGHT]
    px[:] = 2 * px.mean(0) - px
    hand_m[:, :2] *= -1
    tracks.landmarks_px[21:, RIGHT, :, :2] -= [60, 50]
    network = shot.network(0.5)
    network.wrist_cam_m[:, RIGHT, 0] += 0.04
    solved = solve_shot(tracks, shot.camera, shot.time_s, model, predictions=network)
    assert solved.present[20, RIGHT] == FILLED
    before_m, leapt_m, after_m = solved.wrist_cam_m[19:22, RIGHT]
    assert np.linalg.norm(leapt_m - (before_m + after_m) / 2) < 0.01


def test_a_fast_wave_counts_as_seen_throughout(model: HandModel) -> None:
    shot = make_shot(model, 60, seed=8, speed=5.0)
    assert (_solve(model, shot).present == SEEN).all()


def test_a_gap_is_interpolated_from_the_motion_on_both_sides(model: HandModel, shot: Shot) -> None:
    solved = _solve(model, replace(shot, tracks=without(shot.tracks, GAP, 1)))
    assert (solved.present[GAP, 1] == FILLED).all() and np.isfinite(solved.joints_cam_m).all()
    error = np.linalg.norm(solved.wrist_cam_m[GAP, 1] - shot.wrist_m[GAP, 1], axis=-1)
    assert error.max() < 0.03
    assert (solved.confidence[GAP, 1] < 0.6).all() and solved.confidence[44, 1] < solved.confidence[40, 1]
    assert shake(solved.wrist_cam_m[35:53, 1]) < 3


def test_the_network_keeps_a_hand_that_landmarks_lose(model: HandModel, shot: Shot) -> None:
    lost = slice(25, 65)
    tracks = without(shot.tracks, lost, 1, ABSENT)
    solved = solve_shot(tracks, shot.camera, shot.time_s, model, predictions=shot.network(0.9))
    assert (solved.present[lost, 1] == FILLED).all()
    error = np.linalg.norm(solved.wrist_cam_m[lost, 1] - shot.wrist_m[lost, 1], axis=-1)
    assert error.max() < 0.02
    assert wrist_aligned_error_m(solved.joints_cam_m[lost, 1], shot.joints_m[lost, 1]) < 0.008
    assert (solved.confidence[lost, 1] > 0.5).all()


def test_a_half_sure_network_is_trusted_near_sightings_only() -> None:
    nothing = np.full((200, 2, 21, 3), np.nan, np.float32)
    present = np.zeros((200, 2), np.uint8)
    present[[20, 60], 0] = SEEN
    tracks = HandTracks(nothing, nothing, present, np.zeros((200, 2), np.float32))
    columns: dict[str, np.ndarray] = {field.name: nothing for field in fields(TwoHandPredictions)}
    half_sure = TwoHandPredictions(
        **columns | {"presence": np.full((200, 2), 0.9), "confidence": np.full((200, 2), 0.2)}  # type: ignore[arg-type]
    )
    brought = usable_presence(tracks, half_sure)
    assert (np.flatnonzero(brought[:, 0] != ABSENT) == np.arange(14, 67)).all()
    assert (brought[:, 1] == ABSENT).all(), "a hand that nobody saw"
    sure = replace(half_sure, confidence=np.full((200, 2), 0.5))
    assert (usable_presence(tracks, sure) != ABSENT).all()


def test_a_network_without_confidence_changes_nothing(
    model: HandModel, shot: Shot, solution: ShotSolution
) -> None:
    silent = shot.network(0.0)
    solved = solve_shot(shot.tracks, shot.camera, shot.time_s, model, predictions=silent)
    assert np.allclose(solved.joints_cam_m, solution.joints_cam_m, atol=1e-5)


def test_each_hand_has_one_shape_and_both_are_similar(solution: ShotSolution) -> None:
    bones = np.linalg.norm(np.diff(solution.joints_cam_m[:, :, 5:8], axis=2), axis=-1)
    assert np.ptp(bones, axis=0).max() < 1e-5
    assert np.abs(solution.betas[0] - solution.betas[1]).max() < 0.5
    assert np.abs(solution.betas).max() < 1.5


def test_joints_stay_within_their_limits(model: HandModel, solution: ShotSolution) -> None:
    rotations = quaternion_to_matrix(solution.pose_wxyz.astype(np.float64))
    angles = model.angles_from_rotations(rotations)
    low, high = model.joint_limits_rad[..., 0], model.joint_limits_rad[..., 1]
    assert np.rad2deg(np.maximum(angles - high, low - angles)).max() < 5


def test_mirrored_tracks_give_the_mirrored_solve(
    model: HandModel, shot: Shot, solution: ShotSolution
) -> None:
    solved = _solve(model, replace(shot, tracks=mirrored(shot)))
    assert np.allclose(mirror(solved.joints_cam_m[:, ::-1], "point"), solution.joints_cam_m, atol=5e-4)
    assert np.allclose(solved.betas[::-1], solution.betas, atol=1e-2)


def test_results_do_not_depend_on_units_and_origin_of_time(
    model: HandModel, shot: Shot, solution: ShotSolution
) -> None:
    solved = _solve(model, replace(shot, time_s=shot.time_s * 4 + 100))
    assert np.allclose(solved.joints_cam_m, solution.joints_cam_m, atol=1e-5)


def test_without_smoothing_frames_are_independent(model: HandModel, shot: Shot) -> None:
    solved = _solve(model, shot, SolveSettings(smooth=0, contact=False))
    difference = np.abs(solved.joints_cam_m - solved.raw_joints_cam_m)
    assert difference.mean() < 1e-4 and np.quantile(difference, 0.99) < 1e-3


def test_more_smoothing_leaves_less_shake(model: HandModel, shot: Shot, solution: ShotSolution) -> None:
    more = _solve(model, shot, SolveSettings(smooth=0.9))
    assert shake(more.wrist_cam_m) < shake(solution.wrist_cam_m)


def test_windows_agree_with_a_single_solve(model: HandModel, shot: Shot, solution: ShotSolution) -> None:
    for window_frames, overlap_frames, mean_m, most_m in ((50, 20, 3e-4, 3e-3), (80, 40, 3e-5, 3e-4)):
        solved = _solve(
            model, shot, SolveSettings(window_frames=window_frames, overlap_frames=overlap_frames)
        )
        difference = np.linalg.norm(solved.joints_cam_m - solution.joints_cam_m, axis=-1)
        assert difference.mean() < mean_m and np.quantile(difference, 0.99) < most_m
        assert shake(solved.wrist_cam_m) < 1.3 * shake(solution.wrist_cam_m)


def test_windows_that_overlap_agree_with_a_single_solve(model: HandModel) -> None:
    shot = make_shot(model, 200, seed=1)
    whole_m, windows_m = (
        _solve(model, shot, SolveSettings(window_frames=count, overlap_frames=80)).joints_cam_m
        for count in (600, 160)
    )
    assert np.linalg.norm(windows_m - whole_m, axis=-1).max() < 1e-4


def test_numpy_memory_does_not_grow_with_the_shots_length_beyond_a_few_results(
    model: HandModel, shot: Shot
) -> None:
    settings = SolveSettings(window_frames=40, overlap_frames=10)
    peaks: list[int] = []
    for repeats in (2, 4):
        tracks = replace(
            shot.tracks,
            **{
                name: np.concatenate([getattr(shot.tracks, name)[:, :]] * repeats)
                for name in ("landmarks_px", "world_m", "present", "side_score")
            },
        )
        time_s = np.arange(90 * repeats) / 30
        tracemalloc.start()
        solve_shot(tracks, shot.camera, time_s, model, settings)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    results = 2 * 90 * 2 * 4 * (2 * (4 + 60 + 3 + 63) + 2)  # bytes: the arrays that are handed back
    assert peaks[1] - peaks[0] < 5 * results


def test_an_absent_hand_is_nan_with_zero_confidence(model: HandModel, shot: Shot) -> None:
    solved = _solve(model, replace(shot, tracks=only(shot.tracks, 0)))
    assert (solved.present[:, 1] == ABSENT).all() and (solved.confidence[:, 1] == 0).all()
    assert np.isnan(solved.joints_cam_m[:, 1]).all() and np.isnan(solved.raw_root_wxyz[:, 1]).all()
    assert np.isfinite(solved.joints_cam_m[:, 0]).all() and np.isfinite(solved.betas).all()


def test_empty_shots_and_single_frames_are_solved(model: HandModel, shot: Shot) -> None:
    nobody = without(without(shot.tracks, slice(None), 0, ABSENT), slice(None), 1, ABSENT)
    solved = _solve(model, replace(shot, tracks=nobody))
    assert (solved.present == ABSENT).all() and np.isnan(solved.joints_cam_m).all()
    still = make_shot(model, 1, seed=5)
    assert _wrist_error(still, _solve(model, still).wrist_cam_m) < 0.06


def test_outlier_landmarks_in_single_frames_do_no_harm(
    model: HandModel, shot: Shot, solution: ShotSolution
) -> None:
    px = shot.tracks.landmarks_px.copy()
    px[30, 1, 5:9, :2] += 150
    px[31, 0, :, :2] += [60, -80]
    solved = _solve(model, replace(shot, tracks=replace(shot.tracks, landmarks_px=px)))
    moved = np.linalg.norm(solved.wrist_cam_m - solution.wrist_cam_m, axis=-1)
    assert moved[30, 1] < 0.01 and moved[31, 0] < 0.02
    assert solved.confidence[31, 0] < solved.confidence[29, 0]


def test_the_solve_is_deterministic(model: HandModel, shot: Shot, solution: ShotSolution) -> None:
    assert np.array_equal(_solve(model, shot).joints_cam_m, solution.joints_cam_m)


def test_hands_that_the_network_places_apart_do_not_touch_where_outlines_meet(model: HandModel) -> None:
    shot = meeting_shot(model, 30)
    near = shot.network(0.7)
    apart = replace(near, offset_m=near.offset_m + np.array([0, 0, 0.25], np.float32))
    meets, passes = (
        solve_shot(shot.tracks, shot.camera, shot.time_s, model, predictions=told).contact
        for told in (near, apart)
    )
    middle = slice(12, 24)
    assert (meets[middle] > 0.5).all() and (passes < 0.5).all()


def test_rotations_are_unit_quaternions(solution: ShotSolution) -> None:
    for wxyz in (solution.root_wxyz, solution.pose_wxyz, solution.raw_root_wxyz, solution.raw_pose_wxyz):
        assert np.allclose(np.linalg.norm(wxyz, axis=-1), 1, atol=1e-6)


@pytest.mark.parametrize("times", [np.zeros(90), np.arange(89.0), np.full(90, np.nan)])
def test_invalid_time_stamps_are_refused(model: HandModel, shot: Shot, times: np.ndarray) -> None:
    with pytest.raises(RequestError, match="time stamps"):
        solve_shot(shot.tracks, shot.camera, times, model)


@pytest.mark.parametrize(
    "fields", [{"smooth": 1.5}, {"smooth": -0.1}, {"window_frames": 10, "overlap_frames": 9}]
)
def test_invalid_settings_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(RequestError):
        SolveSettings(**fields)  # pyright: ignore[reportArgumentType]


def _solve(model: HandModel, shot: Shot, settings: SolveSettings | None = None) -> ShotSolution:
    return solve_shot(shot.tracks, shot.camera, shot.time_s, model, settings)


def _wrist_error(shot: Shot, wrist_cam_m: np.ndarray) -> float:
    """Mean error of the wrists as a share of their distance."""
    error = np.linalg.norm(wrist_cam_m - shot.wrist_m, axis=-1)
    return float((error / np.linalg.norm(shot.wrist_m, axis=-1)).mean())
