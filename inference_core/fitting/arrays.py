# SPDX-License-Identifier: GPL-3.0-or-later
"""Names for the kinds of arrays that the solve computes with."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
# Derivatives: they determine the direction of a step, not the result.
Floats32: TypeAlias = NDArray[np.float32]
Indices: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
