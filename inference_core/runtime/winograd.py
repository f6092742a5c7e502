# SPDX-License-Identifier: GPL-3.0-or-later
"""A 3x3 convolution with 2.25 times fewer multiplications: Winograd's F(2x2, 3x3) (Lavin and Gray 2016).

It pays off for many channels and few pixels, as in the released attention: 2048 to 2048 channels on 8x8 pixels take a
quarter of the network's time on a CPU. The runtimes for exported networks do not apply it themselves.
"""

import torch
from torch import Tensor, nn

# Transforms of a 4x4 input tile, of kernels, and of products to a 2x2 output tile.
_INPUT = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_KERNEL = ((1.0, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1.0))
_OUTPUT = ((1, 1, 1, 0), (0, 1, -1, -1))
_TILE, _STEP = 4, 2


class WinogradConv(nn.Module):
    """The same as a Conv2d with a 3x3 kernel, stride 1 and padding 1, for pictures with even sides."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        assert convolution.kernel_size == (3, 3) and convolution.padding == (1, 1)
        assert convolution.stride == (1, 1) and convolution.groups == 1
        kernel = torch.tensor(_KERNEL, dtype=torch.float64)
        weight = kernel @ convolution.weight.detach().double() @ kernel.T
        self.weight = nn.Parameter(weight.permute(2, 3, 1, 0).flatten(0, 1).float(), requires_grad=False)
        self.bias = convolution.bias

    def forward(self, features: Tensor) -> Tensor:
        batch, channels, height, width = features.shape
        padded = nn.functional.pad(features, (1, 1, 1, 1))
        rows = [padded[:, :, i : i + height : _STEP] for i in range(_TILE)]
        tiles = [
            column[..., j : j + width : _STEP] for column in _combined(_INPUT, rows) for j in range(_TILE)
        ]
        spread = [one for i in range(_TILE) for one in _combined(_INPUT, tiles[i * _TILE : (i + 1) * _TILE])]
        stacked = torch.stack(spread).permute(0, 1, 3, 4, 2).reshape(_TILE * _TILE, -1, channels)
        products = (stacked @ self.weight).unbind(0)
        across = [_combined(_OUTPUT, products[i * _TILE : (i + 1) * _TILE]) for i in range(_TILE)]
        pixels = [_combined(_OUTPUT, [across[i][j] for i in range(_TILE)]) for j in range(_STEP)]
        joined = torch.stack([torch.stack([pixels[j][i] for j in range(_STEP)]) for i in range(_STEP)])
        joined = joined.view(_STEP, _STEP, batch, height // _STEP, width // _STEP, -1)
        out = joined.permute(2, 5, 3, 0, 4, 1).reshape(batch, -1, height, width)
        return out if self.bias is None else out + self.bias[:, None, None]


def _combined(matrix: tuple[tuple[int, ...], ...], parts: list[Tensor] | tuple[Tensor, ...]) -> list[Tensor]:
    """Sums and differences of the parts, one per row of the matrix."""
    sums: list[Tensor] = []
    for row in matrix:
        total = None
        for factor, part in zip(row, parts, strict=True):
            if factor:
                term = part if factor > 0 else -part
                total = term if total is None else total + term
        assert total is not None
        sums.append(total)
    return sums
