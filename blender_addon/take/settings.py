# SPDX-License-Identifier: GPL-3.0-or-later
"""How a take is placed in the scene: the options, and which of them an updated shot keeps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import bpy

from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import LEFT, RIGHT

from ..scene.axes import Floats
from ..scene.hand_keys import QUATERNION
from ..scene.motion import EULER_ORDERS
from ..scene.plate import has_plate
from ..scene.rest_bones import bone_names
from ..scene.shot import armatures, shots, units_per_metre
from ..scene.timing import TimingMode

_SMALLEST_SCALE: Final = 1e-3  # Blender drops bones shorter than 1e-6


@dataclass(frozen=True)
class ApplySettings:
    """How a take is loaded into the scene. None: as the existing shot has it; for a new shot, the default.

    existing: UPDATE the shot of the same footage in place, or make a NEW one beside it. footage: its path as known
    to the add-on; if empty, the take's own. shot: the one to update, whatever its footage. camera: NEW, the shot's
    own at `place` (4, 4) in Blender's world (by default the origin, looking along +Y; an existing shot stays), or
    SCENE, the scene's, which then carries the hands. timing: MATCH gives the scene the footage's rate and keeps the
    timing (the default if nothing else is animated). set_rate: give it that rate whatever the timing. scale:
    Blender units per metre. rotation_mode: QUATERNION or an Euler order.
    """

    name: str = ""
    existing: Literal["UPDATE", "NEW"] = "UPDATE"
    footage: str = ""
    shot: bpy.types.Collection | None = None
    start_frame: int | None = None
    timing: Literal["MATCH"] | TimingMode | None = None
    set_rate: bool = False
    set_range: bool | None = None
    set_resolution: bool | None = None
    camera: Literal["NEW", "SCENE"] | None = None
    place: Floats | None = None
    scale: float | None = None
    rotation_mode: str | None = None
    sides: Sequence[int] = (LEFT, RIGHT)
    correctives: bool | None = None
    show_footage: bool | None = None
    set_markers: bool = True


@dataclass(frozen=True)
class Layout:
    """Settings with nothing left open. sets_camera: the shot's camera becomes the scene's active one."""

    start_frame: int
    timing: TimingMode
    set_rate: bool
    set_resolution: bool
    camera: Literal["NEW", "SCENE"]
    sets_camera: bool
    scale: float
    rotation_mode: str
    correctives: bool
    show_footage: bool


def layout_of(settings: ApplySettings, scene: bpy.types.Scene, shot: bpy.types.Collection | None) -> Layout:
    """The settings resolved for a new shot (None) or an updated one."""
    usual = _usual(scene) if shot is None else _kept(scene, shot)
    names = (
        "start_frame",
        "set_resolution",
        "camera",
        "scale",
        "rotation_mode",
        "correctives",
        "show_footage",
    )
    asked = {name: getattr(settings, name) for name in names if getattr(settings, name) is not None}
    timing = settings.timing or (usual_timing(scene) if shot is None else usual.timing)
    layout = replace(
        usual,
        **asked,
        timing="SECONDS" if timing == "MATCH" else timing,
        set_rate=settings.set_rate or timing == "MATCH",
        sets_camera=usual.sets_camera or settings.camera == "NEW",
    )
    if layout.scale < _SMALLEST_SCALE:
        raise RequestError(
            f"At {layout.scale:g} Blender units a metre, fingers are too small for Blender's bones. "
            "Set the scene's Unit Scale nearer to 1, or give the take a scale."
        )
    return layout


def usual_timing(scene: bpy.types.Scene) -> Literal["MATCH", "SECONDS"]:
    """MATCH if nothing in the file is animated yet, so that changing the scene's rate does no harm."""
    moving = any(action.users for action in bpy.data.actions)
    sequences = scene.sequence_editor is not None and bool(_strips(scene.sequence_editor))
    return "SECONDS" if moving or sequences or shots(scene) else "MATCH"


def _strips(editor: Any) -> Any:
    return editor.strips if hasattr(editor, "strips") else editor.sequences  # renamed in 4.4


def _usual(scene: bpy.types.Scene) -> Layout:
    return Layout(1, "SECONDS", False, True, "NEW", True, units_per_metre(scene), QUATERNION, True, True)


def _kept(scene: bpy.types.Scene, shot: bpy.types.Collection) -> Layout:
    kept = shot.duohand
    return Layout(
        start_frame=kept.start_frame,
        timing=kept.timing,
        set_rate=False,
        set_resolution=False,
        camera="SCENE" if kept.own_camera else "NEW",
        sets_camera=scene.camera is None,
        scale=kept.scale,
        rotation_mode=_rotation_mode(shot),
        correctives=kept.correctives,
        show_footage=kept.camera is None or has_plate(kept.camera),
    )


def _rotation_mode(shot: bpy.types.Collection) -> str:
    """How the wrists are keyed now, if all in the same mode that takes can have; else as the take was loaded."""
    found = {
        bone.rotation_mode
        for side, hand in armatures(shot).items()
        for bone in (hand.pose.bones if hand.pose is not None else ())
        if bone.name == bone_names(side)[0]
    }
    mode = found.pop() if len(found) == 1 else ""
    return mode if mode in (QUATERNION, *EULER_ORDERS) else shot.duohand.rotation_mode
