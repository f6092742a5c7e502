# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that a take gives a camera without keys: its lens, its place, its plate's timing.

What an animator sets instead stays as long as takes give the same; before another one's values replace it, it is kept.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import bpy
import numpy as np

from . import fcurves

_SAME: Final = 1e-5  # of a value, which Blender stores in 32 bits


def give(
    camera: bpy.types.Object,
    what: str,
    owner: bpy.types.ID,
    given: Mapping[str, Any],
    prefix: str = "",
    is_moving: bool = False,
) -> list[str]:
    """Give the owner, the camera or its data, these values at prefix + path; a line if some set by hand are replaced.

    what: names the values on the camera, which remembers them. is_moving: some of them will be keyed.
    """
    noted = camera.duohand
    loaded: dict[str, Any] = json.loads(noted.loaded_values or "{}")
    before: dict[str, Any] = loaded.get(what, {})
    noted.loaded_values = json.dumps({**loaded, what: given})
    channels = fcurves.active_channels(owner)
    keyed = {curve.data_path.removeprefix(prefix) for curve in channels.fcurves} if channels else set()
    now = {path: _read(owner, prefix + path) for path in given}
    by_hand = {
        path: value
        for path, value in now.items()
        if path in before and path not in keyed and not _same(value, before[path])
    }
    if by_hand and not is_moving and not keyed & set(given) and _all_same(given, before):
        return []
    said: list[str] = []
    if not _all_same({path: given[path] for path in by_hand}, by_hand):
        said = _keep(f"{camera.name} {what}", owner, {prefix + path: now[path] for path in now})
    for path, value in given.items():
        _write(owner, prefix + path, value)
    return said


def _keep(name: str, owner: bpy.types.ID, values: Mapping[str, Any]) -> list[str]:
    """Keep the numbers among the values as an action with a key for each."""
    channels = fcurves.new_action(owner, f"{name} edited")
    channels.action.use_fake_user = True
    for path, value in values.items():
        if not isinstance(value, str):
            keys = fcurves.dense_keys(np.array([1.0]), np.atleast_2d(np.asarray(value, np.float64)))
            fcurves.write_keys(channels, path, "Set by hand", keys)
    return [f"{name} had been set by hand: its earlier values are kept as the action {channels.action.name}."]


def _all_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(path in other and _same(value, other[path]) for path, value in one.items())


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return np.shape(one) == np.shape(other) and np.allclose(one, other, rtol=_SAME, atol=_SAME)


def _read(owner: bpy.types.ID, path: str) -> Any:
    value: Any = owner.path_resolve(path)
    return list(value) if hasattr(value, "__len__") and not isinstance(value, str) else value


def _write(owner: bpy.types.ID, path: str, value: Any) -> None:
    holder, _, name = path.rpartition(".")
    setattr(owner.path_resolve(holder) if holder else owner, name, value)
