# SPDX-License-Identifier: GPL-3.0-or-later
"""Shots with known truth for the solve: smooth two-hand motion, projected, with noise as measured on footage."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.fitting.shot import solve_shot
from inference_core.footage import FootageInfo
from inference_core.geometry.array_api import unit
from inference_core.geometry.camera import Camera, camera_from_fov
from inference_core.geometry.mirror import mirror
from inference_core.geometry.projection import project_pinhole
from inference_core.geometry.rotations import exp
from inference_core.hand_model.hand import HandModel
from inference_core.shared.presence import ABSENT, FILLED, SEEN
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.shared.take import Take
from inference_core.take_assembly import assemble_take
from inference_core.tracking.detections import ShotDetections
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.two_hand.predictions import TwoHandPredictions

SIZE_PX = (1280, 720)
# Fingers point up in the picture, palms to the camera: the turn of each flat hand about its wrist.
_INDEX_TIP = 8
_UPRIGHT = {0: ((-1.2, 1.2, 1.2)), 1: ((-1.2, -1.2, -1.2))}


@dataclass(frozen=True)
class Shot:
    """Tracks and truth of T frames. wrist_m (T, S, 3), joints_m (T, S, 21, 3), rotations (T, S, 16, 3, 3)."""

    tracks: HandTracks
    camera: Camera
    time_s: NDArray[np.float64]
    betas: NDArray[np.float64]
    wrist_m: NDArray[np.float64]
    joints_m: NDArray[np.float64]
    rotations: NDArray[np.float64]

    def network(self, confidence: float) -> TwoHandPredictions:
        """A network that is right everywhere and `confidence` sure of it."""
        count = len(self.time_s)
        return TwoHandPredictions(
            rotations=self.rotations.astype(np.float32),
            joints_rel_m=(self.joints_m - self.joints_m[:, :, :1]).astype(np.float32),
            wrist_cam_m=self.wrist_m.astype(np.float32),
            betas=np.broadcast_to(self.betas, (count, 2, 10)).astype(np.float32),
            offset_m=(self.wrist_m[:, 1] - self.wrist_m[:, 0]).astype(np.float32),
            confidence=np.full((count, 2), confidence, np.float32),
            presence=np.full((count, 2), 1.0, np.float32),
        )


def make_shot(
    model: HandModel,
    count: int = 90,
    seed: int = 0,
    noise: float = 1.0,
    speed: float = 1.0,
    distance_m: float = 0.6,
    rate: float = 30.0,
    betas: float = 0.0,
    apart_m: float = 0.22,
    fov_deg: float = 60.0,
) -> Shot:
    """Two hands that wander, turn and flex for `count` frames at `rate` frames a second.

    noise 1: landmarks off by 0.8 % of the hand's box (half of it slow), world landmarks by 6 mm. speed scales
    how fast everything moves; betas: standard deviation of the (common) shape.
    """
    random = np.random.default_rng(seed)
    time_s = np.arange(count) / rate
    shape = np.tile(random.normal(size=10) * betas, (2, 1))
    centre = np.array([[apart_m / 2, 0.05, distance_m], [-apart_m / 2, 0.05, distance_m]])
    wrist_m = centre + _waves(random, time_s * speed, (2, 3)) * [0.05, 0.04, 0.05]
    upright = exp(np.array([_UPRIGHT[0], _UPRIGHT[1]]))
    root = exp(_waves(random, time_s * speed, (2, 3)) * 0.35) @ upright
    low, high = model.joint_limits_rad[..., 0], model.joint_limits_rad[..., 1]
    middle = (low + high) / 2
    sway = _waves(random, time_s * speed, (2, 15, 3))
    bent = (middle + 0.3 * (high - low) * sway) * [1.0, 0.4, 0.1]
    rotations = np.concatenate([root[:, :, None], model.rotations_from_angles(bent)], 2)
    posed = model.with_shape(shape).with_pose(rotations, wrist_m)
    camera = camera_from_fov(SIZE_PX, fov_deg)
    tracks = _hand_tracks(random, posed.landmarks21_m, camera.K, noise)
    return Shot(tracks, camera, time_s, shape, wrist_m, posed.joints21_m, rotations)


def meeting_shot(model: HandModel, count: int) -> Shot:
    """Index fingertips that meet in the picture; the right hand looks smaller than it is, so farther."""
    apart = make_shot(model, count, seed=3)
    shift = apart.joints_m[:, LEFT, _INDEX_TIP] - apart.joints_m[:, RIGHT, _INDEX_TIP]
    depth = 1.35
    px = apart.tracks.landmarks_px.astype(np.float64)
    K = apart.camera.K
    centre = (K @ apart.joints_m[:, RIGHT, _INDEX_TIP, :, None])[..., 0]
    centre = centre[:, :2] / centre[:, 2:]
    target = (K @ apart.joints_m[:, LEFT, _INDEX_TIP, :, None])[..., 0]
    target = target[:, :2] / target[:, 2:]
    px[:, RIGHT, :, :2] = (px[:, RIGHT, :, :2] - centre[:, None]) / depth + target[:, None]
    tracks = replace(apart.tracks, landmarks_px=px.astype(np.float32))
    return replace(apart, tracks=tracks, wrist_m=apart.wrist_m + np.stack([0 * shift, shift], 1))


def resting_before_a_moving_camera(model: HandModel, count: int) -> Shot:
    """Hands that rest in the world, filmed from a head that turns and sways: truth in the camera, T_world_cam known."""
    still = make_shot(model, count, seed=6, speed=0.0)
    random = np.random.default_rng(6)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = exp(_waves(random, still.time_s, (3,)) * 0.08)
    poses[:, :3, 3] = _waves(random, still.time_s, (3,)) * 0.04
    cam_from_world = np.linalg.inv(poses)
    rotations = still.rotations.copy()
    rotations[:, :, 0] = cam_from_world[:, None, :3, :3] @ rotations[:, :, 0]
    wrist_m = (cam_from_world[:, None, :3, :3] @ still.wrist_m[..., None])[..., 0]
    wrist_m = wrist_m + cam_from_world[:, None, :3, 3]
    posed = model.with_shape(still.betas).with_pose(rotations, wrist_m)
    tracks = _hand_tracks(random, posed.landmarks21_m, still.camera.K, 1.0)
    return replace(
        still,
        tracks=tracks,
        camera=replace(still.camera, T_world_cam=poses),
        wrist_m=wrist_m,
        joints_m=posed.joints21_m,
        rotations=rotations,
    )


def take_of(model: HandModel, shot: Shot, tracks: HandTracks) -> Take:
    """The take of the shot as solved from those tracks."""
    predictions, count = shot.network(0.0), len(shot.time_s)
    solution = solve_shot(tracks, shot.camera, shot.time_s, model, predictions=predictions)
    info = FootageInfo("made.mp4", "movie", shot.camera.size_px, 30.0, range(count), count / 30, "made")
    numbers, values = np.zeros(0, np.int64), np.zeros(0, np.float32)
    detections = ShotDetections(
        numbers, numbers, values, values, values, values, values, shot.time_s, shot.camera.size_px
    )
    meta: dict[str, Any] = {"settings": {"smooth": 0.5, "hand_length_mm": None, "mano": None}}
    return assemble_take(solution, tracks, shot.camera, info, detections, model, meta, predictions)


def mirrored(shot: Shot) -> HandTracks:
    """The tracks of the flipped picture: sides swapped, x the other way."""
    width = SIZE_PX[0]
    px = shot.tracks.landmarks_px[:, ::-1].copy()
    px[..., 0] = width - px[..., 0]
    return HandTracks(
        px,
        mirror(shot.tracks.world_m[:, ::-1], "point"),
        shot.tracks.present[:, ::-1].copy(),
        shot.tracks.side_score[:, ::-1].copy(),
    )


def without(tracks: HandTracks, frames: slice, side: int, state: int = FILLED) -> HandTracks:
    """The tracks with one hand's landmarks gone in some frames, which count as filled (or absent)."""
    px, world, present = (a.copy() for a in (tracks.landmarks_px, tracks.world_m, tracks.present))
    px[frames, side, :, :2], px[frames, side, :, 2] = np.nan, 0
    world[frames, side] = np.nan
    present[frames, side] = state
    return replace(tracks, landmarks_px=px, world_m=world, present=present)


