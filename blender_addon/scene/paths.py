# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths as Blender writes them."""

from pathlib import Path

import bpy


def absolute(path: str) -> str:
    """The path with Blender's // resolved."""
    return str(Path(bpy.path.abspath(path)))
