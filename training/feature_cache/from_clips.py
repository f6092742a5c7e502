# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples from synthetic clips, processed exactly like footage: landmarks, tracks, crops."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from inference_core.landmarks.networks import LandmarkNetworks
from inference_core.tracking.assign import build_tracks
from inference_core.tracking.detect import detect_shot
from inference_core.tracking.expected_hands import expected_hands
from inference_core.tracking.hand_tracks import HandTracks
from inference_core.two_hand.conditioning import crop_conditioning
from inference_core.two_hand.configuration import CROP_PX
from inference_core.two_hand.crop import crop_camera, cut_crop, shot_crops
from inference_core.two_hand.records import Conditioning
from training.data.hand_crops import cut_hand_crops
from training.data.sample import Sample, uv_from_camera
from training.data.synthetic_source import joint_seen
from training.evaluation.clips import clip_camera, clip_frames
from training.synthetic.sequence import SyntheticClip, generate_sequence
from training.synthetic.settings import Settings
from training.synthetic.view import pinhole

# Frames per second, and sizes: like footage, with slightly faster hands so that the tracks lose some.
_RATES_HZ = (10.0, 12.5, 25.0)
_SIZES_PX = ((512, 288), (640, 360))
# Each clip has one background, from a bank of its own.
_BACKGROUNDS = 2


def clip_samples(seed: int, frames: int, networks: LandmarkNetworks, settings: Settings) -> Sample | None:
    """A clip's frames as samples with conditioning, without frames that have no hand nearby; None if none is left."""
    random = np.random.default_rng(seed)
    fps, size_px = float(random.choice(_RATES_HZ)), _SIZES_PX[int(random.integers(len(_SIZES_PX)))]
    settings = replace(settings, backgrounds=_BACKGROUNDS)
    clip = generate_sequence(seed, frames, fps, size_px=size_px, subframes=1, settings=settings)
    tracks = build_tracks(detect_shot(clip_frames(clip), networks))
    return cut_samples(clip, tracks, networks)


def cut_samples(clip: SyntheticClip, tracks: HandTracks, networks: LandmarkNetworks) -> Sample | None:
    """The clip's crops as cut by the predictor, with their truth and conditioning; no vertices, no masks."""
    camera, shot, squares = clip_camera(clip), expected_hands(tracks), shot_crops(tracks)
    there = np.flatnonzero(np.isfinite(squares).all(1))
    if len(there) == 0:
        return None
    views = [crop_camera(squares[at], camera.K) for at in there]
    pictures = clip.frames.permute(0, 2, 3, 1).numpy()
    images = [cut_crop(pictures[at], view, squares[at, 2]) for at, view in zip(there, views, strict=True)]
    conditioning = [crop_conditioning(shot, int(at), view) for at, view in zip(there, views, strict=True)]
    turn = torch.from_numpy(np.stack([view.rotation for view in views])).float()
    focal_px = torch.tensor([view.focal_uv for view in views]) * (CROP_PX / 2)
    K = pinhole(focal_px.float(), torch.full((len(there), 2), CROP_PX / 2))

    def seen(points_m: Tensor) -> Tensor:
        return torch.einsum("txy,ts...y->ts...x", turn, points_m[there])

    wrist, joints, landmarks = seen(clip.wrist_cam_m), seen(clip.joints_cam_m), seen(clip.landmarks_cam_m)
    rotations = clip.rotations[there].clone()
    rotations[:, :, 0] = turn[:, None] @ rotations[:, :, 0]
    visibility = clip.visibility[there]
    return Sample(
        image=torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255,
        K=K,
        present=clip.present[there],
        wrist_cam_m=wrist,
        joints_rel_m=joints - wrist[:, :, None],
        vertices_rel_m=joints[:, :, :0],
        joints_uv=uv_from_camera(joints, K[:, None], CROP_PX),
        vertices_uv=joints[:, :, :0, :2],
        offset_m=wrist[:, 1] - wrist[:, 0],
        rotations=rotations,
        betas=clip.betas.expand(len(there), -1, -1),
        side_mask=torch.zeros(len(there), 1, 1, dtype=torch.int64),
        visibility=joint_seen(visibility),
        landmarks_uv=uv_from_camera(landmarks, K[:, None], CROP_PX),
        landmarks_rel_m=landmarks - landmarks[:, :, :1],
        conditioning=Conditioning.joined(conditioning).map(torch.from_numpy),
        hand_crops=cut_hand_crops(
            [pictures[at] for at in there],
            shot.points_px[there],
            (shot.score[there] > 0).any(-1),
            np.stack([view.crop_from_frame for view in views]),
            networks,
        ),
    )
