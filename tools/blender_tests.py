# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's tests in several versions of Blender: python -m tools.blender_tests 4.2 4.5 5.0 5.2

Two versions are tested side by side; each prints what its tests say once they are done.

Blender 4.2 occasionally crashes in its own glTF exporter, when that sets the window's scene. A process that is ended by
a signal is run once more, with a message; a failing test is never repeated. Exports have a process of
their own, so that little is run twice.
"""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tools.blender_environments import BLENDERS, ROOT, known, make

_COMMAND = ("-m", "pytest", "-p", "tests.blender_addon.in_blender", "-p", "no:cacheprovider")
_PARTS = (("tests/seams",), ("tests", "--ignore=tests/seams"))
_SIDE_BY_SIDE = 2


def main(versions: list[str]) -> int:
    """Run the versions; the first exit code that is not 0."""
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        return next((code for code in list(pool.map(_test, known(versions))) if code), 0)


def _test(version: str) -> int:
    make(BLENDERS[version])
    for part in _PARTS:
        code = _run(version, part)
        if code < 0:
            print(f"Blender {version} was ended by signal {-code}; its tests run once more.", flush=True)
            code = _run(version, part)
        if code:
            return code if code > 0 else 1
    return 0


def _run(version: str, part: Sequence[str]) -> int:
    python = ROOT / BLENDERS[version].folder / "bin" / "python"
    done = subprocess.run(
        [str(python), *_COMMAND, *part],
        cwd=ROOT,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    print(f"Blender {version}, {part[0]}:\n{done.stdout}", flush=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
