# SPDX-License-Identifier: GPL-3.0-or-later
"""Offsets of MediaPipe's 21 landmarks from a hand's joints: python -m training
convert landmark-offsets OUT.npy CLIP...

MediaPipe's landmarks are not the joints of a hand model: its wrist is on the forearm's side, its fingertips are under
the nail. Each landmark gets a constant offset in the frame of its joint, as a fraction of the hand's size. The
offsets of all clips and hands are solved together with each hand's shape and every frame's pose; mediapipe itself
finds the landmarks. Prints the errors without and with offsets.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.geometry.rigid import fit_rigid, fit_similarity
from inference_core.geometry.rotations import exp
from inference_core.hand_model import anatomy
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_open_hand
from inference_core.shared.skeleton import DRIVER_16_OF_21, LEFT, RIGHT

_SHORTEST_TRACK, _LONGEST_TRACK, _SUREST = 40, 200, 0.8
_STEPS, _RATE = 350, 0.03
_RELAXED_DEG = (15.0, 20.0, 10.0)
# Weights of the terms beside the picture's, whose unit is one percent of the hand's box.
_WORLD, _LIMITS, _REST, _TWIST, _SHAPE, _OFFSETS, _SMOOTH = 0.02, 200.0, 0.6, 3.0, 1.0, 0.04, 0.01


@dataclass(frozen=True)
class Track:
    """One hand of one clip: landmarks_px (T, 21, 2), world_m (T, 21, 3) about their mean, side."""

    landmarks_px: Tensor
    world_m: Tensor
    side: int
    name: str

    @property
    def size_px(self) -> Tensor:
        """(T,) diagonal of the landmarks' box."""
        return (self.landmarks_px.amax(1) - self.landmarks_px.amin(1)).norm(dim=-1)