def only(tracks: HandTracks, side: int) -> HandTracks:
    """The tracks with the other hand never there."""
    return without(tracks, slice(None), 1 - side, ABSENT)


def wrist_aligned_error_m(found: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Mean joint error after the wrists are laid upon each other."""
    error = (found - found[..., :1, :]) - (truth - truth[..., :1, :])
    return float(np.nanmean(np.linalg.norm(error, axis=-1)))


def shake(points_m: NDArray[np.floating]) -> float:
    """Mean second difference of points (T, ..., 3), millimetres a frame squared."""
    second = points_m[2:] - 2 * points_m[1:-1] + points_m[:-2]
    return float(np.nanmean(np.linalg.norm(second, axis=-1))) * 1e3


def _waves(
    random: np.random.Generator, time_s: NDArray[np.float64], form: tuple[int, ...]
) -> NDArray[np.float64]:
    """(T, *form) sums of four sines of 0.1 to 1.2 Hz, about -1..1."""
    rate = random.uniform(0.1, 1.2, (4, *form))
    phase = random.uniform(0, 2 * np.pi, (4, *form))
    time = time_s.reshape(-1, *[1] * (len(form) + 1))
    return np.sin(2 * np.pi * rate * time + phase).mean(1) * 1.6


def _hand_tracks(
    random: np.random.Generator, points_m: NDArray[np.float64], K: NDArray[np.float64], noise: float
) -> HandTracks:
    count = len(points_m)
    px = project_pinhole(points_m, K)
    box = np.linalg.norm(px.max(2) - px.min(2), axis=-1)[..., None, None]
    slow = _slow_noise(random, px.shape)
    px = px + noise * 0.008 * box * (0.6 * random.normal(size=px.shape) + 0.8 * slow)
    centred = _as_the_crop_sees_it(points_m)
    world = centred + noise * 0.006 * (
        0.5 * random.normal(size=centred.shape) + 0.87 * _slow_noise(random, centred.shape)
    )
    landmarks = np.concatenate([px, np.ones((*px.shape[:-1], 1))], -1)
    return HandTracks(
        landmarks.astype(np.float32),
        world.astype(np.float32),
        np.full((count, 2), SEEN, np.uint8),
        np.ones((count, 2), np.float32),
    )


def _as_the_crop_sees_it(points_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (T, S, 21, 3) about their centre, axes of a camera turned straight at them, rolled as ours."""
    centre = points_m.mean(2, keepdims=True)
    forward = unit(centre[:, :, 0])
    axis = np.cross([0.0, 0.0, 1.0], forward)
    turn = exp(unit(axis) * np.arccos(forward[..., 2:]))
    return (points_m - centre) @ turn


def _slow_noise(random: np.random.Generator, form: tuple[int, ...]) -> NDArray[np.float64]:
    """Noise of unit variance that forgets itself over about ten frames."""
    keep = 0.9
    out = random.normal(size=form)
    for n in range(1, len(out)):
        out[n] = keep * out[n - 1] + np.sqrt(1 - keep**2) * out[n]
    return out
