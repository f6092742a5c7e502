# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds a hand's captured motion: in its active action, or in a strip that was pushed down in the NLA."""

from collections.abc import Iterator
from typing import Any

import bpy

from inference_core.shared.errors import RequestError

from . import fcurves, hand_keys
from .fcurves import Channels


def hand_channels(armature: bpy.types.Object) -> Channels | None:
    """The curves of the hand's captured motion: in the active action, else in one that was pushed down in the NLA.

    None if there is neither. RequestError if the motion plays at other times than it was keyed at, or not at all.
    """
    active = fcurves.active_channels(armature)
    strips = [strip for strip in _strips(armature) if _holds_motion(_strip_channels(strip))]
    if active is not None and _holds_motion(active):
        if armature.animation_data.use_tweak_mode:  # the action is edited in its strip
            _check_in_place(armature, [strip for strip in strips if strip.action == active.action])
        return active
    playing = [strip for strip in strips if _plays(armature, strip)]
    if playing:
        found = _check_in_place(armature, playing)
        _check_alone(armature, found, playing)
        return _strip_channels(found)
    if strips:
        raise RequestError(
            f"The motion of {armature.name} is muted in the NLA, or another track has the star (solo). Let the strip "
            f"{strips[0].name} play, or make its action the active one."
        )
    return active


def check_plays(armature: bpy.types.Object) -> None:
    """Raise a RequestError if the motion plays at other times than it was keyed at, or not at all."""
    data = armature.animation_data
    if data is None or not data.use_tweak_mode or _holds_motion(fcurves.active_channels(armature)):
        hand_channels(armature)


def leave_other_strips(armature: bpy.types.Object) -> None:
    """Leave the tweak mode of a strip without captured motion: a take would be keyed in its action."""
    data = armature.animation_data
    if data is not None and data.use_tweak_mode and not _holds_motion(fcurves.active_channels(armature)):
        data.use_tweak_mode = False


def copied_in_strips(armature: bpy.types.Object, channels: Channels) -> Channels:
    """A copy of the curves, in the armature's own strips that play them."""
    action: Any = channels.action.copy()
    slot = None if channels.slot is None else action.slots[channels.slot.identifier]
    for strip in list(_strips(armature)):
        if strip.action == channels.action:
            strip.action = action
            if slot is not None:
                strip.action_slot = slot
    return Channels(action, slot)


def _strips(armature: bpy.types.Object) -> Iterator[Any]:
    """Strips of actions on the armature, topmost track first, without the raw motion's."""
    data = armature.animation_data
    for track in reversed(data.nla_tracks if data is not None else ()):
        if not _is_raw(armature, track):
            for strip in track.strips:
                if strip.action is not None and strip.action != armature.duohand.raw_action:
                    yield strip


def _is_raw(armature: bpy.types.Object, track: Any) -> bool:
    """Whether the track plays raw motion and nothing else, whatever its name."""
    other = [strip for strip in track.strips if strip.action != armature.duohand.raw_action]
    if track.name == hand_keys.RAW_TRACK:
        return not any(_holds_motion(_strip_channels(strip)) for strip in other if strip.action is not None)
    return len(track.strips) > 0 and not other


def _plays(armature: bpy.types.Object, strip: Any) -> bool:
    """Whether the strip plays, given muted and solo tracks. Raw motion is soloed to compare: that does not count."""
    tracks = [track for track in armature.animation_data.nla_tracks if not _is_raw(armature, track)]
    heard = [track for track in tracks if track.is_solo] or [track for track in tracks if not track.mute]
    return not strip.mute and any(strip in list(track.strips) for track in heard)


def _strip_channels(strip: Any) -> Channels | None:
    """The curves that the strip plays; None if it has no slot of its action."""
    slot = getattr(strip, "action_slot", None)
    return None if slot is None and hasattr(strip, "action_slot") else Channels(strip.action, slot)


def _holds_motion(channels: Channels | None) -> bool:
    return channels is not None and channels.fcurves.find(hand_keys.CONFIDENCE) is not None


def _check_alone(armature: bpy.types.Object, found: Any, playing: list[Any]) -> None:
    """RequestError if another captured action plays where that of the strip does not."""
    for strip in playing:
        beyond = strip.frame_start < found.frame_start - 0.5 or strip.frame_end > found.frame_end + 0.5
        if strip.action != found.action and beyond:
            raise RequestError(
                f"Two captured motions of {armature.name} play in the NLA, {found.name} and {strip.name}. "
                "Mute one of them, or make the action that is meant the active one."
            )


def _check_in_place(armature: bpy.types.Object, strips: list[Any]) -> Any:
    """The first strip that plays its action at the frames of its keys. RequestError if there are only others."""
    for strip in strips:
        shift = strip.frame_start - strip.action_frame_start
        straight = abs(strip.scale - 1) < 1e-4 and strip.repeat == 1 and not strip.use_reverse
        if abs(shift) < 1e-3 and straight:
            return strip
    if not strips:
        return None
    raise RequestError(
        f"The motion of {armature.name} is shifted or stretched in the NLA. Put the strip {strips[0].name} "
        "back to its own frames, or make its action the active one."
    )
