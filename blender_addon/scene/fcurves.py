# SPDX-License-Identifier: GPL-3.0-or-later
"""Curves written and read in bulk, in legacy actions (to 4.3) and slotted ones (4.4 and later).

`keyframe_insert` costs some 25 us per key and slows down with their number; `foreach_set` costs 0.2 us.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import RequestError

from . import curve_points
from .axes import Floats

Integers = NDArray[np.int32]

# Values of Blender's enumerations, in the order used by every version since 2.6.
CONSTANT, LINEAR, BEZIER = 0, 1, 2
KEYFRAME, BREAKDOWN = 0, 2
_ALIGNED = 3


@dataclass(frozen=True)
class Channels:
    """The curves of one owner in one action: the action's own, or those in the channelbag of the owner's slot."""

    action: bpy.types.Action
    slot: Any  # bpy.types.ActionSlot, None if actions have no slots

    @property
    def fcurves(self) -> Any:
        """The collection of curves, with find, remove and clear."""
        if self.slot is None:
            return self.action.fcurves
        return _bag(self.action, self.slot).fcurves

    def new_curve(self, path: str, index: int, group: str) -> bpy.types.FCurve:
        """A new, empty curve in the named group."""
        if self.slot is None:
            return self.action.fcurves.new(path, index=index, action_group=group)
        bag = _bag(self.action, self.slot)
        curve = bag.fcurves.new(path, index=index)
        curve.group = bag.groups.get(group) or bag.groups.new(group)
        return curve


@dataclass(frozen=True)
class Keys:
    """Keys of C curves with common frames: frames (K,), values (K, C), kinds (K,) of key, interpolation (K,)."""

    frames: Floats
    values: Floats
    kinds: Integers
    interpolation: Integers


def dense_keys(frames: Floats, values: NDArray[np.floating], kinds: Integers | None = None) -> Keys:
    """Keys on every frame with linear interpolation. values (K, C) or (K,)."""
    values = _columns(values)
    kinds = np.zeros(len(frames), np.int32) if kinds is None else kinds
    return Keys(frames, values, kinds, np.full(len(frames), LINEAR, np.int32))


def held_keys(frames: Floats, values: NDArray[np.number]) -> Keys:
    """Keys whose values hold until the next. values (K, C) or (K,)."""
    values = _columns(values)
    return Keys(frames, values, np.zeros(len(frames), np.int32), np.full(len(frames), CONSTANT, np.int32))


def _columns(values: NDArray[np.number]) -> Floats:
    """Values (K, C) or (K,) as (K, C)."""
    values = np.asarray(values, np.float64)
    return values if values.ndim == 2 else values[:, None]


def active_channels(owner: bpy.types.ID) -> Channels | None:
    """The curves that animate the owner; None if it has no action."""
    data = owner.animation_data
    if data is None or data.action is None:
        return None
    if not _slotted(data.action):
        return Channels(data.action, None)
    return Channels(data.action, data.action_slot) if data.action_slot is not None else None


def all_curves(owner: bpy.types.ID) -> Iterator[bpy.types.FCurve]:
    """The curves of the owner's action, then those of its strips in the NLA, whether they play or not."""
    data: Any = owner.animation_data
    strips = [strip for track in data.nla_tracks for strip in track.strips] if data is not None else []
    for holder in (data, *strips):
        action, slot = getattr(holder, "action", None), getattr(holder, "action_slot", None)
        if action is not None and not _slotted(action):
            yield from action.fcurves
        elif action is not None and slot is not None:
            bags = [strip.channelbag(slot) for layer in action.layers for strip in layer.strips]
            for bag in bags:
                yield from bag.fcurves if bag is not None else ()


def digest(curves: Iterable[bpy.types.FCurve]) -> str:
    """A digest of the curves' keys: frames, values, interpolation and types; empty if there are no curves."""
    ordered = sorted(curves, key=lambda curve: (curve.data_path, curve.array_index))
    found = hashlib.blake2b(digest_size=16)
    for curve in ordered:
        found.update(f"{curve.data_path} {curve.array_index}".encode())
        for numbers in _stored(curve):
            found.update(numbers.astype(np.float32).tobytes())
    return found.hexdigest() if ordered else ""


