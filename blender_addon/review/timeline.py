# SPDX-License-Identifier: GPL-3.0-or-later
"""The hands' confidence as coloured bars in the timeline and dope sheet; its curve is hidden in the Graph Editor."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import bpy
import numpy as np
from bpy.props import BoolProperty

from inference_core.shared.errors import DuohandError
from inference_core.shared.presence import ABSENT, FILLED

from ..scene.axes import Floats
from ..scene.hand_curves import HandRig, Wrist, hand_rigs, read_wrist
from ..scene.spans import BAD_BELOW, GOOD_FROM, rows_astray
from ..sidebar import redraw
from .doubts import shots_in_question, sightings

_GREEN, _YELLOW, _RED = (0.30, 0.65, 0.25, 0.8), (0.85, 0.70, 0.15, 0.8), (0.85, 0.20, 0.15, 0.9)
_HEIGHTS_PX: Final = (3, 14)
_GAP_PX: Final = 1
_SCROLLBAR_PX: Final = 16
_RULER_PX: Final = 24
_CORNERS: Final = ((0, 0), (1, 0), (1, 1), (0, 0), (1, 1), (0, 1))

_handlers: list[Any] = []


@dataclass(frozen=True)
class Bars:
    """N bars: first and last scene frames (N,), heights (N,) from 0 to 1, colours (N, 4)."""

    start: Floats
    end: Floats
    height: Floats
    colour: Floats


def hand_bars(rig: HandRig, wrist: Wrist, at_most: int) -> Bars:
    """A bar for each frame of the hand; if there would be too many, frames are merged and show the worst of them."""
    astray = rows_astray(sightings(rig, wrist))
    height = np.where(astray, 1.0, np.maximum(wrist.confidence, 0.08))
    rank = np.select(
        [
            astray | ((wrist.confidence < BAD_BELOW) & (wrist.present != FILLED)),
            (wrist.confidence < GOOD_FROM) | (wrist.present == FILLED),
        ],
        [2, 1],
        0,
    )
    there = wrist.present != ABSENT
    frames, height, rank = wrist.frames[there], height[there], rank[there]
    step = max(1, -(-len(frames) // at_most))
    firsts = np.arange(0, len(frames), step)
    spacing = float(np.median(np.diff(frames))) if len(frames) > 1 else 1.0
    lasts = np.append(firsts[1:], len(frames)) - 1
    worst = np.maximum.reduceat(rank, firsts)
    colours = np.array([_GREEN, _YELLOW, _RED])[worst]
    lowest = np.minimum.reduceat(height, firsts)
    return Bars(frames[firsts] - spacing / 2, frames[lasts] + spacing / 2, lowest, colours)


def bar_height_px(region_px: float, count: int) -> float:
    """The height of each hand's bars such that all fit between the scroll bar and the
    ruler of a region of that height.
    """
    room = (region_px - _SCROLLBAR_PX - _RULER_PX) / max(count, 1) - _GAP_PX
    return float(np.clip(room, *_HEIGHTS_PX))


def corners(bars: Bars, x_px: tuple[float, float], y_px: float, height_px: float) -> tuple[Floats, Floats]:
    """Vertices (6 N, 2) in pixels and colours (6 N, 4) of the bars' triangles; frame f is at x_px[0] + f x_px[1]."""
    left, right = (x_px[0] + edge * x_px[1] for edge in (bars.start, bars.end))
    right = np.maximum(right, left + 1)
    sides, tops = np.stack([left, right]), np.stack([np.zeros_like(left), bars.height * height_px])
    places = np.stack([np.stack([sides[x], y_px + tops[y]], -1) for x, y in _CORNERS], 1)
    return places.reshape(-1, 2), np.repeat(bars.colour, len(_CORNERS), 0)


def _draw() -> None:
    context = bpy.context
    manager: Any = context.window_manager
    if not manager.duohand_show_confidence:
        return
    region: Any = context.region
    unit = context.preferences.system.ui_scale
    origin = region.view2d.view_to_region(0, 0, clip=False)[0]
    slope = (region.view2d.view_to_region(1000, 0, clip=False)[0] - origin) / 1000
    shown = list(_hands_shown(context))
    height_px = bar_height_px(region.height / unit, len(shown)) * unit
    y_px = _SCROLLBAR_PX * unit
    for rig, wrist in shown:
        bars = hand_bars(rig, wrist, region.width)
        _fill(*corners(bars, (origin, slope), y_px, height_px))
        y_px += height_px + _GAP_PX * unit


def _hands_shown(context: bpy.types.Context) -> Iterator[tuple[HandRig, Wrist]]:
    """Right hands below left ones, of the shots in question."""
    for shot in shots_in_question(context):
        try:
            for rig in reversed(hand_rigs(shot)):
                wrist = read_wrist(rig)
                if wrist is not None and (wrist.present != ABSENT).any():
                    yield rig, wrist
        except DuohandError:  # the Review panel reports what is wrong
            continue


def _fill(places: Floats, colours: Floats) -> None:
    import gpu  # not there without a window

    form = gpu.types.GPUVertFormat()
    form.attr_add(id="pos", comp_type="F32", len=2, fetch_mode="FLOAT")
    form.attr_add(id="color", comp_type="F32", len=4, fetch_mode="FLOAT")
    buffer = gpu.types.GPUVertBuf(form, len(places))
    buffer.attr_fill("pos", _contiguous(places))
    buffer.attr_fill("color", _contiguous(colours))
    batch = gpu.types.GPUBatch(type="TRIS", buf=buffer)
    gpu.state.blend_set("ALPHA")
    batch.draw(gpu.shader.from_builtin("FLAT_COLOR"))
    gpu.state.blend_set("NONE")


def _contiguous(values: Floats) -> Any:
    return np.ascontiguousarray(values, np.float32)


def _redraw(_manager: Any, _context: bpy.types.Context) -> None:
    redraw("DOPESHEET_EDITOR")


def register() -> None:
    bpy.types.WindowManager.duohand_show_confidence = BoolProperty(
        name="Confidence in Timeline",
        description="The hands' confidence as coloured bars in the timeline and the dope sheet; the left hand's above",
        default=True,
        update=_redraw,
    )
    space: Any = bpy.types.SpaceDopeSheetEditor
    _handlers.append(space.draw_handler_add(_draw, (), "WINDOW", "POST_PIXEL"))


def unregister() -> None:
    space: Any = bpy.types.SpaceDopeSheetEditor
    space.draw_handler_remove(_handlers.pop(), "WINDOW")
    del bpy.types.WindowManager.duohand_show_confidence
