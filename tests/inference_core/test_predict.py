# SPDX-License-Identifier: GPL-3.0-or-later
"""A shot through the network: crops, their cameras, and hands in the frame's camera, compared with synthetic truth."""

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inference_core.footage.records import Frame
from inference_core.geometry import rotations as so3
from inference_core.geometry.array_api import unit
from inference_core.geometry.camera import camera_from_fov
from inference_core.geometry.projection import project_pinhole
from inference_core.hand_model.arrays import MANO_NAME
from inference_core.hand_model.load import load_open_hand
from inference_core.landmarks.crop_readings import RefinedLandmarks
from inference_core.landmarks.crop_squares import crops_from_landmarks
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.landmarks.kept_readings import KeptReadings
from inference_core.landmarks.networks import load_landmark_networks
from inference_core.shared.errors import RequestError
from inference_core.tracking.expected_hands import INTERPOLATED_SCORE, expected_hands
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.tracking.refine import (
    HandReadings,
    asked_widely,
    read_expected_hands,
    refined_hands,
    refined_tracks,
)
from inference_core.two_hand.card import WeightsCard
from inference_core.two_hand.configuration import DIR_S
from inference_core.two_hand.crop import crop_camera, cut_crop, shot_crops
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.engine import Engine, HandEstimates
from inference_core.two_hand.placement import placed_alone, placed_together
from inference_core.two_hand.predictions import TwoHandPredictions
from inference_core.two_hand.predictor import Predictor, fitting_hand
from inference_core.two_hand.records import Conditioning
from inference_core.two_hand.release import TIP_VERTICES
from inference_core.two_hand.torch_engine import torch_engine
from tests.inference_core.through_the_network import refined_and_predicted

SIZE_PX = (640, 480)
CAMERA = camera_from_fov(SIZE_PX, 60)
HAND = load_open_hand()
T = 6
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


def posed_truth() -> tuple[Floats, Floats, Floats, Floats]:
    """rotations (T, S, 16, 3, 3), joints and landmarks (T, S, 21, 3) in the camera, wrists (T, S, 3): off the axis."""
    angles = np.random.default_rng(7).uniform(-0.1, 0.1, (1, 2, 15, 3)) + np.array([0.4, 0, 0])
    angles = angles.clip(HAND.joint_limits_rad[..., 0], HAND.joint_limits_rad[..., 1])
    root = so3.exp(np.array([[[2.5, 0.3, 0.2], [2.4, -0.3, 0.1]]]))
    one = np.concatenate([root[:, :, None], HAND.rotations_from_angles(angles)], 2)
    rotations = np.tile(one, (T, 1, 1, 1, 1))
    wrists = np.array([[0.05, 0.1, 0.62], [0.25, 0.12, 0.55]])
    wrists = wrists + np.arange(T)[:, None, None] * np.array([0.004, 0.0, 0.0])
    posed = HAND.with_shape(np.zeros((T, 2, 10))).with_pose(rotations, wrists)
    return rotations, posed.joints21_m, posed.landmarks21_m, wrists


def tracks_of(landmarks_cam_m: Floats) -> HandTracks:
    """Perfect landmarks; world landmarks in the axes of the line of sight to each hand, as upright crops give them."""
    px = project_pinhole(landmarks_cam_m, CAMERA.K)
    shape = landmarks_cam_m.shape[:2]
    centre = landmarks_cam_m.mean(-2, keepdims=True)
    ray = unit(centre[..., 0, :])
    axis = unit(np.cross(ray, [0.0, 0.0, 1.0]))
    sight = so3.exp(axis * np.arccos(ray[..., 2:]))
    return HandTracks(
        landmarks_px=np.concatenate([px, np.ones_like(px[..., :1])], -1).astype(np.float32),
        world_m=((landmarks_cam_m - centre) @ np.swapaxes(sight, -1, -2)).astype(np.float32),
        present=np.ones(shape, np.uint8),
        side_score=np.ones(shape, np.float32),
    )


