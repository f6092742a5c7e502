# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a Blender with a window: a person's steps from an empty file to an FBX, by mouse where it matters.

    blender --enable-event-simulate --python drive_window.py -- FOLDER ZIP ENGINE FOOTAGE [TAKE]

With a TAKE of the footage it is loaded, and nothing captured. The script asks for pictures of the screen by writing
FOLDER/picture.json (a name, and a rectangle of the window where not all of it is meant) and goes on once that file is
gone. Its last word is FOLDER/result.json.
"""

import json
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))
import finish_shot

FOLDER, ZIP, ENGINE, FOOTAGE, TAKE = [*sys.argv[sys.argv.index("--") + 1 :], ""][:5]
folder = Path(FOLDER)
result: dict[str, object] = {"longest_wait_s": 0.0}
tools = sys.modules[__name__]


def steps() -> Iterator[float]:
    """Each yield gives Blender so many seconds for itself."""
    bpy.ops.extensions.package_install_files(
        filepath=ZIP, repo="user_default", enable_on_install=True, overwrite=True
    )
    preferences = bpy.context.preferences.addons["bl_ext.user_default.duohand"].preferences
    preferences.engine = ENGINE
    bpy.ops.wm.read_homefile(use_factory_startup=False, app_template="")
    yield 1.0
    area, sidebar = open_sidebar()
    yield 1.5
    yield from click_tab(sidebar)
    yield 0.5
    yield from picture("01_empty")
    bpy.context.scene.duohand.footage = FOOTAGE
    bpy.context.scene.duohand.lens = "FOV"
    yield 1.0
    yield from picture("02_footage")
    if TAKE:
        bpy.ops.duohand.load_take(filepath=TAKE)
    else:
        yield from capture(sidebar)
    yield 1.0
    with bpy.context.temp_override(window=window(), area=area, region=window_region(area)):
        bpy.ops.duohand.view_through_camera()
    yield from picture("04_captured")
    scene = bpy.context.scene
    scene.frame_set((scene.frame_start + scene.frame_end) // 2)
    yield 0.5
    yield from picture("05_scrubbed")
    result["armatures"] = sorted(item.name for item in scene.objects if item.type == "ARMATURE")
    scroll_sidebar()
    scroll_sidebar()
    yield 1.0
    yield from picture("06_review_and_clean_up")
    if not TAKE:
        yield from finish_shot.second_clip(tools, sidebar)
        yield from finish_shot.questions(tools)
        yield from finish_shot.contact(tools)
    export = str(folder / "window.fbx")
    bpy.ops.duohand.export_fbx(filepath=export, preset="BLENDER")
    result["fbx_bytes"] = Path(export).stat().st_size
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "shot.blend"))  # paths are kept relative to it
    yield from panel_pictures(area, sidebar)
    yield from german(sidebar)
    bpy.ops.screen.userpref_show("INVOKE_DEFAULT")
    yield 1.0
    bpy.context.preferences.active_section = "EXTENSIONS"
    yield 1.0
    yield from picture("07_preferences")
    yield from finish_shot.characters(tools)
    yield from finish_shot.over_footage(tools)


def capture(sidebar: bpy.types.Region) -> Iterator[float]:
    """Press the button and wait for the hands."""
    yield from click_capture(sidebar)
    result["pressed"] = runs().state is not None or bool(runs().outcomes)
    begun, shown = time.monotonic(), False
    while runs().state is not None:
        before = time.monotonic()
        yield 0.05
        result["longest_wait_s"] = max(result["longest_wait_s"], time.monotonic() - before - 0.05)
        if not shown and runs().state is not None and runs().state.done > 5:
            shown = True
            yield from picture("03_capturing")
        if time.monotonic() - begun > 600:
            raise TimeoutError("the capture did not end")
    result["outcome"] = runs().outcomes[-1].text


def panel_pictures(area: bpy.types.Area, sidebar: bpy.types.Region) -> Iterator[float]:
    """A picture of each panel by itself and open: it stands alone in the tab while that is made."""
    system = bpy.context.preferences.system
    system.use_region_overlap, before = False, system.use_region_overlap
    all_panels = panels_of_tab()
    for kind in reversed(all_panels):
        bpy.utils.unregister_class(kind)
    for shown in [kind for kind in all_panels if not getattr(kind, "bl_parent_id", "")]:
        children = [kind for kind in all_panels if getattr(kind, "bl_parent_id", "") == shown.bl_idname]
        family = [opened(shown), *(opened(kind, shown.bl_idname + "_open") for kind in children)]
        for kind in family:
            bpy.utils.register_class(kind)
        sidebar.tag_redraw()
        yield 0.8
        name = shown.bl_idname.removeprefix("DUOHAND_PT_")
        yield from picture(f"panel_{name}", [sidebar.x, sidebar.y, sidebar.width, sidebar.height])
        for kind in reversed(family):
            bpy.utils.unregister_class(kind)
    for kind in all_panels:
        bpy.utils.register_class(kind)
    system.use_region_overlap = before
    yield 0.5


def opened(kind: type, parent: str = "") -> type:
    """The same panel under another name, for which Blender keeps no closed state."""
    attributes = {"bl_idname": f"{kind.bl_idname}_open", "bl_options": set()}
    return type(f"{kind.__name__}_open", (kind,), attributes | ({"bl_parent_id": parent} if parent else {}))


def panels_of_tab() -> list[type]:
    """The tab's panels, each after the one that it stands in."""
    found = [getattr(bpy.types, name) for name in dir(bpy.types) if name.startswith("DUOHAND_PT_")]
    return sorted(found, key=lambda kind: bool(getattr(kind, "bl_parent_id", "")))


