# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels of a rendered picture: each pixel's owner, hidden joints, and positions on the hand."""

import torch
from torch import Tensor

from inference_core.shared.skeleton import DRIVER_16_OF_21, PARENTS_16, TIPS_21
from training.synthetic.batch import HIDDEN_BY_OTHER, HIDDEN_BY_SELF, OUTSIDE, VISIBLE
from training.synthetic.meshes import PART_THING
from training.synthetic.raster import face_of, inverse_depth_of

# A joint is visible if its own flesh is: of its bone or the bone before it, or of another bone of the hand
# that is no farther in front of it than the flesh is thick.
_FLESH_M = torch.tensor(
    [0.030, 0.022, 0.019, 0.015, 0.010] + [0.022, 0.015, 0.013, 0.010] * 3 + [0.020, 0.014, 0.012, 0.010]
)
# Bounds (x, y, z) that map the open hand's rest positions to colours 0..1.
_DENSE_LOW_M = torch.tensor([-0.12, -0.04, -0.08])
_DENSE_SIZE_M = 0.21


def part_map(keys: Tensor, part: Tensor, supersample: int) -> Tensor:
    """(B, H, W) int64 part of the nearest face at each pixel's middle, -1 for none."""
    middle = supersample // 2
    keys = keys[:, middle::supersample, middle::supersample]
    return torch.where(keys > 0, part[face_of(keys)], -1)


def side_mask(parts: Tensor) -> Tensor:
    """(B, H, W) uint8 of a part map: batch.BACKGROUND and so on; things are background."""
    return torch.where(parts < PART_THING, parts + 1, 0).to(torch.uint8)


def own_bones() -> Tensor:
    """(21, 17) bool: the bones (MANO's joints, then the forearm) whose skin shows each of the 21 joints."""
    own = torch.zeros(21, 17, dtype=torch.bool)
    for joint, driver in enumerate(DRIVER_16_OF_21.tolist()):
        own[joint, driver] = True
        # On the palm side, the palm's own skin does not hide a knuckle, but a thumb across it does.
        own[joint, max(int(PARENTS_16[driver]), 0)] = joint not in TIPS_21
    own[0, [0, 16]] = True
    return own


def joint_visibility(
    keys: Tensor,
    part: Tensor,
    bone: Tensor,
    joints_cam_m: Tensor,
    joints_px: Tensor,
    present: Tensor,
    supersample: int,
) -> Tensor:
    """(B, S, J) uint8: OUTSIDE, VISIBLE, HIDDEN_BY_SELF, HIDDEN_BY_OTHER.

    part, bone (F,) of the faces; joints_px (B, S, J, 2) in the picture's pixels.
    """
    height, width = keys.shape[1:]
    column, row = (joints_px * supersample).floor().unbind(-1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & present[..., None]
    column, row = column.clamp(0, width - 1).long(), row.clamp(0, height - 1).long()
    picture = torch.arange(len(keys), device=keys.device)[:, None, None]
    seen = keys[picture, row, column]
    surface_m = 1 / inverse_depth_of(seen).clamp(min=1e-3)
    before = surface_m < joints_cam_m[..., 2] - _FLESH_M.to(keys.device)
    face = face_of(seen)
    label = torch.where(seen > 0, part[face], -1)
    joint = torch.arange(joints_px.shape[2], device=keys.device)
    before &= ~own_bones().to(keys.device)[joint, bone[face]]
    side = torch.arange(2, device=keys.device)[:, None]
    own = (label < PART_THING) & (label % 2 == side)
    # At the silhouette, where a fingertip's or knuckle's pixel misses the skin, nothing hides it.
    other = (label >= 0) & ~own & (surface_m < joints_cam_m[..., 2])
    hidden = torch.where(other, HIDDEN_BY_OTHER, torch.where(own & before, HIDDEN_BY_SELF, VISIBLE))
    return torch.where(inside, hidden, OUTSIDE).to(torch.uint8)


def dense_map(rest_m: Tensor, is_hand: Tensor) -> Tensor:
    """(3, N) colours 0..1 of rest positions (3, N), 0 where there is no hand, as such maps are black around hands."""
    low = _DENSE_LOW_M.to(rest_m.device)[:, None]
    return ((rest_m - low) / _DENSE_SIZE_M).clamp(0.004, 1) * is_hand


def box_overlap(joints_uv: Tensor, present: Tensor) -> Tensor:
    """(B,) intersection over union of the two hands' joint boxes; 0 without two hands."""
    low, high = joints_uv.amin(2), joints_uv.amax(2)
    common = (
        (torch.minimum(high[:, 0], high[:, 1]) - torch.maximum(low[:, 0], low[:, 1])).clamp(min=0).prod(-1)
    )
    areas = (high - low).prod(-1).sum(1)
    return common / (areas - common).clamp(min=1e-6) * present.all(1)
