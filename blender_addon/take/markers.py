# SPDX-License-Identifier: GPL-3.0-or-later
"""Timeline markers where a look is most worth the while."""

import bpy

from inference_core.shared.take import Take

from ..scene.axes import Floats
from ..scene.rest_bones import side_name
from ..scene.spans import uncertain_spans

MOST_MARKERS = 12


def set_markers(scene: bpy.types.Scene, shot_name: str, take: Take, frames: Floats) -> int:
    """Mark the take's least certain spans, in place of the shot's earlier markers; returns how many there are now."""
    clear_markers(scene, shot_name)
    worst = uncertain_spans(take.confidence, take.present)[:MOST_MARKERS]
    for span in worst:
        name = f"{shot_name}: {side_name(span.side).lower()} {span.confidence:.0%}"
        scene.timeline_markers.new(name, frame=round(float(frames[span.first])))
    return len(worst)


def clear_markers(scene: bpy.types.Scene, shot_name: str) -> None:
    """Remove the markers of that shot."""
    for marker in [marker for marker in scene.timeline_markers if marker.name.startswith(f"{shot_name}: ")]:
        scene.timeline_markers.remove(marker)