def assign_new_action(owner: bpy.types.ID, name: str) -> Channels:
    """A new action of that name, with a slot for the owner if actions have slots, assigned to the owner."""
    channels = new_action(owner, name)
    data = owner.animation_data or owner.animation_data_create()
    data.action = channels.action
    if channels.slot is not None:
        data.action_slot = channels.slot
    return channels


def writable(owner: bpy.types.ID, name: str) -> Channels:
    """The owner's curves, to be written: a new action of that name if it has none, a copy if the action is linked, kept
    by a fake user, or also moves something else.
    """
    channels = active_channels(owner)
    if channels is None:
        return assign_new_action(owner, name)
    if not channels.action.is_editable or channels.action.use_fake_user or moves_others(channels, (owner,)):
        return assign_copy(owner, channels)
    return channels


def new_action(owner: bpy.types.ID, name: str) -> Channels:
    """A new action of that name, ready for the owner's curves but not assigned to it."""
    action = bpy.data.actions.new(name)
    if not _slotted(action):
        action.id_root = owner.id_type
        return Channels(action, None)
    return Channels(action, action.slots.new(id_type=owner.id_type, name=owner.name))


def assign_copy(owner: bpy.types.ID, channels: Channels) -> Channels:
    """A local copy of the owner's action, assigned with the same slot; the original does not change."""
    action: Any = channels.action.copy()
    action.use_fake_user = False
    data: Any = owner.animation_data or owner.animation_data_create()
    data.action = action
    if channels.slot is None:
        return Channels(action, None)
    data.action_slot = action.slots[channels.slot.identifier]
    return Channels(action, data.action_slot)


def channels_of(action: bpy.types.Action, owner: bpy.types.ID) -> Channels:
    """The owner's curves in an action that need not be assigned: those of the slot for the owner's kind and name."""
    if not _slotted(action):
        return Channels(action, None)
    kind = [slot for slot in action.slots if slot.target_id_type == owner.id_type]
    named = [slot for slot in kind if slot.name_display == owner.name]
    slot = (named or kind or [None])[0] or action.slots.new(id_type=owner.id_type, name=owner.name)
    return Channels(action, slot)


def write_keys(
    channels: Channels, path: str, group: str, keys: Keys, span: tuple[float, float] | None = None
) -> None:
    """Replace the keys of the C curves of `path` (one curve at index 0 if C is 1); no keys: remove the curves.

    span: first and last of the frames whose keys are replaced; those beside it stay, with their handles. None: all. A
    curve that exists keeps its modifiers, and whether it is muted or hidden. If one of them is locked, all stay as they
    are, because a rotation is only right as a whole; `locked_path` tells which.
    """
    curves = [channels.fcurves.find(path, index=index) for index in range(keys.values.shape[1])]
    if any(curve is not None and is_locked(curve) for curve in curves):
        return
    for index, curve in enumerate(curves):
        if curve is not None and len(keys.frames):
            before = None if span is None else curve_points.read(curve)
            curve.keyframe_points.clear()
            _fill(curve, keys, index)
            if before is not None and span is not None:
                curve_points.put_beside(curve, before, span)
        elif curve is not None:
            channels.fcurves.remove(curve)
        elif len(keys.frames):
            _fill(channels.new_curve(path, index, group), keys, index)


def is_locked(curve: bpy.types.FCurve) -> bool:
    """Whether the Graph Editor would not change the curve: it or its group is locked."""
    return curve.lock or (curve.group is not None and curve.group.lock)


def locked_path(channels: Channels | None, paths: Collection[str]) -> str | None:
    """The first of the paths of which a curve is locked; None if they can all be written."""
    curves = channels.fcurves if channels is not None else ()
    return next((curve.data_path for curve in curves if curve.data_path in paths and is_locked(curve)), None)


