# SPDX-License-Identifier: GPL-3.0-or-later
"""A network as a runtime takes it."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class NetworkGraph:
    """A network as a runtime takes it: tensors in, a tensor or a tuple of tensors out.

    name: of its files. digest: of its weights and of whatever else it computes with. build: makes it, in evaluation
    mode. example: its inputs, as many rows as are worth running at once on a processor; one where the weights are small
    beside the pictures, for then every thread takes a row of its own.
    """

    name: str
    digest: str
    build: Callable[[], nn.Module]
    example: tuple[Tensor, ...]