def without(tracks: HandTracks, frames: slice, side: int) -> HandTracks:
    landmarks, world, present = tracks.landmarks_px.copy(), tracks.world_m.copy(), tracks.present.copy()
    landmarks[frames, side], world[frames, side], present[frames, side] = np.nan, np.nan, 0
    landmarks[frames, side, :, 2] = 0
    return HandTracks(landmarks, world, present, tracks.side_score)


def frames_of(count: int) -> list[Frame]:
    image = np.full((SIZE_PX[1], SIZE_PX[0], 3), 90, np.uint8)
    return [Frame(index, index / 25, image) for index in range(count)]


def predictor_of(engine: Engine) -> Predictor:
    card = WeightsCard(DIR_S, "test", "none", HAND.name)
    return Predictor(engine, card, batch=T, betas_apply=True)


def predict_shot(frames: list[Frame], tracks: HandTracks, predictor: Predictor) -> TwoHandPredictions:
    return refined_and_predicted(frames, tracks, CAMERA, predictor, HAND)[1]


class KnowingEngine:
    """Says the truth in the crop's own camera, as a perfect network would."""

    name = "the truth"

    def __init__(self, tracks: HandTracks) -> None:
        self.rotations, self.joints, _, _ = posed_truth()
        squares = shot_crops(tracks)
        self.views = [crop_camera(square, CAMERA.K) for square in squares]
        self.at = 0

    def __call__(self, image: Singles, conditioning: Conditioning | None = None) -> HandEstimates:
        rows = slice(self.at, self.at + len(image))
        self.at += len(image)
        turn = np.stack([view.rotation for view in self.views[rows]])
        focal = np.array([view.focal_uv for view in self.views[rows]])
        joints = np.einsum("bxy,bsjy->bsjx", turn, self.joints[rows])
        rotations = self.rotations[rows].copy()
        rotations[:, :, 0] = turn[:, None] @ rotations[:, :, 0]
        uv = joints[..., :2] / joints[..., 2:] * focal[:, None, None, None]
        wrists = joints[:, :, 0]
        count = len(image)
        told = (
            rotations,
            np.zeros((count, 2, 10)),
            joints - wrists[:, :, None],
            uv,
            wrists[:, 1] - wrists[:, 0],
        )
        sure = {
            "presence": np.ones((count, 2), np.float32),
            "log_sigma": np.full((count, 2, 2), -5, np.float32),
        }
        return HandEstimates(*(values.astype(np.float32) for values in told), **sure)


def test_predictions_of_a_perfect_network_are_exact_in_the_frames_camera() -> None:
    rotations, joints, landmarks, wrists = posed_truth()
    tracks = tracks_of(landmarks)
    found = predict_shot(frames_of(T), tracks, predictor_of(KnowingEngine(tracks)))
    np.testing.assert_allclose(found.wrist_cam_m, wrists, atol=1e-4)
    np.testing.assert_allclose(found.rotations, rotations, atol=1e-5)
    np.testing.assert_allclose(found.joints_rel_m, joints - wrists[:, :, None], atol=1e-5)
    np.testing.assert_allclose(found.offset_m, wrists[:, 1] - wrists[:, 0], atol=1e-5)
    assert (found.confidence > 0.95).all()


def test_an_untrained_network_passes_landmarks_through() -> None:
    torch.manual_seed(0)
    network = DirNetwork(DIR_S).eval()
    for module in network.modules():
        for name in ("parameters_head", "offset_head"):
            if hasattr(module, name):
                module.get_submodule(name).get_parameter("weight").data.zero_()
    rotations, joints, landmarks, wrists = posed_truth()
    engine = torch_engine(network, HAND)
    found = predict_shot(frames_of(T), tracks_of(landmarks), predictor_of(engine))
    error_m = np.linalg.norm(found.wrist_cam_m - wrists, axis=-1)
    assert (error_m < 0.03 * wrists[..., 2]).all()
    joint_error_m = np.linalg.norm(found.joints_rel_m - (joints - wrists[:, :, None]), axis=-1)
    assert joint_error_m.mean() < 0.008
    turn = so3.geodesic_angle(found.rotations[:, :, 0], rotations[:, :, 0])
    assert np.degrees(turn).max() < 6, "the two hands' lines of sight differ from the crop's"


