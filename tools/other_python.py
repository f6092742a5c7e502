# SPDX-License-Identifier: GPL-3.0-or-later
"""The core's tests in another Python than the development one, such as Blender 5.2's.

    python -m tools.other_python 3.13

makes .venv-313 and runs there what can run: all of the core's tests if there is a CPU build of torch (on macOS
and Windows, or the wheel named by DUOHAND_TORCH), otherwise those that do not need torch, because a plain
install would bring gigabytes of CUDA.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from tools.blender_environments import ROOT, interpreter

# Beside the core's own requirements: numpy as Blender brings it, and what its tests need.
_PACKAGES = ("numpy>=2", "pytest>=8", "pytest-xdist>=3.5", "hypothesis>=6.100", "matplotlib>=3.8")
# They come with torch or not at all.
_WITH_TORCH = ("torch", "openvino")
_ALL = ("tests/inference_core", "tests/seams")
_WITHOUT_TORCH = ("tests",)


def main(version: str) -> int:
    """Make the environment, run the tests; pytest's exit code."""
    folder = ROOT / f".venv-{version.replace('.', '')}"
    python = folder / "bin" / "python"
    torch = _cpu_torch()
    if not python.exists():
        subprocess.run([interpreter(version), "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", *_PACKAGES, *_core_requirements(), *torch]
        subprocess.run(install, check=True)
    if torch:
        chosen = _ALL
    else:
        print(
            f"Python {version}: there is no CPU build of torch for it here; only tests that do not need torch run.",
            flush=True,
        )
        chosen = ("-p", "tools.torch_free", *_WITHOUT_TORCH)
    marks = "not slow and not gui"
    return subprocess.run(
        [str(python), "-m", "pytest", "-q", "-m", marks, *chosen], cwd=ROOT, check=False
    ).returncode


def _core_requirements() -> list[str]:
    """What the core needs wherever it runs, by pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [wanted for wanted in project["dependencies"] if not wanted.startswith(_WITH_TORCH)]


def _cpu_torch() -> tuple[str, ...]:
    """Arguments with which pip installs a CPU build of torch; empty if a plain install would bring CUDA."""
    wheel = os.environ.get("DUOHAND_TORCH", "")
    if wheel:
        return (wheel,) if Path(wheel).is_file() else (f"torch=={wheel}",)
    return () if sys.platform.startswith("linux") else ("torch==2.13.0",)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
