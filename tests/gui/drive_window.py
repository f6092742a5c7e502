# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a Blender with a window (window_tools): a clip to an FBX, a second clip, questions, contact, German.

It also has a picture of every panel made for the manual.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).parent))
import finish_shot
from window_tools import (
    FOOTAGE,
    click,
    click_tab,
    drive,
    folder,
    install,
    open_sidebar,
    over,
    picture,
    result,
    runs,
)


def steps() -> Iterator[float]:
    result["longest_wait_s"] = 0.0
    install()
    bpy.ops.wm.read_homefile(use_factory_startup=False, app_template="")
    yield 1.0
    sidebar = open_sidebar()
    yield 1.5
    yield from click_tab(sidebar)
    yield 0.5
    yield from picture("01_empty")
    scene: Any = bpy.context.scene
    scene.duohand.footage = FOOTAGE
    scene.duohand.lens = "FOV"
    yield 1.0
    yield from picture("02_footage")
    yield from capture(sidebar)
    yield 1.0
    with over():
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
    yield from finish_shot.second_clip(sidebar)
    yield from finish_shot.questions()
    yield from finish_shot.contact()
    yield from finish_shot.export_question()
    export = folder / "window.fbx"
    bpy.ops.duohand.export_fbx(filepath=str(export), preset="BLENDER")
    result["fbx_bytes"] = export.stat().st_size
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "shot.blend"))  # paths are kept relative to it
    finish_shot.character_and_prop()
    yield from panel_pictures(sidebar)
    yield from german()
    bpy.ops.screen.userpref_show("INVOKE_DEFAULT")
    yield 1.0
    bpy.context.preferences.active_section = "EXTENSIONS"
    yield 1.0
    yield from picture("07_preferences")


def capture(sidebar: Any) -> Iterator[float]:
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


def panel_pictures(sidebar: Any) -> Iterator[float]:
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


def panels_of_tab() -> list[Any]:
    """The tab's panels, each after the one that it stands in."""
    found = [getattr(bpy.types, name) for name in dir(bpy.types) if name.startswith("DUOHAND_PT_")]
    return sorted(found, key=lambda kind: bool(getattr(kind, "bl_parent_id", "")))


def german() -> Iterator[float]:
    """The tab where Blender speaks German."""
    settings: Any = bpy.context.preferences.view
    language = next((item for item in ("de_DE", "de") if item in bpy.app.translations.locales), None)
    if language is None:
        return
    before = settings.language
    settings.language = language
    settings.use_translate_interface = settings.use_translate_tooltips = True
    result["german"] = bpy.app.translations.pgettext_iface("Capture Hands", "Operator")
    for name, options in (("load_take", {"filepath": "/x.npz"}), ("hold_range", {"first": 9, "last": 5})):
        try:
            getattr(bpy.ops.duohand, name)(**options)
        except RuntimeError as error:
            result[f"german_{name}"] = str(error).strip()
    yield 1.5
    yield from picture("08_german")
    settings.language = before
    yield 1.0


def click_capture(sidebar: Any) -> Iterator[float]:
    """Click down the sidebar's middle until the capture runs, from below the panel's header, which would close it."""
    x = sidebar.x + sidebar.width // 2 - 10
    for y in range(sidebar.y + sidebar.height - 348, sidebar.y + 40, -12):
        yield from click(x, y)
        if runs().state is not None or runs().outcomes:
            return


def scroll_sidebar() -> None:
    """Bring the lower panels into view: a script can close none of the upper ones."""
    with over("UI"):
        bpy.ops.view2d.scroll_down(deltay=500)


drive(steps())
