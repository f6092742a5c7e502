# SPDX-License-Identifier: GPL-3.0-or-later
"""The contact network as it is trained; inference_core.fitting.contact_network computes the same from its weights."""

import torch
from torch import Tensor, nn

from inference_core.fitting.contact_network import BLOCKS, CAPSULES, EMBEDDING, INPUTS, PAIR_WIDTH, WIDTH


class ContactNetwork(nn.Module):
    """Log odds (P, C, C) that each capsule of the left hand touches each of the right.

    Both hands together give every capsule an embedding; two capsules touch where theirs agree and
    where they meet in the picture.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(INPUTS, WIDTH)
        self.blocks = nn.ModuleList(_block() for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(0.1)
        self.embedding = nn.Linear(WIDTH, 2 * CAPSULES * (EMBEDDING + 1))
        self.pair = nn.Sequential(nn.Linear(5, PAIR_WIDTH), nn.ReLU(), nn.Linear(PAIR_WIDTH, 1))
        self.prior = nn.Parameter(torch.full((CAPSULES, CAPSULES), -4.0))

    def forward(self, inputs: Tensor, meetings: Tensor) -> Tensor:
        """Log odds for inputs (P, I) and meetings (P, C, C, 4) from network_inputs."""
        hidden = self.first(inputs)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        hidden = self.dropout(self.norm(hidden))
        left, right = self.embedding(hidden).view(-1, 2, CAPSULES, EMBEDDING + 1).unbind(1)
        agree = left[..., :-1] @ right[..., :-1].mT / EMBEDDING**0.5
        agree = agree + left[..., -1:] + right[..., -1:].mT
        return agree + self.prior + self.pair(torch.cat([meetings, agree[..., None]], -1))[..., 0]


def _block() -> nn.Module:
    return nn.Sequential(
        nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
    )
