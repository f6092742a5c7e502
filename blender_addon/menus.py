# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes and hands in Blender's own File > Import and File > Export menus."""

from typing import Any, Final

import bpy

_EXPORTS: Final = (
    ("duohand.save_take", "Duohand Take (.npz)"),
    ("duohand.export_fbx", "Duohand Hands (.fbx)"),
    ("duohand.export_glb", "Duohand Hands (.glb)"),
    ("duohand.export_usd", "Duohand Hands (.usdc)"),
    ("duohand.export_bvh", "Duohand Hands (.bvh)"),
)


def _draw_import(menu: Any, _context: bpy.types.Context) -> None:
    menu.layout.operator("duohand.load_take", text="Duohand Take (.npz)")


def _draw_export(menu: Any, _context: bpy.types.Context) -> None:
    for name, text in _EXPORTS:
        menu.layout.operator(name, text=text)


def _menus() -> tuple[tuple[Any, Any], ...]:
    types: Any = bpy.types
    return (types.TOPBAR_MT_file_import, _draw_import), (types.TOPBAR_MT_file_export, _draw_export)


def register() -> None:
    for menu, draw in _menus():
        menu.append(draw)


def unregister() -> None:
    for menu, draw in _menus():
        menu.remove(draw)
