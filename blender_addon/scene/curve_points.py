# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys of a curve with everything that they hold, put back beside keys that were written anew."""

from collections.abc import Mapping
from typing import Any, Final

import bpy
import numpy as np
from numpy.typing import NDArray

_WIDTHS: Final = {
    "co": 2,
    "handle_left": 2,
    "handle_right": 2,
    "handle_left_type": 1,
    "handle_right_type": 1,
    "interpolation": 1,
    "type": 1,
    "easing": 1,
    "amplitude": 1,
    "back": 1,
    "period": 1,
}
_PLACES: Final = ("co", "handle_left", "handle_right")
_NUMBERS: Final = (*_PLACES, "amplitude", "back", "period")
# What leads into a key, and what leads out of it.
_IN: Final = ("handle_left", "handle_left_type")
_OUT: Final = ("handle_right", "handle_right_type", "interpolation", "easing", "amplitude", "back", "period")
_NEAR: Final = 1e-3  # frames: keys so close are the same key

Points = Mapping[str, NDArray[Any]]


def read(curve: bpy.types.FCurve) -> Points:
    """All that the curve's K keys hold, by Blender's names: (K, 2) places and handles, (K, 1) the rest."""
    points = curve.keyframe_points
    found: dict[str, NDArray[Any]] = {}
    for name, width in _WIDTHS.items():
        values = np.empty(width * len(points), np.float32 if name in _NUMBERS else np.int32)
        points.foreach_get(name, values)
        found[name] = values.reshape(-1, width)
    return found


def put_beside(curve: bpy.types.FCurve, before: Points, span: tuple[float, float]) -> None:
    """Add those of the keys that were there `before` which lie beside the span, to a curve with keys inside it.

    Where the first or the last of these is a key that was there before, the motion beside it leads to it as it did.
    """
    frames = before["co"][:, 0]
    left, right = frames < span[0] - _NEAR, frames > span[1] + _NEAR
    if not (left | right).any():
        return
    now = {name: values.copy() for name, values in read(curve).items()}
    for names, row, beside in ((_IN, 0, left), (_OUT, -1, right)):
        same = np.flatnonzero(np.abs(frames - now["co"][row, 0]) < _NEAR)
        if beside.any() and len(same):
            shift = now["co"][row] - before["co"][same[0]]
            for name in names:
                now[name][row] = before[name][same[0]] + (shift if name in _PLACES else 0)
    points = curve.keyframe_points
    points.add(int((left | right).sum()))
    for name in _WIDTHS:
        parts = (before[name][left], now[name], before[name][right])
        points.foreach_set(name, np.concatenate(parts).ravel())
    curve.update()
