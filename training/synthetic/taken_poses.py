# SPDX-License-Identifier: GPL-3.0-or-later
"""Finger poses of real hands, from takes solved from the user's own footage."""

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from inference_core.geometry.rotations import log, quaternion_to_matrix
from inference_core.shared.errors import RequestError
from inference_core.shared.presence import SEEN
from inference_core.shared.take import Take, load_take

# Poses are used if the solve is at least this confident, and one in this many frames,
# because neighbours are alike.
_SURE = 0.5
_EVERY = 3


@lru_cache(maxsize=4)
def taken_angles_rad(folder: Path) -> Tensor:
    """(N, 15, 3) flexion, spread and twist of the well-seen hands in all takes of a folder, either side.

    Raises RequestError if there is none, and TakeError for a damaged take.
    """
    takes = [load_take(path) for path in sorted(folder.rglob("*.npz"))]
    poses = [_angles_rad(take) for take in takes if take.joint_axes is not None]
    if not sum(len(some) for some in poses):
        raise RequestError(
            f"There is no take with a clearly visible hand in {folder}. Name a folder of takes "
            "(`duohand reconstruct`) as pose folder, or none to use generated poses only."
        )
    return torch.cat(poses)


def _angles_rad(take: Take) -> Tensor:
    chosen = torch.from_numpy((take.present == SEEN) & (take.confidence >= _SURE))
    chosen[torch.arange(len(chosen)) % _EVERY != 0] = False
    frames, sides = chosen.nonzero(as_tuple=True)
    rotations = quaternion_to_matrix(torch.from_numpy(take.pose_wxyz)[frames, sides].double())
    axes = torch.from_numpy(take.joint_axes).double()[sides]
    return (axes.mT @ log(rotations)[..., None])[..., 0].float()