def check_unlocked(owner: bpy.types.ID, channels: Channels | None, paths: Collection[str]) -> None:
    """Raise a RequestError if a curve of the owner of one of these paths is locked."""
    locked = locked_path(channels, paths)
    if locked is not None:
        raise RequestError(
            f"Curves of {owner.name} are locked in the Graph Editor ({locked}). Unlock them there."
        )


def read_keys(channels: Channels, path: str, count: int) -> Keys | None:
    """The keys of the `count` curves of `path` on the union of their frames; None if there is no such curve.

    A curve without a key on a frame is evaluated there.
    """
    curves = [channels.fcurves.find(path, index=index) for index in range(count)]
    present = [curve for curve in curves if curve is not None]
    if not present:
        return None
    stored = [_stored(curve) for curve in present]
    lead = max(stored, key=lambda item: len(item[0]))
    if all(np.array_equal(frames, lead[0]) for frames, *_ in stored) and len(present) == count:
        return Keys(lead[0], np.stack([values for _, values, *_ in stored], 1), lead[2], lead[3])
    frames = np.unique(np.concatenate([frames for frames, *_ in stored]))
    return Keys(frames, sample_keys(curves, frames), *_at(frames, lead))


def sample(curves: Iterable[bpy.types.FCurve | None], frames: NDArray[np.floating]) -> Floats:
    """Values (K, C) of the curves at the frames; 0 for a missing curve."""
    times = [float(frame) for frame in frames]
    columns = [
        [curve.evaluate(time) for time in times] if curve is not None else [0.0] * len(times)
        for curve in curves
    ]
    return np.array(columns, np.float64).reshape(len(columns), len(times)).T


def sample_keys(curves: Iterable[bpy.types.FCurve | None], frames: NDArray[np.floating]) -> Floats:
    """Values (K, C) of the curves' keys at the frames, without their modifiers; 0 for a missing curve."""
    curves = list(curves)
    heard = [item for curve in curves if curve is not None for item in curve.modifiers if not item.mute]
    for modifier in heard:
        modifier.mute = True
    try:
        return sample(curves, frames)
    finally:
        for modifier in heard:
            modifier.mute = False


def key_points(curve: bpy.types.FCurve) -> tuple[Floats, Floats]:
    """Frames (K,) and values (K,) of the curve's keys."""
    frames, values, _, _ = _stored(curve)
    return frames, values


def set_handles(
    curve: bpy.types.FCurve, frames: Floats, before: Floats, after: Floats, slopes: Floats
) -> None:
    """Aligned Bezier handles the given number of frames before and after each of the keys at frames (K,), which are
    consecutive, with slopes (K,) per frame.
    """
    points = curve.keyframe_points
    co = np.empty(2 * len(points), np.float32)
    points.foreach_get("co", co)
    keys = co.reshape(-1, 2).astype(np.float64)
    first = int(np.abs(keys[:, 0] - frames[0]).argmin())
    rows = slice(first, first + len(frames))
    for name, reach in (("handle_left", -before), ("handle_right", after)):
        kinds, handles = np.empty(len(points), np.int32), np.empty(2 * len(points), np.float32)
        points.foreach_get(f"{name}_type", kinds)
        points.foreach_get(name, handles)
        kinds[rows] = _ALIGNED
        handles.reshape(-1, 2)[rows] = keys[rows] + np.stack([reach, reach * slopes], 1)
        points.foreach_set(f"{name}_type", kinds)
        points.foreach_set(name, handles)
    curve.update()


def moves_others(channels: Channels, owners: Collection[bpy.types.ID]) -> bool:
    """Whether these curves animate something besides their owner: they share a slot, or an action without slots."""
    if channels.slot is not None:
        users = channels.slot.users()
    else:
        users = bpy.data.user_map(subset=[channels.action])[channels.action]
    return any(user not in owners for user in users)


def stretch(curve: bpy.types.FCurve, start: float, factor: float) -> None:
    """Move keys and handles to start + (frame - start) * factor."""
    for name in ("co", "handle_left", "handle_right"):
        pairs = np.empty(2 * len(curve.keyframe_points), np.float32)
        curve.keyframe_points.foreach_get(name, pairs)
        pairs[::2] = start + (pairs[::2].astype(np.float64) - start) * factor
        curve.keyframe_points.foreach_set(name, pairs)
    curve.update()


