# SPDX-License-Identifier: GPL-3.0-or-later
"""One hand's curves: their names, and how a motion becomes keys.

Location is keyed on the wrist's bone only, rotation on all sixteen. The armature also has curves of confidence, of the
probabilities that the take states, and of presence (0 absent, 1 seen, 2 filled), keyed where it changes. Absent
frames have no keys: the hand stays still there and its skin is hidden. Nor does it move from one side of a cut to the
other. Filled frames have keys of the breakdown type.
"""

from collections.abc import Generator
from dataclasses import replace
from typing import Final

import bpy
import numpy as np
from numpy.typing import NDArray

from inference_core.shared.presence import ABSENT
from inference_core.shared.take import Take

from . import fcurves
from .axes import Floats
from .fcurves import BREAKDOWN, CONSTANT, KEYFRAME, Channels, Keys
from .motion import (
    EULER_TOLERANCE_RAD,
    BoneMotion,
    eulers_from_quaternions,
    refined_eulers,
    strays_between,
)

CONFIDENCE: Final = '["confidence"]'
PRESENCE: Final = '["presence"]'
# The probabilities that a take states of a frame, and how the armature's property of that name is described.
PROBABILITIES: Final = {
    "pose_confidence": "Probability that the joints are within 10 mm of their place about the middle knuckle",
    "distance_confidence": "Probability that the distance from the camera is within 5 %",
}
RAW_TRACK: Final = "Duohand raw motion"
QUATERNION: Final = "QUATERNION"
_CONFIDENCE_GROUP = "Duohand"
_VISIBILITY_GROUP = "Visibility"
_VISIBILITY = ("hide_viewport", "hide_render")


def location_path(bone: str) -> str:
    """Path of a pose bone's location."""
    return f'pose.bones["{bone}"].location'


def rotation_path(bone: str, rotation_mode: str) -> str:
    """Path of a pose bone's rotation in the given mode: four curves for QUATERNION, else three."""
    kind = "rotation_quaternion" if rotation_mode == QUATERNION else "rotation_euler"
    return f'pose.bones["{bone}"].{kind}'


def motion_steps(
    channels: Channels, names: tuple[str, ...], motion: BoneMotion, frames: Floats, rotation_mode: str
) -> Generator[None]:
    """Key the motion on the bones, one bone a step; frames (T,) are the scene frames of the take's rows."""
    at = frames[motion.rows]
    kinds = np.where(motion.filled, BREAKDOWN, KEYFRAME).astype(np.int32)
    location = fcurves.dense_keys(at, motion.location, kinds)
    location.interpolation[motion.apart_after] = CONSTANT
    fcurves.write_keys(channels, location_path(names[0]), names[0], location)
    for name, keys in zip(names, rotation_keys(location, motion.rotations_wxyz, rotation_mode), strict=True):
        fcurves.write_keys(channels, rotation_path(name, rotation_mode), name, keys)
        yield


def rotation_keys(keys: Keys, rotations_wxyz: Floats, rotation_mode: str) -> list[Keys]:
    """Keys of N bones' rotations (K, N, 4) on the frames of `keys`, in the given rotation mode.

    Euler angles get further keys between two frames where they would deviate from the motion.
    """
    if rotation_mode == QUATERNION:
        return [replace(keys, values=turns) for turns in rotations_wxyz.swapaxes(0, 1)]
    angles = eulers_from_quaternions(rotations_wxyz, rotation_mode)
    moving = keys.interpolation[:-1] != CONSTANT
    strays = strays_between(angles, rotations_wxyz, rotation_mode) > EULER_TOLERANCE_RAD
    found: list[Keys] = []
    for bone in range(rotations_wxyz.shape[1]):
        if not (strays[:, bone] & moving).any():
            found.append(replace(keys, values=angles[:, bone]))
            continue
        refined, rows = refined_eulers(rotations_wxyz[:, bone], rotation_mode, moving)
        below = rows.astype(int)
        frames = np.interp(rows, np.arange(len(keys.frames)), keys.frames)
        found.append(Keys(frames, refined, keys.kinds[below], keys.interpolation[below]))
    return found


