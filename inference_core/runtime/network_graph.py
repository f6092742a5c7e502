# SPDX-License-Identifier: GPL-3.0-or-later
"""What a runtime needs to know about a network, and what it makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn


class Run(Protocol):
    """Runs a network: rows (N, ...) of each input to rows of each output, float32."""

    def __call__(self, *inputs: NDArray[Any]) -> tuple[NDArray[np.float32], ...]: ...


@dataclass(frozen=True)
class NetworkGraph:
    """A network as a runtime takes it: tensors in, a tensor or a tuple of tensors out.

    name: of its files. digest: of its weights and everything else it computes with. build: makes it, in evaluation
    mode. example: its inputs, as many rows as are efficient at once on a CPU; one if the weights are small
    compared with the pictures, because each thread then takes its own row.
    """

    name: str
    digest: str
    build: Callable[[], nn.Module]
    example: tuple[NDArray[Any], ...]
