# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension in this process's bpy, installed as by a user."""

import importlib
from pathlib import Path

EXTENSION = "bl_ext.user_default.duohand"


def install(archive: Path) -> None:
    """Install the zip as a user would, and enable it; AssertionError if Blender rejects it."""
    import bpy

    addon_utils = importlib.import_module("addon_utils")  # there once bpy is

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.ops.extensions.package_install_files(
        filepath=str(archive), repo="user_default", enable_on_install=False, overwrite=True
    )
    assert addon_utils.enable(EXTENSION, default_set=True) is not None, f"{archive} could not be enabled"
