# SPDX-License-Identifier: GPL-3.0-or-later
"""The Footage and Capture panels: the footage, the capture button, and progress."""

from typing import Any

import bpy
from bpy.app.translations import pgettext_iface as iface_

from inference_core import __version__

from ..engine.job import JobState
from ..messages import translated, wrapped
from ..preferences import addon_preferences, draw_installation
from ..scene.shot import rate, shots
from ..sidebar import SidebarPanel
from .camera import CAMERA
from .footage import thumbnail
from .operators import capture_problem
from .progress import progress_text, stage_text
from .properties import MOVING_LENSES
from .runs import RUNS

_LENS_VALUES = {"FOV": ("fov",), "FOCAL": ("focal_mm", "sensor_mm"), "CLIP": ("clip",)}


class DUOHAND_PT_footage(SidebarPanel, bpy.types.Panel):
    """The movie or image sequence that shows the hands"""

    bl_idname = "DUOHAND_PT_footage"
    bl_label = "Footage"
    bl_order = 10

    def draw_header_preset(self, _context: bpy.types.Context) -> None:
        layout: Any = self.layout
        layout.label(text=__version__)

    def draw(self, context: bpy.types.Context) -> None:
        layout: Any = self.layout
        capture: Any = context.scene.duohand
        row = layout.row(align=True)
        row.prop(capture, "footage", text="")
        row.operator("duohand.choose_footage", text="", icon="FILE_MOVIE")
        row.operator("duohand.add_clips", text="", icon="ADD")
        if capture.problem:
            layout.label(text=translated(capture.problem), icon="ERROR")
            return
        if not capture.footage:
            layout.label(text="Choose a movie or drop it here", icon="INFO")
            return
        icon = thumbnail(bpy.path.abspath(capture.footage))
        if icon:
            layout.template_icon(icon, scale=6.0)
        layout.label(text=capture.facts_text)
        _draw_clips(layout, capture)
        layout.use_property_split = True
        layout.use_property_decorate = False
        if capture.is_sequence:
            layout.prop(capture, "sequence_fps")
        layout.prop(capture, "use_range")
        if capture.use_range:
            column = layout.column(align=True)
            column.prop(capture, "first")
            column.prop(capture, "last")
            column.prop(capture, "step")
        layout.prop(capture, "lens")
        for name in _LENS_VALUES.get(capture.lens, ()):
            layout.prop(capture, name)
        if capture.lens in MOVING_LENSES:
            layout.prop(capture, "use_camera_motion")
        if capture.lens == "DEFAULT" and shots(context.scene):
            layout.operator("duohand.use_lens_by_hands", icon="VIEW_CAMERA")


def _draw_clips(layout: Any, capture: Any) -> None:
    """The clips that are captured after the first."""
    column = layout.column(align=True)
    for index, clip in enumerate(capture.clips):
        row = column.row(align=True)
        row.prop(clip, "footage", text="")
        row.operator("duohand.remove_clip", text="", icon="X").index = index


class DUOHAND_PT_capture(SidebarPanel, bpy.types.Panel):
    """Bring the hands from the footage into the scene"""

    bl_idname = "DUOHAND_PT_capture"
    bl_label = "Capture"
    bl_order = 15

    def draw(self, context: bpy.types.Context) -> None:
        layout: Any = self.layout
        capture: Any = context.scene.duohand
        column = layout.column()
        column.scale_y = 1.5
        column.operator("duohand.capture", icon="REC", text=_button_text(len(capture.clips)), translate=False)
        problem = capture_problem(context.scene)
        if problem:
            for line in wrapped(translated(problem)):
                layout.label(text=line, icon="INFO", translate=False)
        _draw_camera(layout)
        state = RUNS.state
        if state is not None:
            _draw_run(layout, state, RUNS.waiting)
        elif RUNS.outcomes:
            _draw_outcome(layout)
        if not addon_preferences().engine_path().exists():
            draw_installation(layout, context)
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(capture, "hands")
        row = layout.row(heading="Hand Length", align=True)
        row.prop(capture, "use_hand_length", text="")
        length = row.row()
        length.active = capture.use_hand_length
        length.prop(capture, "hand_length_mm", text="")
        layout.prop(capture, "smooth")
        layout.prop(capture, "use_network")
        layout.prop(capture, "start_frame")
        _draw_timing(layout, context.scene)
        switches = layout.column()
        switches.use_property_split = False  # their labels need all of the width
        switches.prop(capture, "set_markers")
        switches.prop(capture, "new_shot")
        switches.prop(capture, "use_scene_camera")
        layout.prop(capture, "take_folder")


def _draw_camera(layout: Any) -> None:
    """Recording from a camera: the button, which camera, and how it goes."""
    row = layout.row(align=True)
    if CAMERA.runs:
        row.operator("duohand.end_recording", icon="SNAP_FACE")
    else:
        row.operator("duohand.record_camera", icon="OUTLINER_OB_CAMERA")
        number = row.row(align=True)
        number.ui_units_x = 2.5
        number.prop(addon_preferences(), "camera", text="")
    if CAMERA.text:
        line = layout.row()
        line.alert = CAMERA.is_error
        line.label(
            text=translated(CAMERA.text)[:120], icon="ERROR" if CAMERA.is_error else "REC", translate=False
        )


def _button_text(more: int) -> str:
    """The capture button's text, with the number of clips if there are several."""
    if not more:
        return iface_("Capture Hands")
    return iface_("Capture Hands of {count} Clips").format(count=more + 1)


def _draw_timing(layout: Any, scene: Any) -> None:
    """Both frame rates, and how to match them."""
    column = layout.column(align=True)
    if scene.duohand.rate:
        column.label(
            text=iface_("Scene {scene:.6g}, footage {footage:.6g} frames a second").format(
                scene=rate(scene), footage=scene.duohand.rate
            ),
            translate=False,
        )
    column.use_property_split = False  # the longest of the three needs all of the width
    column.prop(scene.duohand, "timing", expand=True)


def _draw_run(layout: bpy.types.UILayout, state: JobState, waiting: int) -> None:
    box = layout.box()
    row = box.row()
    row.label(text=stage_text(state))
    row.operator("duohand.cancel_capture", text="", icon="CANCEL")
    box.progress(factor=state.fraction, text=progress_text(state))
    for warning in state.warnings[-3:]:
        box.label(text=translated(warning), icon="ERROR")
    if waiting:
        box.label(text=iface_("{waiting} more waiting").format(waiting=waiting))


def _draw_outcome(layout: bpy.types.UILayout) -> None:
    outcome = RUNS.outcomes[-1]
    box = layout.box()
    box.alert = outcome.is_error
    for line in wrapped(translated(outcome.text))[:6]:
        box.label(text=line, translate=False)
    if outcome.is_error:
        box.operator("duohand.copy_report", icon="COPYDOWN")


CLASSES = (
    DUOHAND_PT_footage,
    DUOHAND_PT_capture,
)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
