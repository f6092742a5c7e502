# SPDX-License-Identifier: GPL-3.0-or-later
"""Landmark offsets corrected by rendered clips: python -m training convert landmark-corrections
IN.npy OUT.npy FOLDER...

Offsets fitted to real hands (landmark_offsets) cannot tell a longer finger from a landmark nearer to its tip; on a
rendered hand every joint is known, but the picture is not real. OUT is IN moved halfway to what the landmark
networks find on the rendered clips (folders as training.synthetic.demo_clip writes them): the mean of both.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.footage import FrameRange, open_footage
from inference_core.geometry.rotations import quaternion_to_matrix
from inference_core.hand_model import anatomy
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_open_hand
from inference_core.landmarks.networks import load_landmark_networks
from inference_core.shared.skeleton import DRIVER_16_OF_21, LEFT, PARENTS_16, RIGHT
from inference_core.tracking.assign import build_tracks
from inference_core.tracking.detect import detect_shot
from training.synthetic.demo_clip import MOVIE, TRUTH

_SHARE = 0.5
_EXPECTED_M, _NOISE = 0.004, 0.02  # of an offset; of a landmark, as a share of the hand's box
_FAR_OFF = 0.12  # of the box: another finger's landmark, no offset

Floats = NDArray[Any]  # real numbers


def offset_corrections(model: HandModel, folders: list[Path]) -> Floats:
    """(21, 3) sideways, dorsal, distal, fractions of the hand's size: the errors of the model's landmarks.

    Ridge regression of 2D errors on the offsets' projections, over all frames and both hands.
    """
    normal, moment = np.zeros((21, 3, 3)), np.zeros((21, 3))
    for folder in folders:
        with np.load(folder / TRUTH) as truth:
            weights, misses = _projections(dict(truth), *_seen(folder / MOVIE))
        normal += np.einsum("tsqab,tsqac->qbc", weights, weights)
        moment += np.einsum("tsqab,tsqa->qb", weights, misses)
    found = np.linalg.solve(normal + np.eye(3) * (1 / _EXPECTED_M) ** 2, moment[..., None])
    frames = anatomy.offset_frames(model.rest_joints_m[RIGHT], model.joint_axes[RIGHT], RIGHT)
    size_m = np.linalg.norm(model.rest_joints_m[RIGHT, 4] - model.rest_joints_m[RIGHT, 0])
    turned = np.swapaxes(frames[DRIVER_16_OF_21], -1, -2) @ found
    return turned[..., 0] / size_m


def _seen(movie: Path) -> tuple[Floats, Floats]:
    """Landmarks (T, 2, 21, 2) found by the networks, NaN if none, and the diagonals (T, 2) of their boxes."""
    footage = open_footage(str(movie), FrameRange())
    networks = load_landmark_networks()
    tracks = build_tracks(detect_shot(footage, networks))
    pixels = tracks.landmarks_px[..., :2]
    return pixels, np.linalg.norm(pixels.max(2) - pixels.min(2), axis=-1)


def _projections(truth: dict[str, Floats], pixels: Floats, box_px: Floats) -> tuple[Floats, Floats]:
    """How an offset in its joint's rest frame (right hand's) shifts a landmark in the picture, (T, 2, 21, 2, 3),
    and by how much the landmark is off, (T, 2, 21, 2); both in units of the expected noise, 0 where unseen.
    """
    points, focal_px = truth["landmarks_cam_m"], truth["K"][0, 0]
    there_px = points[..., :2] / points[..., 2:] * focal_px + truth["K"][:2, 2]
    miss_px = pixels - there_px
    used = (truth["visibility"] > 0.5) & np.isfinite(miss_px).all(-1)
    used &= np.linalg.norm(miss_px, axis=-1) < _FAR_OFF * box_px[..., None]
    ray = np.zeros((*points.shape[:-1], 2, 3))
    ray[..., 0, 0] = ray[..., 1, 1] = focal_px / points[..., 2]
    ray[..., 2] = -points[..., :2] / points[..., 2:] * (focal_px / points[..., 2])[..., None]
    turns = _carrying_turns(truth)
    turns[:, LEFT, ..., 0] *= -1  # a left hand's rest is the right one's x-mirror
    scale = np.where(used, 1 / (_NOISE * box_px[..., None]), 0.0)
    misses = np.where(used[..., None], np.nan_to_num(miss_px), 0.0)
    return (ray @ turns) * scale[..., None, None], misses * scale[..., None]


def _carrying_turns(truth: dict[str, Floats]) -> Floats:
    """Rotations (T, 2, 21, 3, 3) into camera axes of the joints that the landmarks move with."""
    quaternions = np.concatenate([truth["root_wxyz"][:, :, None], truth["pose_wxyz"]], 2)
    turns = quaternion_to_matrix(quaternions)
    for joint in range(1, 16):
        turns[:, :, joint] = turns[:, :, PARENTS_16[joint]] @ turns[:, :, joint]
    return turns[:, :, DRIVER_16_OF_21]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("offsets", type=Path, help="the current offsets of the bundled hand")
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    corrections = offset_corrections(load_open_hand(), options.folders)
    print("corrections, mm on a 90 mm palm:\n", (corrections * 90).round(1))
    np.save(options.out, np.load(options.offsets) + _SHARE * corrections)