def find_tracks(clip: Path) -> list[Track]:
    """The hands that mediapipe finds in a clip, one track per side, without frames of uncertain side."""
    import mediapipe as mp  # the test peer; not a run-time dependency

    solutions: Any = mp.solutions  # pyright: ignore[reportAttributeAccessIssue]
    found: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {LEFT: [], RIGHT: []}
    capture = cv2.VideoCapture(str(clip))
    with solutions.hands.Hands(max_num_hands=2, model_complexity=1) as hands:
        while True:
            more, image = capture.read()
            if not more:
                break
            seen = hands.process(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            for points, world, label in zip(
                seen.multi_hand_landmarks or [],
                seen.multi_hand_world_landmarks or [],
                seen.multi_handedness or [],
                strict=True,
            ):
                if label.classification[0].score >= _SUREST:
                    # Its labels assume a mirrored picture.
                    side = RIGHT if label.classification[0].label == "Left" else LEFT
                    scale = np.array([image.shape[1], image.shape[0]])
                    pixels = np.array([[p.x, p.y] for p in points.landmark]) * scale
                    found[side].append((pixels, np.array([[p.x, p.y, p.z] for p in world.landmark])))
    return [_track(clip.name, side, hand) for side, hand in found.items() if len(hand) >= _SHORTEST_TRACK]


def fit_offsets(model: HandModel, tracks: list[Track], free: bool) -> tuple[Tensor, list[dict[str, float]]]:
    """Offsets (21, 3) sideways, dorsal, distal (zero unless `free`), and the errors of each track."""
    hands = [_Hand(model, track) for track in tracks]
    offsets = torch.zeros(21, 3, requires_grad=free)
    groups = [group for hand in hands for group in hand.parameters]
    groups += [{"params": [offsets], "lr": 0.01}] if free else []
    optimizer = torch.optim.Adam(groups)
    rates = [group["lr"] for group in groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=_STEPS, pct_start=0.1)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        loss = torch.stack([hand.loss(offsets) for hand in hands]).mean()
        (loss + _OFFSETS * (offsets * 100).square().sum(1).mean()).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return offsets.detach(), [hand.errors(offsets) for hand in hands]


class _Hand:
    """The unknowns of one track: poses, one shape, and position and size in each frame (weak perspective)."""

    def __init__(self, model: HandModel, track: Track) -> None:
        count = len(track.landmarks_px)
        self.model, self.track = model, track
        self.frames = anatomy.offset_frames(
            model.rest_joints_m[track.side], model.joint_axes[track.side], track.side
        )
        rest = torch.zeros(15, 3)
        rest[:12, 0] = torch.tensor(_RELAXED_DEG * 4).deg2rad()
        self.rest = rest
        self.angles = rest.repeat(count, 1, 1).requires_grad_()
        self.turn = torch.zeros(count, 3, requires_grad=True)
        self.betas = torch.zeros(10, requires_grad=True)
        with torch.no_grad():
            relaxed = self._landmarks(torch.zeros(21, 3))
            self.first = fit_rigid(relaxed, track.world_m).rotation
        self.scale = torch.log(track.size_px / 0.19).requires_grad_()
        self.centre = track.landmarks_px.mean(1).clone().requires_grad_()
        self.world_scale = torch.zeros(1, requires_grad=True)

    @property
    def parameters(self) -> list[dict[str, Any]]:
        return [
            {"params": [self.turn, self.angles], "lr": _RATE},
            {"params": [self.betas], "lr": 0.05},
            {"params": [self.scale, self.world_scale], "lr": 0.02},
            {"params": [self.centre], "lr": 2.0},
        ]

    def loss(self, offsets: Tensor) -> Tensor:
        arms, seen_px = self._seen(offsets)
        percent = (seen_px - self.track.landmarks_px) / self.track.size_px[:, None, None] * 100
        world_mm = (arms - self.track.world_m * self.world_scale.exp()) * 1e3
        limits = self.model.joint_limits_rad
        beyond = torch.relu(limits[..., 0] - self.angles) + torch.relu(self.angles - limits[..., 1])
        shake_mm = torch.diff(arms, n=2, dim=0) * 1e3
        return (
            4 * F.huber_loss(percent.norm(dim=-1), torch.zeros(percent.shape[:-1]), delta=4.0)
            + _WORLD * world_mm.square().sum(-1).mean()
            + _LIMITS * beyond.square().sum((1, 2)).mean()
            + _REST * (self.angles - self.rest).square().sum((1, 2)).mean()
            + _TWIST * self.angles[..., anatomy.TWIST].square().sum(1).mean()
            + _SHAPE * self.betas.square().sum()
            + _SMOOTH * shake_mm.square().sum(-1).mean()
        )

    def errors(self, offsets: Tensor) -> dict[str, float]:
        """Mean distances: pixels, percent of the box, and millimetres to the world landmarks
        after similarity alignment.
        """
        arms, seen_px = self._seen(offsets)
        missed_px = (seen_px - self.track.landmarks_px).norm(dim=-1)
        aligned = fit_similarity(arms, self.track.world_m).apply(arms)
        return {
            "frames": float(len(arms)),
            "px": float(missed_px.mean()),
            "percent": float((missed_px / self.track.size_px[:, None]).mean() * 100),
            "world_mm": float((aligned - self.track.world_m).norm(dim=-1).mean() * 1e3),
        }

    def _seen(self, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Landmarks about their mean, metres (T, 21, 3), and in the picture, pixels (T, 21, 2)."""
        points = self._landmarks(offsets) @ (exp(self.turn) @ self.first).mT
        arms = points - points.mean(1, keepdim=True)
        return arms, arms[..., :2] * self.scale.exp()[:, None, None] + self.centre[:, None]

    def _landmarks(self, offsets: Tensor) -> Tensor:
        side = self.track.side
        turned = (self.frames[DRIVER_16_OF_21.tolist()] @ offsets[..., None])[..., 0]
        both = torch.zeros(2, 21, 3).index_put((torch.tensor(side),), turned)
        model = replace(self.model, landmark_offsets=both)
        fingers = model.rotations_from_angles(self.angles[:, None].expand(-1, 2, -1, -1))
        wrist = torch.eye(3).expand(len(fingers), 2, 1, 3, 3)
        return (
            model.with_shape(self.betas.expand(2, 10))
            .with_pose(torch.cat([wrist, fingers], 2))
            .landmarks21_m[:, side]
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("out", type=Path)
    parser.add_argument("clips", type=Path, nargs="+")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    tracks = [track for clip in options.clips for track in find_tracks(clip)]
    model = load_open_hand().tensors()
    for free in (False, True):
        offsets, errors = fit_offsets(model, tracks, free)
        print("with offsets" if free else "joints as they are")
        for track, error in zip(tracks, errors, strict=True):
            print(
                f"  {track.name} side {track.side}:",
                ", ".join(f"{key} {value:.2f}" for key, value in error.items()),
            )
    print("offsets, mm on a 90 mm palm:\n", (offsets * 90).numpy().round(1))
    np.save(options.out, offsets.numpy())


def _track(name: str, side: int, hand: list[tuple[np.ndarray, np.ndarray]]) -> Track:
    step = max(1, -(-len(hand) // _LONGEST_TRACK))
    pixels = torch.tensor(np.stack([pixels for pixels, _ in hand[::step]])).float()
    world = torch.tensor(np.stack([world for _, world in hand[::step]])).float()
    return Track(pixels, world - world.mean(1, keepdim=True), side, name)
