# SPDX-License-Identifier: GPL-3.0-or-later
"""What an animator has set by hand and not keyed yet: poses, places, switches.

Blender puts the curves' values over it wherever it evaluates animation again: in all of a scene when its frame
changes, and in all of an object when one of its curves is written.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import bpy
import numpy as np

from . import fcurves

_SAME: Final = 1e-5  # of a curve's value after its keys were written again

_Keyed = list[tuple[int, float]]


@contextmanager
def frame_kept(scene: bpy.types.Scene) -> Iterator[None]:
    """Keep the scene's frame, subframe included, and what is not keyed on it, whatever frames are shown in the context.

    What gets other keys on this frame in the context shows them afterwards.
    """
    frame, subframe = scene.frame_current, scene.frame_subframe
    with unkeyed_kept(scene):
        try:
            yield
        finally:
            scene.frame_set(frame, subframe=subframe)


@contextmanager
def unkeyed_kept(
    scene: bpy.types.Scene, owners: Iterable[bpy.types.ID] | None = None, through_retiming: bool = False
) -> Iterator[None]:
    """Keep what is not keyed on the scene's frame, of these owners or of everything, though curves are written.

    What gets other keys on this frame in the context shows them afterwards, unless it is only a retiming that moves
    them here.
    """
    noted = _noted(scene, list(_animated() if owners is None else owners))
    try:
        yield
    finally:
        if noted:
            _evaluate(scene)
            _put_back(scene, noted, through_retiming)


def would_be_lost(scene: bpy.types.Scene) -> bool:
    """Whether a change of the scene's frame would undo something that is not keyed."""
    noted = _noted(scene, list(_animated()))
    if noted:
        scene.frame_set(scene.frame_current, subframe=scene.frame_subframe)
    return _put_back(scene, noted) > 0


@dataclass(frozen=True)
class _Value:
    """A property's value as shown, and what its curves give on this frame: pairs of index and value."""

    shown: Any
    keyed: _Keyed

    @property
    def is_keyed(self) -> bool:
        """Whether it is that of the curves, or of one of several as in the NLA."""
        parts = self.shown if isinstance(self.shown, tuple) else (self.shown,)
        given: dict[int, set[float]] = {}
        for index, value in self.keyed:
            given.setdefault(index, set()).add(value)
        return all(index >= len(parts) or parts[index] in values for index, values in given.items())


_Noted = dict[tuple[bpy.types.ID, str], _Value]


def _animated() -> Iterator[bpy.types.ID]:
    """All of the file's own data with animation, nodes included."""
    for block in bpy.data.user_map():
        for owner in (block, getattr(block, "node_tree", None)):
            if owner is not None and owner.library is None and getattr(owner, "animation_data", None):
                yield owner


def _noted(scene: bpy.types.Scene, owners: list[bpy.types.ID]) -> _Noted:
    """The owners' values that are not those of their curves."""
    if not _differing(scene, owners):
        return {}
    _evaluate(scene)  # curves may have been written just before
    return _differing(scene, owners)


def _differing(scene: bpy.types.Scene, owners: list[bpy.types.ID]) -> _Noted:
    found = {
        (owner, path): _Value(_read(owner, path), keyed)
        for owner in owners
        for path, keyed in _keyed(scene, owner).items()
    }
    return {key: value for key, value in found.items() if not value.is_keyed}


def _put_back(scene: bpy.types.Scene, noted: _Noted, whatever_is_keyed: bool = False) -> int:
    """Set those values again whose curves are as they were, or all; how many had been lost."""
    keyed: dict[bpy.types.ID, dict[str, _Keyed]] = {}
    count = 0
    for (owner, path), before in noted.items():
        try:
            if owner not in keyed:
                keyed[owner] = _keyed(scene, owner)
            now = keyed[owner].get(path, [])
            same = len(now) == len(before.keyed) and np.allclose(now, before.keyed, rtol=0, atol=_SAME)
            if whatever_is_keyed or same:
                count += _set(owner, path, before.shown)
        except ReferenceError:  # deleted meanwhile
            continue
    return count


def _keyed(scene: bpy.types.Scene, owner: bpy.types.ID) -> dict[str, _Keyed]:
    """What the owner's curves give on the scene's frame, by path."""
    found: dict[str, _Keyed] = {}
    for curve in fcurves.all_curves(owner):
        value = curve.evaluate(scene.frame_current_final)
        found.setdefault(curve.data_path, []).append((curve.array_index, value))
    return found


def _read(owner: Any, path: str) -> Any:
    """The property's value, as a tuple if it has several; None if there is no such property."""
    try:
        value = owner.path_resolve(path)
    except ValueError:
        return None
    return tuple(value) if hasattr(value, "__len__") and not isinstance(value, str) else value


def _set(owner: Any, path: str, value: Any) -> bool:
    """Give the property that value; whether it had another."""
    now = _read(owner, path)
    if now is None or now == value:
        return False
    if path.endswith("]"):  # a property of the user's own
        holder, _, name = path.rpartition('["')
        (owner.path_resolve(holder) if holder else owner)[name[:-2]] = value
    else:
        holder, _, name = path.rpartition(".")
        setattr(owner.path_resolve(holder) if holder else owner, name, value)
    return True


def _evaluate(scene: bpy.types.Scene) -> None:
    for layer in scene.view_layers:
        layer.update()