def write_confidence(
    channels: Channels,
    armature: bpy.types.Object,
    confidence: NDArray[np.floating],
    present: NDArray[np.integer],
    frames: Floats,
) -> None:
    """Key confidence (T,) and presence (T,) as custom properties of the armature."""
    armature["confidence"], armature["presence"] = 1.0, 1
    armature.id_properties_ui("confidence").update(
        min=0.0, max=1.0, description="How sure this frame's hand is"
    )
    armature.id_properties_ui("presence").update(min=0, max=2, description="0 absent, 1 seen, 2 filled")
    seen = present != ABSENT
    keys = fcurves.dense_keys(frames[seen], confidence[seen])
    fcurves.write_keys(channels, CONFIDENCE, _CONFIDENCE_GROUP, keys)
    changes = np.flatnonzero(np.diff(present.astype(int), prepend=-1))
    fcurves.write_keys(
        channels, PRESENCE, _CONFIDENCE_GROUP, fcurves.held_keys(frames[changes], present[changes])
    )
    for path in (
        CONFIDENCE,
        PRESENCE,
    ):  # the timeline shows them; in the Graph Editor they would cover the wrist's
        curve = channels.fcurves.find(path)
        if curve is not None:
            curve.hide = True


def write_probabilities(
    channels: Channels, armature: bpy.types.Object, take: Take, side: int, frames: Floats
) -> None:
    """Key the probabilities that the take states of the side; frames (T,) are the scene frames of its rows."""
    seen = take.present[:, side] != ABSENT
    for name, description in PROBABILITIES.items():
        stated = getattr(take, name)
        if stated is None:
            armature.pop(name, None)
            continue
        armature[name] = 1.0
        armature.id_properties_ui(name).update(min=0.0, max=1.0, description=description)
        path = f'["{name}"]'
        keys = fcurves.dense_keys(frames[seen], stated[seen, side])
        fcurves.write_keys(channels, path, _CONFIDENCE_GROUP, keys)
        channels.fcurves.find(path).hide = True


def write_visibility(skin: bpy.types.Object, present: NDArray[np.integer], frames: Floats) -> None:
    """Hide the skin while its hand is absent (T,), by keys on its visibility; no keys if it never is.

    What else is keyed on the skin stays, and so do visibility keys that an animator set or changed.
    """
    if not is_shown_as_written(skin):
        return
    hidden = (present == ABSENT).astype(int)
    changes = np.flatnonzero(np.diff(hidden, prepend=-1)) if hidden.any() else np.zeros(0, int)
    keys = fcurves.held_keys(frames[changes], hidden[changes])
    if fcurves.active_channels(skin) is None and len(changes) == 0:
        return
    channels = fcurves.writable(skin, f"{skin.name} visibility")
    for path in _VISIBILITY:
        curve = channels.fcurves.find(path)
        if curve is not None and (curve.group is None or curve.group.name != _VISIBILITY_GROUP):
            continue
        fcurves.write_keys(channels, path, _VISIBILITY_GROUP, keys)
        if curve is not None and channels.fcurves.find(path) is None:
            setattr(skin, path, False)
    if len(channels.fcurves) == 0:
        skin.animation_data.action = None
        fcurves.remove_if_unused(channels.action)
    remember_visibility(skin)


def remember_visibility(skin: bpy.types.Object) -> None:
    """Note the skin's visibility keys as its hand's."""
    skin.duohand.loaded_visibility = _visibility_digest(skin)


def is_shown_as_written(skin: bpy.types.Object) -> bool:
    """Whether no visibility key of the skin has changed since it was written; deleted ones do not count."""
    now = _visibility_digest(skin)
    return "" in (now, skin.duohand.loaded_visibility) or now == skin.duohand.loaded_visibility


def _visibility_digest(skin: bpy.types.Object) -> str:
    channels = fcurves.active_channels(skin)
    curves = channels.fcurves if channels is not None else ()
    mine = [curve for curve in curves if curve.data_path in _VISIBILITY]
    return fcurves.digest(curve for curve in mine if curve.group and curve.group.name == _VISIBILITY_GROUP)
