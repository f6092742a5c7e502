# SPDX-License-Identifier: GPL-3.0-or-later
"""Leaves an owner's action untouched: keys are written to a copy that remembers its original."""

from collections.abc import Iterable
from typing import Any, Final

import bpy

from ..scene import fcurves
from ..scene.fcurves import Channels

_BEFORE: Final = "duohand_before"
_SLOT: Final = "duohand_slot"
_OURS: Final = "duohand_copy"
_KEYED: Final = "duohand_keyed"  # digest of the copy's motion once it was keyed


def working_copy(owner: bpy.types.Object, what: str) -> Channels:
    """A copy of the owner's action, named after `what` it is for and made active; a new action if there is none."""
    data: Any = owner.animation_data
    before = data.action if data is not None else None
    channels = fcurves.active_channels(owner)
    name = f"{before.name if before is not None else owner.name} {what}"
    if channels is None:
        made = fcurves.assign_new_action(owner, name)
    else:
        made = fcurves.assign_copy(owner, channels)
        made.action.name = name
    action: Any = made.action
    action[_OURS] = what
    if before is not None:
        action[_BEFORE] = before
    if channels is not None and channels.slot is not None:
        action[_SLOT] = channels.slot.identifier
    return made


def remember(owners: Iterable[bpy.types.Object]) -> None:
    """Note the motion of the owners' copies as keyed, so that what is edited afterwards can be told."""
    for owner in owners:
        data: Any = owner.animation_data
        if _copies(owner):
            data.action[_KEYED] = _digest(owner)


def keep_edited(owners: Iterable[bpy.types.Object]) -> list[str]:
    """Keep a copy of the action of each owner whose own copy was edited since it was keyed; a line for each."""
    said: list[str] = []
    for owner in owners:
        data: Any = owner.animation_data
        if not _copies(owner) or data.action.get(_KEYED) in (None, _digest(owner)):
            continue
        remember([owner])
        kept = data.action.copy()
        for name in (_BEFORE, _SLOT, _OURS, _KEYED):
            kept.pop(name, None)
        kept.name, kept.use_fake_user = f"{owner.name} edited", True
        said.append(f"{owner.name} had been edited: its earlier motion is kept as the action {kept.name}.")
    return said


def _digest(owner: bpy.types.Object) -> str:
    channels = fcurves.active_channels(owner)
    return fcurves.digest(channels.fcurves if channels is not None else ())


def is_other_copy(owner: bpy.types.Object, what: str) -> bool:
    """Whether the owner's active action is such a copy for something else."""
    return bool(_copies(owner)) and not is_copy(owner, what)


def is_copy(owner: bpy.types.Object, what: str) -> bool:
    """Whether the owner's active action is such a copy."""
    data: Any = owner.animation_data
    return data is not None and data.action is not None and data.action.get(_OURS) == what


def put_all_back(owner: bpy.types.Object, what: str) -> bool:
    """Restore the action beneath every such copy, with whatever was keyed on top of them; whether there was one."""
    found = False
    while what in _copies(owner):
        found |= put_back(owner, _copies(owner)[0])
    return found


def _copies(owner: bpy.types.Object) -> list[str]:
    """What the copies are for, from the active one down to the owner's own action."""
    data: Any = owner.animation_data
    action: Any = None if data is None else data.action
    found: list[str] = []
    while action is not None and action.get(_OURS) is not None:
        found.append(action[_OURS])
        action = action.get(_BEFORE)
    return found


def put_back(owner: bpy.types.Object, what: str) -> bool:
    """Restore the owner's previous action, and delete the copy if nothing else uses it; whether there was a copy."""
    if not is_copy(owner, what):
        return False
    data: Any = owner.animation_data
    copy = data.action
    before, slot = copy.get(_BEFORE), copy.get(_SLOT)
    data.action = before
    if before is not None and slot is not None:
        data.action_slot = before.slots.get(slot)
    copy.use_fake_user = False
    fcurves.remove_if_unused(copy)
    return True