def test_a_lost_hand_gets_interpolated_landmarks_and_a_low_score() -> None:
    _, _, landmarks, _ = posed_truth()
    whole = tracks_of(landmarks)
    shot = expected_hands(without(whole, slice(2, 4), 1))
    assert (shot.score[[2, 3], 1] > 0).all() and (shot.score[[2, 3], 1] <= INTERPOLATED_SCORE).all()
    assert (shot.score[:, 0] == expected_hands(whole).score[:, 0]).all()
    ends = whole.landmarks_px[[1, 4], 1, :, :2]
    np.testing.assert_allclose(shot.points_px[2, 1], ends[0] + (ends[1] - ends[0]) / 3, rtol=1e-5)
    gone = expected_hands(without(whole, slice(None), 1))
    assert (gone.score[:, 1] == 0).all() and np.isfinite(gone.points_px).all()


def test_frames_without_hands_or_pictures_have_no_predictions() -> None:
    _, _, landmarks, _ = posed_truth()
    tracks = tracks_of(landmarks)
    frames = frames_of(T)
    frames[2] = Frame(2, frames[2].time_s, None)
    engine = KnowingEngine(tracks)
    engine.views.pop(2)
    engine.rotations, engine.joints = (
        np.concatenate([values[:2], values[3:]]) for values in (engine.rotations, engine.joints)
    )
    found = predict_shot(frames, tracks, predictor_of(engine))
    assert np.isnan(found.wrist_cam_m[2]).all() and (found.confidence[2] == 0).all()
    assert np.isfinite(found.wrist_cam_m[[0, 1, 3, 4, 5]]).all()
    nobody = without(without(tracks, slice(None), 0), slice(None), 1)
    silent = predict_shot(frames, nobody, predictor_of(KnowingEngine(tracks)))
    assert_silent(silent)


def assert_silent(found: TwoHandPredictions) -> None:
    assert (found.confidence == 0).all() and (found.presence == 0).all()
    assert np.isnan(found.joints_rel_m).all()


def test_betas_of_another_hand_model_are_not_passed_on() -> None:
    _, _, landmarks, _ = posed_truth()
    tracks = tracks_of(landmarks)
    card = WeightsCard(DIR_S, "", "", "MANO")
    predictor = Predictor(KnowingEngine(tracks), card, batch=8, betas_apply=False)
    assert np.isnan(predict_shot(frames_of(T), tracks, predictor).betas).all()


def test_weights_that_need_mano_are_refused_with_another_hand() -> None:
    card = WeightsCard(DIR_S, "", "", MANO_NAME)
    with pytest.raises(RequestError, match="--mano"):
        fitting_hand(card, HAND)


def test_the_hand_uses_the_weights_fingertips() -> None:
    mano = dataclasses.replace(HAND, name=MANO_NAME)
    fitted = fitting_hand(WeightsCard(DIR_S, "", "", MANO_NAME, TIP_VERTICES), mano)
    assert fitted.tip_vertices.tolist() == [list(side) for side in TIP_VERTICES]
    betas, pose = np.zeros((2, 10)), np.tile(np.eye(3), (2, 16, 1, 1))
    posed = fitted.with_shape(betas).with_pose(pose, np.zeros((2, 3)))
    tip, vertex = posed.joints21_m[0, 4], posed.vertices_m[0, TIP_VERTICES[0][0]]
    np.testing.assert_allclose(tip, vertex)


def test_the_square_contains_both_hands_even_a_lost_one() -> None:
    _, _, landmarks, _ = posed_truth()
    tracks = tracks_of(landmarks)
    lost = without(tracks, slice(2, 4), 1)
    for known in (tracks, lost):
        squares = shot_crops(known)
        points = tracks.landmarks_px[..., :2]
        inside = np.abs(points - squares[:, None, None, :2]) < squares[:, None, None, 2:] / 2
        assert inside.all()


def test_the_square_grows_while_a_hand_is_lost() -> None:
    _, _, landmarks, _ = posed_truth()
    long = tracks_of(np.tile(landmarks[:1], (100, 1, 1, 1)))
    lost = without(long, slice(1, None), 1)
    alone = without(long, slice(None), 1)
    assert shot_crops(lost)[60, 2] > 1.4 * shot_crops(alone)[60, 2]


