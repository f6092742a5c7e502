# SPDX-License-Identifier: GPL-3.0-or-later
"""For every test run: tests that need Blender's Python are collected by its own runs only."""

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("hypothesis") is not None:  # Blender's environments do without
    from hypothesis import settings

    # No example is timed: on a loaded machine any of them may take long.
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave test_*_in_blender.py to `make test-blender`, whose plugin has imported bpy by now."""
    if collection_path.match("test_*_in_blender.py") and "bpy" not in sys.modules:
        return True
    return None
