# SPDX-License-Identifier: GPL-3.0-or-later
"""One annotated picture of a published data set, with everything `prepare` needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Fits = tuple[dict[str, Any], dict[str, Any]]


@dataclass(frozen=True)
class RawEntry:
    """An annotated picture.

    turn (3, 3), shift_m (3,): world to camera. K (3, 3). read_fits: returns MANO's parameters of the left and the
    right hand in the world: "pose" (48,) axis-angle, fingers relative to the mean hand, "shape" (10,), "trans"
    (3,) metres; raises DamagedItemError.
    """

    picture: Path
    turn: NDArray[np.float32]
    shift_m: NDArray[np.float32]
    K: NDArray[np.float32]
    read_fits: Callable[[], Fits]


def intrinsics(focal_px: Any, centre_px: Any) -> NDArray[np.float32]:
    """K (3, 3) from two focal lengths and the principal point."""
    K = np.eye(3, dtype=np.float32)
    K[0, 0], K[1, 1] = focal_px
    K[:2, 2] = centre_px
    return K


def read_json(path: Path, error: type[Exception]) -> Any:
    """A JSON file's content. Raises `error` if it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as reason:
        raise error(f"{path} is truncated or not JSON ({reason}). Download it again.") from reason
