# SPDX-License-Identifier: GPL-3.0-or-later
"""Timeline markers on the frames most worth checking. Markers that an animator set, renamed or moved stay."""

import json
from collections.abc import Iterator
from typing import Any

import bpy

from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.shared.take import Take

from ..scene.axes import Floats
from ..scene.rest_bones import side_name
from ..scene.spans import Verdict, take_sightings, uncertain_spans

MOST_MARKERS = 12


def set_markers(scene: bpy.types.Scene, shot: bpy.types.Collection, take: Take, frames: Floats) -> int:
    """Mark the worst frames of the take's least certain spans, replacing the shot's
    earlier markers; how many there are.
    """
    clear_markers(scene, shot)
    found = [(side, span) for side in (LEFT, RIGHT) for span in uncertain_spans(take_sightings(take, side))]
    worst = sorted(found, key=lambda item: -item[1].doubt)[:MOST_MARKERS]
    made = [
        scene.timeline_markers.new(
            _name(shot.name, side, span.verdict), frame=round(float(frames[span.worst]))
        )
        for side, span in worst
    ]
    _remember(shot, made)
    return len(made)


def clear_markers(scene: bpy.types.Scene, shot: bpy.types.Collection) -> None:
    """Remove the markers that takes of the shot set, and which are still as they were set."""
    for marker in list(_as_set(scene, shot)):
        scene.timeline_markers.remove(marker)


def stretch_markers(scene: bpy.types.Scene, shot: bpy.types.Collection, start: float, factor: float) -> None:
    """Move the markers of the shot to start + (frame - start) * factor."""
    as_set = list(_as_set(scene, shot))
    for marker in scene.timeline_markers:
        if marker.name.startswith(f"{shot.name}: "):
            marker.frame = round(start + (marker.frame - start) * factor)
    _remember(shot, as_set)


def _remember(shot: bpy.types.Collection, markers: list[Any]) -> None:
    shot.duohand.markers = json.dumps([[marker.name, marker.frame] for marker in markers])


def _as_set(scene: bpy.types.Scene, shot: bpy.types.Collection) -> Iterator[Any]:
    """The shot's markers that are as a take set them; shots of older versions do not know on which frames that was."""
    known = json.loads(shot.duohand.markers or "null")
    names = {_name(shot.name, side, verdict) for side in (LEFT, RIGHT) for verdict in Verdict}
    for marker in scene.timeline_markers:
        is_set = marker.name in names if known is None else [marker.name, marker.frame] in known
        if is_set and marker.camera is None:
            yield marker


def _name(shot_name: str, side: int, verdict: Verdict) -> str:
    return f"{shot_name}: {side_name(side).lower()} {verdict}"