def clear(channels: Channels) -> None:
    """Remove every curve of the owner."""
    channels.fcurves.clear()


def play_in_strips(
    owner: bpy.types.ID, channels: Channels, before: bpy.types.Action | None, track_name: str
) -> None:
    """Let the owner's strips of the action `before` play these curves instead; all that is set on them stays.

    Without such a strip there will be one on a new, muted track of that name.
    """
    data = owner.animation_data or owner.animation_data_create()
    strips = [
        item for track in data.nla_tracks for item in track.strips if item.action and item.action == before
    ]
    if strips:
        for strip in strips:
            _exchange(strip, channels)
        return
    track = next((item for item in data.nla_tracks if item.name == track_name and not item.strips), None)
    track = data.nla_tracks.new() if track is None else track
    track.name, track.mute = track_name, True
    first, last = _whole(channels.action)
    strip = track.strips.new(channels.action.name, int(first), channels.action)
    if channels.slot is not None:
        strip.action_slot = channels.slot
    strip.action_frame_start, strip.action_frame_end = first, last


def _exchange(strip: Any, channels: Channels) -> None:
    """Let the strip play these curves; if it played all of its earlier action's frames, then all of theirs."""
    (first, last), (was_first, was_last) = _whole(channels.action), _whole(strip.action)
    played = strip.action_frame_start, strip.action_frame_end
    strip.action = channels.action
    if channels.slot is not None:
        strip.action_slot = channels.slot
    if max(abs(played[0] - was_first), abs(played[1] - was_last)) < 1 and played != (first, last):
        start = strip.frame_start + first - played[0]
        strip.action_frame_end = max(last, played[1])
        strip.action_frame_start, strip.action_frame_end = first, last
        strip.frame_start_ui = start


def _whole(action: bpy.types.Action) -> tuple[float, float]:
    """The frames of the action that a strip plays: from a whole frame on, and at least one."""
    start, end = action.frame_range
    return float(np.floor(start)), max(end, float(np.floor(start)) + 1)


def remove_if_unused(block: bpy.types.ID | None) -> None:
    """Delete a data block that nothing uses any more."""
    if block is not None and block.users == 0:
        bpy.data.batch_remove([block])


def _slotted(action: bpy.types.Action) -> bool:
    return hasattr(action, "layers")


def _bag(action: Any, slot: Any) -> Any:
    layer = action.layers[0] if action.layers else action.layers.new("Layer")
    strip = layer.strips[0] if layer.strips else layer.strips.new(type="KEYFRAME")
    return strip.channelbag(slot, ensure=True)


def _fill(curve: bpy.types.FCurve, keys: Keys, column: int) -> None:
    points = curve.keyframe_points
    points.add(len(keys.frames))
    points.foreach_set("co", np.stack([keys.frames, keys.values[:, column]], 1).astype(np.float32).ravel())
    points.foreach_set("interpolation", keys.interpolation)
    if keys.kinds.any():
        points.foreach_set("type", keys.kinds)
    curve.update()


def _stored(curve: bpy.types.FCurve) -> tuple[Floats, Floats, Integers, Integers]:
    points = curve.keyframe_points
    co = np.empty(2 * len(points), np.float32)
    kinds, interpolation = np.empty(len(points), np.int32), np.empty(len(points), np.int32)
    points.foreach_get("co", co)
    points.foreach_get("type", kinds)
    points.foreach_get("interpolation", interpolation)
    pairs = co.reshape(-1, 2).astype(np.float64)
    return pairs[:, 0], pairs[:, 1], kinds, interpolation


def _at(frames: Floats, lead: tuple[Floats, Floats, Integers, Integers]) -> tuple[Integers, Integers]:
    """Kinds and interpolation at the frames, copied from the key at or before each."""
    rows = np.clip(np.searchsorted(lead[0], frames, side="right") - 1, 0, len(lead[0]) - 1)
    return lead[2][rows], lead[3][rows]
