# SPDX-License-Identifier: GPL-3.0-or-later
"""Real footage and reference values that lie beside the checkout, when they do."""

import os
from pathlib import Path

import pytest

_SHARED = Path(os.environ.get("DUOHAND_SHARED", Path(__file__).parents[2] / "shared"))


def footage_file(name: str) -> Path:
    """Path of a clip or still of the real footage; skips the test, saying so, where it is not there."""
    return _existing(_SHARED / "footage" / name)


def case_file(name: str) -> Path:
    """Path of an input on which the program once failed; skips the test, saying so, where it is not there."""
    return _existing(_SHARED / "cases" / name)


def case_files(folder: str, pattern: str) -> list[Path]:
    """The inputs of a kind on which the program once failed; skips the test, saying so, where there are none."""
    files = sorted(case_file(folder).glob(pattern))
    return files or [_existing(_SHARED / "cases" / folder / pattern)]


def reference_file(name: str) -> Path:
    """Path of a reference file; skips the test, saying so, where it is not there."""
    return _existing(_SHARED / "reference" / name)


def _existing(path: Path) -> Path:
    if not path.exists():
        pytest.skip(
            f"{path.name} is not beside this checkout (set DUOHAND_SHARED to the folder that holds it)"
        )
    return path
