# SPDX-License-Identifier: GPL-3.0-or-later
"""The solve's evidence for a clip of known motion: detected in its pictures, or drawn with errors of the same size.

Drawn errors grow with a hand's hidden share, are partly constant throughout the clip, and change as the hand
moves: a network reads a hand at rest almost identically in every frame. Their sizes were measured on
rendered clips (docs/synthetic.md). They cannot show which poses are read too small or too far away;
constants for that are chosen on rendered clips.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.chosen_network import choose_network
from inference_core.detection import detect
from inference_core.footage.records import footage_of_frames
from inference_core.geometry.projection import project_pinhole
from inference_core.geometry.rotations import exp, turn_to_ray
from inference_core.hand_model.load import load_hand_model
from inference_core.shared.presence import ABSENT, FILLED, SEEN
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.stages import read, recover, track
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.two_hand.predictions import TwoHandPredictions
from training.evaluation.clips import clip_frames, silent_run
from training.evaluation.known_motion import FPS, SIZE_PX, KnownMotion
from training.synthetic import labels
from training.synthetic.batch import VISIBLE
from training.synthetic.generate import assembled
from training.synthetic.meshes import with_forearms
from training.synthetic.raster import rasterise
from training.synthetic.things import no_things
from training.synthetic.view import screen_points

# Landmarks' errors as shares of the hand's diagonal: each by itself where all of the hand is seen, and how much more
# where none of it is; spread of a hand's own level (log). The others go with that: shift, size (spread, and how much
# too small), turn in radians.
_EACH, _HIDDEN, _LEVEL = 0.013, 3.0, 0.35
_SHIFT, _SIZE, _TOO_SMALL, _TURN_RAD = 0.4, 1.3, 1.2, 1.8
# At this error the landmarks' score is one half.
_HALF_TRUSTED = 0.055
# World landmarks: turn, size (log), each.
_WORLD_TURN_RAD, _WORLD_SIZE, _WORLD_M = 0.13, 0.06, 0.005
# The network: turn of the wrist, finger angles, place in the picture as a share of the distance, and the distance: of
# both hands alike, and of each.
_ROOT_RAD, _ANGLE_RAD, _IMAGE, _DEPTH_BOTH, _DEPTH_EACH = 0.10, 0.14, 0.006, 0.06, 0.045
_CONFIDENT, _UNSURE = 0.78, 5.0
# A hand of which more than this share is hidden is not found.
_LOST = 0.6
# Of an error's variance so much lasts through the clip, so much is each frame's own; the rest is forgotten as the hand
# moves by so many metres.
_LASTING, _OWN, _FORGOTTEN_M = 0.35, 0.02, 0.06
_SEED = 7


@dataclass(frozen=True)
class KnownEvidence:
    """The solve's evidence: tracks with the network's predictions, and the tracks of the landmark networks alone."""

    tracks: HandTracks
    alone: HandTracks
    predictions: TwoHandPredictions


def drawn_evidence(clip: KnownMotion) -> KnownEvidence:
    """Evidence with drawn errors; identical for every call."""
    moved_m = np.linalg.norm(np.diff(clip.joints_m, axis=0), axis=-1).mean((1, 2))
    draw = _Draw(np.random.default_rng([_SEED, int(clip.random.seed)]), np.exp(-moved_m / _FORGOTTEN_M))
    hidden = _hidden(clip)
    level = _EACH * np.exp(_LEVEL * draw.through_time(2)) * (1 + _HIDDEN * hidden)
    tracks = _tracks(clip, level, hidden, draw)
    return KnownEvidence(tracks, tracks, _predictions(clip, level, draw))


def found_evidence(clip: KnownMotion, file: Path) -> KnownEvidence:
    """The evidence that a capture finds in the clip's pictures; stored in the file,
    and read from there the next time.
    """
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        _write(_found(clip), file)
    with np.load(file, allow_pickle=False) as archive:
        arrays: dict[str, NDArray[Any]] = {name: archive[name] for name in archive.files}

    def part(prefix: str) -> dict[str, Any]:
        return {n.removeprefix(f"{prefix}."): v for n, v in arrays.items() if n.startswith(f"{prefix}.")}

    return KnownEvidence(
        HandTracks(**part("tracks")), HandTracks(**part("alone")), TwoHandPredictions(**part("predictions"))
    )


def _write(evidence: KnownEvidence, file: Path) -> None:
    arrays = {
        f"{field.name}.{name}": value
        for field in fields(evidence)
        for name, value in vars(getattr(evidence, field.name)).items()
    }
    np.savez_compressed(file, **arrays)


def _found(clip: KnownMotion) -> KnownEvidence:
    hand = load_hand_model()
    network = choose_network("shipped", hand, "cpu")
    footage = footage_of_frames(clip_frames(clip.rendered()), FPS)
    run = silent_run(footage, clip.camera, hand, network)
    alone = replace(run, network=None)
    detected = detect(run)
    shot = read(run, recover(run, track(run, detected)))
    tracks = recover(alone, track(alone, detected)).tracks
    assert shot.tracks is not None and shot.predictions is not None and tracks is not None
    return KnownEvidence(shot.tracks, tracks, shot.predictions)


@dataclass(frozen=True)
class _Draw:
    """Random numbers for a clip of T frames. remembered (T - 1,): share of an error that remains in the next frame."""

    random: np.random.Generator
    remembered: NDArray[np.float64]

    def through_time(self, *form: int) -> NDArray[np.float64]:
        """(T, *form) of unit variance: one part constant, one that decays, one new in each frame."""
        passing = self.random.normal(size=(len(self.remembered) + 1, *form))
        for t, kept in enumerate(self.remembered, 1):
            passing[t] = kept * passing[t - 1] + np.sqrt(1 - kept**2) * passing[t]
        lasting, own = self.random.normal(size=form), self.random.normal(size=passing.shape)
        return np.sqrt(_LASTING) * lasting + np.sqrt(1 - _LASTING - _OWN) * passing + np.sqrt(_OWN) * own

    def turns(self, size_rad: float, *form: int) -> Tensor:
        """(T, *form, 3, 3) small rotations over time."""
        return exp(torch.as_tensor(size_rad * self.through_time(*form, 3)))


def _hidden(clip: KnownMotion) -> NDArray[np.float64]:
    """(T, S) share of each hand's joints that are hidden or outside the picture, using
    the skins of hands and forearms.
    """
    kit, posed, count = clip.kit, clip.posed, len(clip.time_s)
    K = torch.as_tensor(clip.camera.K).float().expand(count, 3, 3)
    things_m, there = no_things(kit.mesh, count)
    arms_m = with_forearms(kit.mesh, posed, clip.bend)
    there_too = torch.ones(count, 2, dtype=torch.bool)
    scene = assembled(kit, posed, there_too, clip.gap_m, arms_m, things_m, there, K)
    vertices_m = torch.where(scene.shown[..., None], scene.vertices_m, torch.tensor([0.0, 0.0, -1.0]))
    keys = rasterise(screen_points(vertices_m, K), kit.mesh.faces, SIZE_PX[1], SIZE_PX[0])
    joints_m = posed.joints21_m
    joints_px = project_pinhole(joints_m, K[:, None])
    visibility = labels.joint_visibility(
        keys, kit.mesh.part, kit.mesh.bone, joints_m, joints_px, there_too, 1
    )
    return (visibility != VISIBLE).double().mean(-1).numpy()


def _tracks(
    clip: KnownMotion, level: NDArray[np.float64], hidden: NDArray[np.float64], draw: _Draw
) -> HandTracks:
    """Landmarks with independent errors of `level` (T, S) of the hand's diagonal, and common ones
    in position, rotation and size.
    """
    true_m = clip.posed.landmarks21_m.double()
    true_px = project_pinhole(true_m, torch.as_tensor(clip.camera.K)).numpy()
    middle = true_px.mean(2, keepdims=True)
    diagonal = np.linalg.norm(true_px.max(2) - true_px.min(2), axis=-1)[..., None, None]
    each = level[..., None, None]
    size = np.exp(-_TOO_SMALL * each + _SIZE * each * draw.through_time(2, 1, 1))
    turn = (_TURN_RAD * level * draw.through_time(2))[..., None]
    about = (true_px - middle) * size
    across = np.stack([-about[..., 1], about[..., 0]], -1)
    px = middle + np.cos(turn)[..., None] * about + np.sin(turn)[..., None] * across
    px = px + diagonal * each * (
        _SHIFT * draw.through_time(2, 1, 2) + draw.through_time(2, 21, 2) / np.sqrt(2)
    )
    score = np.broadcast_to(1 / (1 + each / _HALF_TRUSTED), (*px.shape[:-1], 1))
    seen = clip.present & (hidden < _LOST)
    landmarks = np.where(seen[..., None, None], np.concatenate([px, score], -1), np.nan)
    world_m = np.where(seen[..., None, None], _world_m(true_m, level, draw), np.nan)
    return HandTracks(
        landmarks.astype(np.float32),
        world_m.astype(np.float32),
        np.where(seen, SEEN, np.where(clip.present, FILLED, ABSENT)).astype(np.uint8),
        np.ones(level.shape, np.float32),
    )


def _world_m(true_m: Tensor, level: NDArray[np.float64], draw: _Draw) -> NDArray[np.float64]:
    """The true landmarks (T, S, 21, 3) about their middle, along the line of sight, with errors."""
    share = (level / _EACH)[..., None, None]
    ray = torch.nn.functional.normalize(true_m.mean(2), dim=-1)
    arms = (true_m - true_m.mean(2, keepdim=True)) @ turn_to_ray(ray)
    arms = arms @ draw.turns(_WORLD_TURN_RAD, 2).mT
    size = np.exp(_WORLD_SIZE * draw.through_time(2, 1, 1))
    return arms.numpy() * size + _WORLD_M * share * draw.through_time(2, 21, 3) / np.sqrt(3)


def _predictions(clip: KnownMotion, level: NDArray[np.float64], draw: _Draw) -> TwoHandPredictions:
    posed, share = clip.posed, level / _EACH
    true = posed.rotations.double()
    count = len(true)
    root = draw.turns(_ROOT_RAD, 2) @ true[:, :, 0]
    fingers = true[:, :, 1:] @ draw.turns(_ANGLE_RAD / np.sqrt(3), 2, 15)
    rotations = torch.cat([root[:, :, None], fingers], 2)
    wrist_m = posed.joints16_m[:, :, 0].double().numpy()
    depth = np.exp(_DEPTH_BOTH * draw.through_time(1) + _DEPTH_EACH * share * draw.through_time(2))
    flat = wrist_m[..., :2] / wrist_m[..., 2:] + _IMAGE * draw.through_time(2, 2)
    wrist_m = np.concatenate([flat, np.ones_like(flat[..., :1])], -1) * (wrist_m[..., 2] * depth)[..., None]
    hands = load_hand_model().with_shape(posed.shaped.betas[0].double().numpy())
    joints_m = hands.with_pose(rotations.numpy(), wrist_m).joints21_m
    present = clip.present.astype(np.float32)
    confidence = _CONFIDENT - _UNSURE * (level - _EACH)
    return TwoHandPredictions(
        rotations=rotations.numpy().astype(np.float32),
        joints_rel_m=(joints_m - joints_m[:, :, :1]).astype(np.float32),
        wrist_cam_m=wrist_m.astype(np.float32),
        betas=np.zeros((count, 2, 10), np.float32),
        offset_m=(wrist_m[:, RIGHT] - wrist_m[:, LEFT]).astype(np.float32),
        confidence=(present * confidence.clip(0.05, 0.85)).astype(np.float32),
        presence=present,
    )
