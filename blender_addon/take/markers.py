# SPDX-License-Identifier: GPL-3.0-or-later
"""Timeline markers on the frames most worth checking. Markers that an animator set, renamed or moved stay."""

from collections.abc import Iterator
from typing import Any, Final

import bpy

from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.shared.take import Take

from ..scene.axes import Floats
from ..scene.rest_bones import side_name
from ..scene.spans import Verdict, take_sightings, uncertain_spans

MOST_MARKERS = 12
# On a marker: the frame on which a take set it.
_SET_ON: Final = "duohand_set_on"


def set_markers(scene: bpy.types.Scene, shot_name: str, take: Take, frames: Floats) -> int:
    """Mark the worst frames of the take's least certain spans, replacing the shot's
    earlier markers; how many there are.
    """
    clear_markers(scene, shot_name)
    found = [(side, span) for side in (LEFT, RIGHT) for span in uncertain_spans(take_sightings(take, side))]
    worst = sorted(found, key=lambda item: -item[1].doubt)[:MOST_MARKERS]
    for side, span in worst:
        frame = round(float(frames[span.worst]))
        marker: Any = scene.timeline_markers.new(_name(shot_name, side, span.verdict), frame=frame)
        marker[_SET_ON] = frame
    return len(worst)


def clear_markers(scene: bpy.types.Scene, shot_name: str) -> None:
    """Remove the markers that takes of the shot set, and which are still as they were set."""
    for marker in list(_as_set(scene, shot_name)):
        scene.timeline_markers.remove(marker)


def stretch_markers(scene: bpy.types.Scene, shot_name: str, start: float, factor: float) -> None:
    """Move the markers of the shot to start + (frame - start) * factor."""
    as_set = list(_as_set(scene, shot_name))
    for marker in scene.timeline_markers:
        if marker.name.startswith(f"{shot_name}: "):
            marker.frame = round(start + (marker.frame - start) * factor)
    for marker in as_set:
        marker[_SET_ON] = marker.frame


def _as_set(scene: bpy.types.Scene, shot_name: str) -> Iterator[Any]:
    """The shot's markers that are as a take set them; those of older versions do not say on which frame that was."""
    names = {_name(shot_name, side, verdict) for side in (LEFT, RIGHT) for verdict in Verdict}
    for marker in scene.timeline_markers:
        if (
            marker.name in names
            and marker.camera is None
            and marker.get(_SET_ON, marker.frame) == marker.frame
        ):
            yield marker


def _name(shot_name: str, side: int, verdict: Verdict) -> str:
    return f"{shot_name}: {side_name(side).lower()} {verdict}"