def test_the_crops_camera_is_a_pinhole_at_the_squares_centre() -> None:
    square = np.array([520.0, 130.0, 200.0])
    view = crop_camera(square, CAMERA.K)
    np.testing.assert_allclose(view.rotation @ view.rotation.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(view.uv_from_px(square[None, :2]), 0, atol=1e-9)
    points = np.random.default_rng(0).normal([0.17, -0.1, 0.6], 0.05, (50, 3))
    px = project_pinhole(points, CAMERA.K)
    turned = points @ view.rotation.T
    np.testing.assert_allclose(view.uv_from_px(px), turned[:, :2] / turned[:, 2:] * view.focal_uv, atol=1e-9)


@pytest.mark.parametrize("side_px", [120.0, 700.0])
def test_points_appear_in_the_crop_at_their_uv(side_px: float) -> None:
    image = np.zeros((SIZE_PX[1], SIZE_PX[0], 3), np.uint8)
    y, x = 200, 330
    image[y - 2 : y + 3, x - 2 : x + 3] = 255
    view = crop_camera(np.array([350.0, 220.0, side_px]), CAMERA.K)
    crop: NDArray[np.float64] = cut_crop(image, view, side_px)[..., 0].astype(np.float64)
    rows, columns = np.mgrid[:256, :256] + 0.5
    centre = np.array([(columns * crop).sum(), (rows * crop).sum()]) / crop.sum()
    expected = (view.uv_from_px(np.array([[x + 0.5, y + 0.5]]))[0] + 1) * 128
    np.testing.assert_allclose(centre, expected, atol=0.6)


def test_a_hand_is_placed_exactly_where_its_joints_project() -> None:
    random = np.random.default_rng(3)
    joints = random.normal(0, 0.05, (8, 2, 21, 3))
    joints = joints - joints[:, :, :1]
    wrists = random.normal([0, 0, 0.6], 0.05, (8, 2, 3))
    focal = np.linspace(2, 9, 8)
    points = joints + wrists[:, :, None]
    uv = points[..., :2] / points[..., 2:] * focal[:, None, None, None]
    np.testing.assert_allclose(placed_alone(joints, uv, focal), wrists, atol=1e-4)


def test_a_weak_perspective_prediction_is_placed_within_two_percent() -> None:
    _, joints, _, wrists = posed_truth()
    view = crop_camera(shot_crops(tracks_of(joints))[0], CAMERA.K)
    focal, points = view.focal_uv, joints @ view.rotation.T
    uv = points[..., :2] / points[..., 2:] * focal
    rel = points - points[:, :, :1]
    xy = rel[..., :2] - rel[..., :2].mean(-2, keepdims=True)
    scale = (xy * uv).sum((-2, -1)) / (xy * xy).sum((-2, -1))
    weak = scale[..., None, None] * xy + uv.mean(-2, keepdims=True)
    found = placed_alone(rel, weak, np.full(T, focal))
    assert (np.linalg.norm(found - points[:, :, 0], axis=-1) < 0.02 * wrists[..., 2]).all()


def test_the_offset_corrects_depths_and_keeps_the_projection() -> None:
    wrists = np.array([[[0.02, 0.01, 0.6], [0.1, 0.0, 0.58]]])
    wrong = wrists * np.array([0.97, 1.03])[None, :, None]
    together = placed_together(wrong, wrists[:, 1] - wrists[:, 0], np.ones(1))
    before_m, after_m = (np.linalg.norm(placed - wrists, axis=-1).max() for placed in (wrong, together))
    assert after_m < 0.7 * before_m
    np.testing.assert_allclose(together[..., :2] / together[..., 2:], wrong[..., :2] / wrong[..., 2:])
    np.testing.assert_allclose(placed_together(wrong, np.zeros((1, 3)), np.zeros(1)), wrong)


FLAT_HAND = (
    HAND.with_shape(np.zeros((1, 2, 10)))
    .with_pose(np.tile(np.eye(3), (1, 2, 16, 1, 1)), np.zeros((1, 2, 3)))
    .landmarks21_m[0, 1]
)


def centred_head(features: Singles) -> RefinedLandmarks:
    """Reads every hand as a point in the middle of its crop."""
    count = len(features)
    flat = np.tile(FLAT_HAND, (count, 1, 1))
    return RefinedLandmarks(
        np.zeros((count, 21, 2)), flat, np.full((count, 21, 2), -9.0), np.full(count, 9.0)
    )


def test_head_readings_are_returned_in_the_frame_and_passed_to_the_network() -> None:
    _, _, landmarks, _ = posed_truth()
    tracks = without(tracks_of(landmarks), slice(2, 3), 0)
    engine = KnowingEngine(tracks)
    given: list[Conditioning] = []

    def listening(image: Singles, known: Conditioning | None = None) -> HandEstimates:
        assert known is not None
        given.append(known)
        return engine(image, known)

    head = HeadWithLandmarks(centred_head, load_landmark_networks)
    again, _ = refined_and_predicted(
        frames_of(T),
        tracks,
        CAMERA,
        predictor_of(listening),  # type: ignore[arg-type]
        HAND,
        head,
    )
    expected = expected_hands(tracks)
    read, closely = (
        read_expected_hands(
            frames_of(T),
            expected,
            KeptReadings(head),
            asked_widely(expected, CAMERA.focal_px),
            CAMERA.K,
            close,
        )
        for close in (False, True)
    )
    middles = crops_from_landmarks(expected.points_px)[..., None, :2]
    np.testing.assert_allclose(read.points_px, np.broadcast_to(middles, (T, 2, 21, 2)), atol=0.05)
    # Squares about the same middle, so that all agree.
    np.testing.assert_allclose(closely.points_px, read.points_px, atol=0.05)
    np.testing.assert_allclose(closely.trust, read.trust, atol=1e-3)
    assert read.trust.min() > 0.95
    known = Conditioning.joined(given)
    assert known.landmarks_uv.std(2).max() < 1e-3
    # The network gets the lost hand with a low score; the solve gets readings of seen hands only.
    assert 0 < known.landmark_score[2, 0].max() < INTERPOLATED_SCORE
    assert np.isnan(again.landmarks_px[2, 0, :, :2]).all() and again.present[2, 0] == 0
    np.testing.assert_allclose(again.world_m[0], read.world_m[0], atol=1e-6)
    assert again.landmarks_px[0, ..., 2].min() > 0.95
    # In the picture between the readings, nearer to the head's: there is no hand in a wider square of these frames.
    apart, moved = (
        np.linalg.norm(to[..., :2] - tracks.landmarks_px[..., :2], axis=-1)[0]
        for to in (read.points_px, again.landmarks_px)
    )
    assert (moved < apart).all() and (moved > apart / 2).all()
    unread = dataclasses.replace(read, read=np.zeros_like(read.read))
    left = refined_tracks(tracks, expected, unread, CAMERA.focal_px)
    np.testing.assert_array_equal(left.landmarks_px, tracks.landmarks_px)
    np.testing.assert_array_equal(refined_hands(expected, unread).score, expected.score)


@pytest.mark.parametrize(
    ("between_m", "focal_px", "grown"),
    [(0.4, CAMERA.focal_px, True), (0, CAMERA.focal_px, False), (0.4, 5 * CAMERA.focal_px, False)],
    ids=["apart", "on one another", "far away"],
)
def test_near_hands_that_are_apart_get_their_size_from_the_wider_square(
    between_m: float, focal_px: float, grown: bool
) -> None:
    _, _, landmarks, _ = posed_truth()
    landmarks[:, 1] += (landmarks[:, 0] - landmarks[:, 1]).mean(-2, keepdims=True)
    landmarks[:, 1, :, 0] += between_m
    tracks = tracks_of(landmarks)
    expected = expected_hands(tracks)
    points_px = expected.points_px
    middle = points_px.mean(-2, keepdims=True)
    wide_px = middle + 1.2 * (points_px - middle)
    readings = HandReadings(points_px, wide_px, expected.world_m, np.ones((T, 2, 21)), np.ones((T, 2), bool))
    refined = refined_tracks(tracks, expected, readings, focal_px).landmarks_px[..., :2]
    np.testing.assert_allclose(refined, wide_px if grown else points_px, atol=1e-3)