def german(sidebar: bpy.types.Region) -> Iterator[float]:
    """The tab where Blender speaks German."""
    view = bpy.context.preferences.view
    language = next((item for item in ("de_DE", "de") if item in bpy.app.translations.locales), None)
    if language is None:
        return
    before = view.language
    view.language = language
    view.use_translate_interface = view.use_translate_tooltips = True
    result["german"] = bpy.app.translations.pgettext_iface("Capture Hands", "Operator")
    for name, options in (("load_take", {"filepath": "/x.npz"}), ("hold_range", {"first": 9, "last": 5})):
        try:
            getattr(bpy.ops.duohand, name)(**options)
        except RuntimeError as error:
            result[f"german_{name}"] = str(error).strip()
    yield 1.5
    yield from picture("08_german")
    view.language = before
    yield 1.0


def open_sidebar() -> tuple[bpy.types.Area, bpy.types.Region]:
    area = next(item for item in bpy.context.window.screen.areas if item.type == "VIEW_3D")
    area.spaces.active.show_region_ui = True
    sidebar = next(item for item in area.regions if item.type == "UI")
    return area, sidebar


def window_region(area: bpy.types.Area) -> bpy.types.Region:
    return next(item for item in area.regions if item.type == "WINDOW")


def window() -> bpy.types.Window:
    return bpy.context.window_manager.windows[0]


def click_tab(sidebar: bpy.types.Region) -> Iterator[float]:
    """Click down the sidebar's tabs until Duohand's is open."""
    x = sidebar.x + sidebar.width - 10
    for y in range(sidebar.y + sidebar.height - 40, sidebar.y, -25):
        yield from click(x, y)
        if sidebar.active_panel_category == "Duohand":
            return
    raise LookupError("the sidebar has no Duohand tab")


def click_capture(sidebar: bpy.types.Region) -> Iterator[float]:
    """Click down the sidebar's middle until the capture runs, from below the panel's header, which would close it."""
    x = sidebar.x + sidebar.width // 2 - 10
    for y in range(sidebar.y + sidebar.height - 348, sidebar.y + 40, -12):
        yield from click(x, y)
        if runs().state is not None or runs().outcomes:
            return


def click(x: int, y: int) -> Iterator[float]:
    window().event_simulate(type="MOUSEMOVE", value="NOTHING", x=x, y=y)
    yield 0.1
    window().event_simulate(type="LEFTMOUSE", value="PRESS", x=x, y=y)
    yield 0.05
    window().event_simulate(type="LEFTMOUSE", value="RELEASE", x=x, y=y)
    yield 0.3


def scroll_sidebar() -> None:
    """Bring the lower panels into view: a script can close none of the upper ones."""
    area = next(item for item in bpy.context.window.screen.areas if item.type == "VIEW_3D")
    sidebar = next(item for item in area.regions if item.type == "UI")
    with bpy.context.temp_override(area=area, region=sidebar):
        bpy.ops.view2d.scroll_down(deltay=500)


def runs():
    return sys.modules["bl_ext.user_default.duohand.capture.runs"].RUNS


def picture(name: str, rectangle: list[int] | None = None) -> Iterator[float]:
    """Have a picture taken; rectangle: x, y, width, height from the window's lower left corner."""
    bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=1)
    request = folder / "picture.json"
    asked = request.with_suffix(".part")
    asked.write_text(json.dumps({"name": name, "rectangle": rectangle}))
    asked.rename(request)
    begun = time.monotonic()
    while request.exists():
        yield 0.2
        if time.monotonic() - begun > 60:
            raise TimeoutError("nobody took the picture")


walk = steps()


def tick() -> float | None:
    try:
        return next(walk)
    except StopIteration:
        finish()
    except Exception:  # noqa: BLE001 - whatever happened is the result
        result["error"] = traceback.format_exc()
        finish()
    return None


def finish() -> None:
    (folder / "result.json").write_text(json.dumps(result))
    bpy.ops.wm.quit_blender()


bpy.app.timers.register(tick, first_interval=2.0, persistent=True)
