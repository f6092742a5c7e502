# SPDX-License-Identifier: GPL-3.0-or-later
"""The generator's output: a batch of rendered pictures with everything known about them."""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

# side_mask: hands as training.data.sample names them, then their forearms. Held things count as background.
BACKGROUND, LEFT_HAND, RIGHT_HAND, LEFT_ARM, RIGHT_ARM = 0, 1, 2, 3, 4
# visibility: what a joint's pixel shows.
OUTSIDE, VISIBLE, HIDDEN_BY_SELF, HIDDEN_BY_OTHER = 0, 1, 2, 3


@dataclass(frozen=True)
class SyntheticBatch:
    """B pictures of N x N pixels; S sides (left, right), J joints, V vertices; metres, OpenCV camera axes.

    image (B, 3, N, N) uint8 RGB. index (B,) int64: the pictures' numbers in the stream. K (B, 3, 3): pinhole of the
    picture, in its pixels (centres at +0.5). present (B, S) bool; what an absent side holds is arbitrary but finite.
    rotations (B, S, 16, 3, 3): wrist in camera axes, then fingers relative to the flat hand, MANO's order; betas (B,
    S, 10). wrist_cam_m (B, S, 3); offset_m (B, 3): right wrist minus left wrist. joints_cam_m and landmarks_cam_m (B,
    S, 21, 3): joints with fingertips, and the same hand by MediaPipe's landmark definitions; joints_uv, landmarks_uv
    (B, S, 21, 2): both in the picture, -1..1, x right, y down. vertices_cam_m (B, S, V, 3): the hand's skin, or None
    when the settings leave it out. side_mask (B, N, N) uint8: BACKGROUND, LEFT_HAND, RIGHT_HAND, LEFT_ARM, RIGHT_ARM.
    dense (B, 3, N/4, N/4) uint8: place on the rest hand as a colour (0 where no hand is seen). visibility (B, S, 21)
    uint8: OUTSIDE the picture or absent, VISIBLE, HIDDEN_BY_SELF (the same hand and its arm), HIDDEN_BY_OTHER (the
    other hand or a thing). truncated (B, S): share of joints outside the picture. gap_m (B,): distance between the
    hands' skins by their collision spheres, negative where they press into each other, +inf without two hands. touched
    (B, S, P) uint8: of each part of a hand (touching.parts) the part of the other hand that it touches, or NOTHING.
    overlap (B,): intersection over union of the hands' boxes in the picture.
    """

    image: Tensor
    index: Tensor
    K: Tensor
    present: Tensor
    rotations: Tensor
    betas: Tensor
    wrist_cam_m: Tensor
    offset_m: Tensor
    joints_cam_m: Tensor
    landmarks_cam_m: Tensor
    joints_uv: Tensor
    landmarks_uv: Tensor
    side_mask: Tensor
    dense: Tensor
    visibility: Tensor
    truncated: Tensor
    gap_m: Tensor
    touched: Tensor
    overlap: Tensor
    vertices_cam_m: Tensor | None = None

    def to(self, device: torch.device | str) -> "SyntheticBatch":
        """The same batch on another device."""
        moved = {name: value.to(device) for name, value in self.tensors().items()}
        return dataclasses.replace(self, **moved)

    def tensors(self) -> dict[str, Tensor]:
        """The fields that are set, by name."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in fields.items() if value is not None}


def concatenated(batches: list[SyntheticBatch]) -> SyntheticBatch:
    """Several batches made with the same settings, joined into one."""
    columns = [batch.tensors() for batch in batches]
    return SyntheticBatch(**{name: torch.cat([column[name] for column in columns]) for name in columns[0]})
