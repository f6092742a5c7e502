# SPDX-License-Identifier: GPL-3.0-or-later
"""Pins what Install Engine installs, for all systems and Pythons, with the digests of PyPI's files.

    python -m tools.engine_requirements

rewrites blender_addon/engine/installer/requirements.txt from pyproject's dependencies. `uv` must be on the PATH (`pip
install uv`). PyTorch and its CUDA libraries are left out, because each index has its own builds.
"""

import subprocess
import sys
from collections.abc import Iterator

import build_addon
from blender_addon.engine.installer.plan import REQUIREMENTS, TORCH

_HEADER = "# Made by `python -m tools.engine_requirements`; not edited by hand.\n"
_OTHER_SOURCE = ("torch==", "triton==", "cuda-", "nvidia-")


def main() -> int:
    """Write the file; uv's exit code."""
    wanted = "\n".join((TORCH, *build_addon.read_project()["dependencies"]))
    words = "uv pip compile - --universal --generate-hashes --no-header --no-annotate --python-version 3.11"
    uv = subprocess.run(words.split(), input=wanted, stdout=subprocess.PIPE, text=True, check=False)
    if uv.returncode == 0:
        REQUIREMENTS.write_text(_HEADER + "".join(_entries(uv.stdout)))
    return uv.returncode


def _entries(compiled: str) -> Iterator[str]:
    """Lines of the packages that come from PyPI."""
    kept = True
    for line in compiled.splitlines(keepends=True):
        if not line.startswith(" "):
            kept = not line.startswith(_OTHER_SOURCE)
        if kept:
            yield line


if __name__ == "__main__":
    sys.exit(main())
