# SPDX-License-Identifier: GPL-3.0-or-later
"""Optional shortcuts, all off by default, so that none overrides a key in use."""

from dataclasses import dataclass
from typing import Any, Final

import bpy


@dataclass(frozen=True)
class Shortcut:
    """An operator, its key with Ctrl and Alt, and the operator's properties."""

    operator: str
    key: str
    properties: tuple[tuple[str, Any], ...] = ()


SHORTCUTS: Final = (
    Shortcut("duohand.next_uncertain", "PERIOD", (("backward", False),)),
    Shortcut("duohand.next_uncertain", "COMMA", (("backward", True),)),
    Shortcut("duohand.view_through_camera", "V"),
    Shortcut("duohand.hold_range", "H"),
    Shortcut("duohand.refill_range", "G"),
    Shortcut("duohand.lock_range", "L"),
)

_registered: list[tuple[Any, Any]] = []


def draw(layout: Any, context: bpy.types.Context) -> None:
    """Draw the shortcuts, to be enabled and changed."""
    import rna_keymap_ui  # of Blender's own scripts

    user: Any = context.window_manager.keyconfigs.user
    keymap = user.keymaps.get("3D View") if user is not None else None
    mine = [item for item in keymap.keymap_items if item.idname.startswith("duohand.")] if keymap else []
    if not mine:
        return
    box = layout.box()
    box.label(text="Shortcuts", icon="EVENT_A")
    for item in mine:
        rna_keymap_ui.draw_kmi([], user, keymap, item, box, 0)


def register() -> None:
    keys: Any = bpy.context.window_manager.keyconfigs.addon
    if keys is None:  # without a window
        return
    keymap = keys.keymaps.new(name="3D View", space_type="VIEW_3D")
    for shortcut in SHORTCUTS:
        item = keymap.keymap_items.new(shortcut.operator, shortcut.key, "PRESS", ctrl=True, alt=True)
        for name, value in shortcut.properties:
            setattr(item.properties, name, value)
        item.active = False
        _registered.append((keymap, item))


def unregister() -> None:
    while _registered:
        keymap, item = _registered.pop()
        keymap.keymap_items.remove(item)
