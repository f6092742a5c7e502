# SPDX-License-Identifier: GPL-3.0-or-later
"""The two-hand network's readings of real footage without conditioning, compared with landmarks.

    python -m benchmarks.picture_alone --weights FOLDER... --footage CLIP... [--frames 120]

The landmark networks are accurate to 2 % on plain real hands. Distances of projected joints from landmarks are means
over each seen hand, as shares of its landmarks' diagonal.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from inference_core.footage import FrameRange, open_footage
from inference_core.geometry.camera import default_camera
from inference_core.geometry.projection import project_pinhole
from inference_core.hand_model.load import load_hand_model
from inference_core.landmarks.networks import load_landmark_networks
from inference_core.shared.presence import SEEN
from inference_core.tracking.assign import build_tracks
from inference_core.tracking.detect import detect_shot
from inference_core.tracking.expected_hands import expected_hands
from inference_core.two_hand.crop import shot_crops
from inference_core.two_hand.engine import Engine, HandEstimates
from inference_core.two_hand.predictor import cut_pictures, load_predictor, predict
from inference_core.two_hand.records import Conditioning


@dataclass(frozen=True)
class PictureAlone:
    """An engine without conditioning."""

    engine: Engine
    name: str = "picture alone"

    def __call__(self, image: Tensor, conditioning: Conditioning | None = None) -> HandEstimates:
        """See Engine."""
        return self.engine(image)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", type=Path, nargs="+", required=True)
    parser.add_argument("--footage", type=Path, nargs="+", required=True)
    parser.add_argument("--frames", type=int, default=120)
    options = parser.parse_args()
    hand, networks = load_hand_model(), load_landmark_networks()
    print("| clip | weights | hands | joints off, mean | median |\n|---|---|---|---|---|")
    for clip in options.footage:
        footage = open_footage(clip, FrameRange(0, options.frames))
        frames = list(footage)
        tracks = build_tracks(detect_shot(frames, networks))
        camera = default_camera(footage.info.size_px)
        for weights in options.weights:
            predictor = load_predictor(weights, hand)
            alone = replace(predictor, engine=PictureAlone(predictor.engine))
            squares_px = shot_crops(tracks)
            pictures = cut_pictures(frames, squares_px, camera)
            found = predict(pictures, expected_hands(tracks), squares_px, camera, alone)
            joints_m = torch.from_numpy(found.joints_rel_m + found.wrist_cam_m[:, :, None]).double()
            px = project_pinhole(joints_m, torch.from_numpy(camera.K)).numpy()
            true_px = tracks.landmarks_px[..., :2]
            seen = (tracks.present == SEEN) & np.isfinite(px).all((-1, -2))
            diagonal = np.linalg.norm(np.ptp(true_px, axis=2), axis=-1)
            off = (np.linalg.norm(px - true_px, axis=-1).mean(-1) / diagonal)[seen]
            row = (clip.name, weights, len(off), f"{off.mean():.3f}", f"{np.median(off):.3f}")
            print("|", " | ".join(map(str, row)), "|", flush=True)


if __name__ == "__main__":
    main()
