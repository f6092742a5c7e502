# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the environments for testing the add-on: a bpy wheel of each Blender version, with pytest.

    python -m tools.blender_environments 4.2 4.5 5.0 5.2

writes .venv-bpy42 and so on; existing ones stay. Each downloads 350-400 MB and installs 1 GB. The interpreter is
searched for on the PATH and among pyenv's; DUOHAND_PYTHON_3_13=/path/to/python names one.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Blender:
    """A version of Blender as a Python module: what to install, and the Python that it is built for."""

    folder: str
    python: str
    packages: tuple[str, ...]


BLENDERS = {
    # 4.2 was built against numpy 1 and does not say so in its metadata.
    "4.2": Blender(".venv-bpy42", "3.11", ("bpy==4.2.23", "numpy==1.26.4")),
    "4.5": Blender(".venv-bpy45", "3.11", ("bpy==4.5.15",)),
    "5.0": Blender(".venv-bpy50", "3.11", ("bpy==5.0.1",)),
    "5.2": Blender(".venv-bpy52", "3.13", ("bpy==5.2.3",)),
}


def main(versions: list[str]) -> int:
    for version in known(versions):
        make(BLENDERS[version])
    return 0


def known(versions: list[str]) -> list[str]:
    """The versions, or all there are if none is given; ends the program if one is unknown."""
    for version in versions:
        if version not in BLENDERS:
            raise SystemExit(f"There is no Blender {version} here; possible are {', '.join(BLENDERS)}.")
    return versions or list(BLENDERS)


def make(blender: Blender) -> None:
    """Make the environment unless it exists and is complete."""
    folder = ROOT / blender.folder
    done = folder / ".ready"
    if done.exists() and done.read_text() == _wanted(blender):
        return
    subprocess.run([interpreter(blender.python), "-m", "venv", "--clear", str(folder)], check=True)
    python = folder / "bin" / "python"
    install = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-cache-dir",
        *blender.packages,
        "pytest>=8",
    ]
    subprocess.run(install, check=True)
    done.write_text(_wanted(blender))
    print(f"{blender.folder}: {' '.join(blender.packages)}")


def interpreter(version: str) -> str:
    """A working Python of that version; a SystemExit says what to do if there is none."""
    named = os.environ.get(f"DUOHAND_PYTHON_{version.replace('.', '_')}")
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for candidate in (named, shutil.which(f"python{version}"), *map(str, reversed(pyenv))):
        if candidate and _runs(candidate, version):
            return candidate
    raise SystemExit(
        f"No Python {version} was found. Install it, or name one: "
        f"DUOHAND_PYTHON_{version.replace('.', '_')}=/path/to/python"
    )


def _runs(candidate: str, version: str) -> bool:
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    output = subprocess.run([candidate, "-c", ask], capture_output=True, text=True, check=False)
    return output.stdout.strip() == version


def _wanted(blender: Blender) -> str:
    return " ".join((blender.python, *blender.packages))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
