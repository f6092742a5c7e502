# SPDX-License-Identifier: GPL-3.0-or-later
"""Timeline markers on the frames most worth checking."""

import bpy

from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.shared.take import Take

from ..scene.axes import Floats
from ..scene.rest_bones import side_name
from ..scene.spans import take_sightings, uncertain_spans

MOST_MARKERS = 12


def set_markers(scene: bpy.types.Scene, shot_name: str, take: Take, frames: Floats) -> int:
    """Mark the worst frames of the take's least certain spans, replacing the shot's
    earlier markers; how many there are.
    """
    clear_markers(scene, shot_name)
    found = [(side, span) for side in (LEFT, RIGHT) for span in uncertain_spans(take_sightings(take, side))]
    worst = sorted(found, key=lambda item: -item[1].doubt)[:MOST_MARKERS]
    for side, span in worst:
        name = f"{shot_name}: {side_name(side).lower()} {span.verdict}"
        scene.timeline_markers.new(name, frame=round(float(frames[span.worst])))
    return len(worst)


def clear_markers(scene: bpy.types.Scene, shot_name: str) -> None:
    """Remove the shot's markers."""
    for marker in [marker for marker in scene.timeline_markers if marker.name.startswith(f"{shot_name}: ")]:
        scene.timeline_markers.remove(marker)
