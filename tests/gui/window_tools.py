# SPDX-License-Identifier: GPL-3.0-or-later
"""What the drives do in a Blender with a window: mouse, keys, buttons of panels, file browsers, pictures of the screen.

    blender --enable-event-simulate --python DRIVE.py -- FOLDER ZIP ENGINE FOOTAGE

A drive is a generator of steps, each of which gives Blender some seconds for itself. It asks for pictures of the
screen by writing FOLDER/picture.json (a name, and a rectangle of the window where not all of it is meant) and goes on
once that file is gone. Its last word is FOLDER/result.json.
"""

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.blender_addon.layouts import Layout

FOLDER, ZIP, ENGINE, FOOTAGE = sys.argv[sys.argv.index("--") + 1 :][:4]
ROOM = "bl_ext.user_default.duohand"

folder = Path(FOLDER)
result: dict[str, Any] = {}


def drive(steps: Iterator[float]) -> None:
    """Walk through the steps, write the result, and quit."""

    def tick() -> float | None:
        try:
            return next(steps)
        except StopIteration:
            _finish()
        except Exception:  # noqa: BLE001 - whatever happened is the result
            result["error"] = traceback.format_exc()
            _finish()
        return None

    bpy.app.timers.register(tick, first_interval=2.0, persistent=True)


def _finish() -> None:
    (folder / "result.json").write_text(json.dumps(result))
    bpy.ops.wm.quit_blender()


def install() -> None:
    """Install and enable the add-on, and name the engine."""
    bpy.ops.extensions.package_install_files(
        filepath=ZIP, repo="user_default", enable_on_install=True, overwrite=True
    )
    preferences: Any = bpy.context.preferences.addons[ROOM].preferences
    preferences.engine = ENGINE


def window() -> Any:
    return bpy.context.window_manager.windows[0]


def view() -> Any:
    """The first 3D view's area."""
    return next(item for item in window().screen.areas if item.type == "VIEW_3D")


def region(kind: str = "WINDOW") -> Any:
    """The first 3D view's region of that kind."""
    return next(item for item in view().regions if item.type == kind)


def middle_of_view() -> tuple[int, int]:
    """A place in the window over the 3D view, left of the sidebar."""
    return view().x + view().width // 3, view().y + view().height // 2


def over(kind: str = "WINDOW") -> Any:
    """Context of a person whose mouse is over the 3D view or its sidebar (UI)."""
    return bpy.context.temp_override(window=window(), area=view(), region=region(kind))


def open_sidebar() -> Any:
    """The opened sidebar."""
    view().spaces.active.show_region_ui = True
    return region("UI")


def runs() -> Any:
    return sys.modules[f"{ROOM}.capture.runs"].RUNS


def running_engine() -> int:
    """Process group of the engine that captures now; 0 if none does."""
    job = runs()._queue.current
    return (job.pid or 0) if job is not None else 0


def until(reached: Callable[[], Any], limit_s: float = 400.0) -> Iterator[float]:
    """Wait for that."""
    begun = time.monotonic()
    while not reached():
        yield 0.1
        if time.monotonic() - begun > limit_s:
            raise TimeoutError("what was waited for did not come")


def click(x: int, y: int) -> Iterator[float]:
    """Click with the left button at that place of the window."""
    yield from press("LEFTMOUSE", x, y)
    yield 0.3


def press(key: str, x: int, y: int, in_window: Any = None, ctrl: bool = False) -> Iterator[float]:
    """Press and release a key with the mouse at that place of the window."""
    there = in_window or window()
    address = there.as_pointer()
    there.event_simulate(type="MOUSEMOVE", value="NOTHING", x=x, y=y)
    yield 0.2
    for value in ("PRESS", "RELEASE"):
        if address in [
            item.as_pointer() for item in bpy.context.window_manager.windows
        ]:  # a press may close it
            there.event_simulate(type=key, value=value, x=x, y=y, ctrl=ctrl)
        yield 0.1


def click_tab(sidebar: Any) -> Iterator[float]:
    """Click down the sidebar's tabs until Duohand's is open."""
    x = sidebar.x + sidebar.width - 10
    for y in range(sidebar.y + sidebar.height - 40, sidebar.y, -25):
        yield from click(x, y)
        if sidebar.active_panel_category == "Duohand":
            return
    raise LookupError("the sidebar has no Duohand tab")


def press_button(panel: str, operator: str, **chosen: Any) -> None:
    """Press a button that the panel shows, with the properties that it gives; chosen: an entry of its menu."""
    found = [
        made for name, arguments, made in _calls(panel) if "operator" in name and arguments[0] == operator
    ]
    if not found:
        raise LookupError(f"{panel} shows no button {operator}")
    room, name = operator.split(".")
    with over("UI"):
        getattr(getattr(bpy.ops, room), name)("INVOKE_DEFAULT", **vars(found[0]), **chosen)


def choose(panel: str, name: str, value: Any) -> None:
    """Set a field that the panel shows."""
    found = [
        arguments[0] for called, arguments, _ in _calls(panel) if called == "prop" and arguments[1] == name
    ]
    if not found:
        raise LookupError(f"{panel} shows no field {name}")
    setattr(found[0], name, value)


def _calls(panel: str) -> list[tuple[str, tuple[Any, ...], Any]]:
    """What the panel puts into its layout now."""
    kind: Any = getattr(bpy.types, panel)
    calls: list[tuple[str, tuple[Any, ...], Any]] = []
    with over("UI"):
        drawn = SimpleNamespace(layout=Layout([], calls), draw_shots=getattr(kind, "draw_shots", None))
        kind.draw(drawn, bpy.context)
    return calls


def answer_file_browser(file: Path) -> Iterator[float]:
    """Name the file in the file browser that is open, and press Return over it."""

    def browsers() -> list[tuple[Any, Any]]:
        windows = bpy.context.window_manager.windows
        return [(item, area) for item in windows for area in item.screen.areas if area.type == "FILE_BROWSER"]

    yield from until(browsers, 20)
    yield 1.0
    shown, area = browsers()[0]
    parameters = area.spaces.active.params
    parameters.directory = str(file.parent).encode()
    yield 1.0
    parameters.filename = file.name
    inside = next(item for item in area.regions if item.type == "WINDOW")
    yield from press("RET", inside.x + inside.width // 2, inside.y + inside.height // 2, shown)
    yield 1.5
    if browsers():
        raise LookupError(f"the file browser did not take {file}")


def picture(name: str, rectangle: list[int] | None = None) -> Iterator[float]:
    """Have a picture taken; rectangle: x, y, width, height from the window's lower left corner."""
    bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=1)
    request = folder / "picture.json"
    asked = request.with_suffix(".part")
    asked.write_text(json.dumps({"name": name, "rectangle": rectangle}))
    asked.rename(request)
    yield from until(lambda: not request.exists(), 60)
