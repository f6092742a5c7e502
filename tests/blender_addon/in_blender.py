# SPDX-License-Identifier: GPL-3.0-or-later
"""pytest plugin for runs in a bpy interpreter: the built zip is installed and enabled before any test.

    .venv-bpy42/bin/python -m pytest -p tests.blender_addon.in_blender tests

It collects the files test_*_in_blender.py and no others; without it those are left out (tests/conftest.py). One
process a Blender version. bpy keeps threads and classes that crash or hang a plain exit, so the process ends by
os._exit as soon as pytest has written its summary.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tools.blender_extension import EXTENSION, install

__all__ = ["EXTENSION", "install"]

ROOT = Path(__file__).parents[2]
NAMES = "test_*_in_blender.py"

# Before bpy is imported: no test touches the user's own files, or leaves any of its own.
_scratch = tempfile.TemporaryDirectory(prefix="duohand-blender-", ignore_cleanup_errors=True)
tempfile.tempdir = os.environ["TMPDIR"] = _scratch.name
os.environ["BLENDER_USER_RESOURCES"] = tempfile.mkdtemp(prefix="resources-")

_exit_code = 0


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Only what is meant for Blender: its Python lacks the packages that other tests and their conftest need."""
    meant = any(collection_path.rglob(NAMES)) if collection_path.is_dir() else collection_path.match(NAMES)
    return None if meant else True


def pytest_configure(config: pytest.Config) -> None:
    import build_addon

    archive = build_addon.build(Path(tempfile.mkdtemp()))
    install(archive)


def pytest_sessionfinish(session: pytest.Session, exitstatus: Any) -> None:
    global _exit_code
    _exit_code = int(exitstatus)


def pytest_unconfigure(config: pytest.Config) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    _scratch.cleanup()
    os._exit(_exit_code)
