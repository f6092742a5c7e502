# SPDX-License-Identifier: GPL-3.0-or-later
"""How a take is laid into the scene: what is asked for, and what a shot that is updated keeps of what it was given."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import bpy

from inference_core.shared.skeleton import LEFT, RIGHT

from ..scene.axes import Floats
from ..scene.hand_keys import QUATERNION
from ..scene.plate import has_plate
from ..scene.shot import units_per_metre
from ..scene.timing import TimingMode


@dataclass(frozen=True)
class ApplySettings:
    """How a take is laid into the scene. None: as the shot has it; for a new shot, the usual.

    existing: UPDATE the shot of the same footage in place, or make a NEW one beside it. footage: the footage as the
    add-on knows it, the take's own word where empty. camera: a NEW one of the shot's own, standing at `place` (4, 4)
    in Blender's world (usual: the origin, looking along +Y; a shot that is there stays), or the SCENE's, which then
    carries the hands. scale: Blender units to a metre. rotation_mode: QUATERNION or an Euler order.
    """

    name: str = ""
    existing: Literal["UPDATE", "NEW"] = "UPDATE"
    footage: str = ""
    start_frame: int | None = None
    timing: TimingMode | None = None
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
    set_resolution: bool
    camera: Literal["NEW", "SCENE"]
    sets_camera: bool
    scale: float
    rotation_mode: str
    correctives: bool
    show_footage: bool


def layout_of(settings: ApplySettings, scene: bpy.types.Scene, shot: bpy.types.Collection | None) -> Layout:
    """What the settings come to for a new shot (None) or one that is updated."""
    usual = _usual(scene) if shot is None else _kept(scene, shot)
    names = (
        "start_frame",
        "timing",
        "set_resolution",
        "camera",
        "scale",
        "rotation_mode",
        "correctives",
        "show_footage",
    )
    asked = {name: getattr(settings, name) for name in names if getattr(settings, name) is not None}
    return replace(usual, **asked, sets_camera=usual.sets_camera or settings.camera == "NEW")


def _usual(scene: bpy.types.Scene) -> Layout:
    return Layout(1, "SECONDS", True, "NEW", True, units_per_metre(scene), QUATERNION, True, True)


def _kept(scene: bpy.types.Scene, shot: bpy.types.Collection) -> Layout:
    kept = shot.duohand
    return Layout(
        start_frame=kept.start_frame,
        timing=kept.timing,
        set_resolution=False,
        camera="SCENE" if kept.own_camera else "NEW",
        sets_camera=scene.camera is None,
        scale=kept.scale,
        rotation_mode=kept.rotation_mode,
        correctives=kept.correctives,
        show_footage=kept.camera is None or has_plate(kept.camera),
    )
