# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs an engine as Install Engine does, with this Python instead of Blender's, and starts it.

python -m tools.install_engine FOLDER [WHEEL_FOLDER]
"""

import sys
import time
from pathlib import Path

import build_addon
from blender_addon.engine.environment import EngineCheck
from blender_addon.engine.install_job import InstallJob
from blender_addon.engine.installer.plan import Installation
from blender_addon.engine.system import suggested_torch


def main(folder: Path, wheel_folder: Path | None = None) -> int:
    """Install into the folder; 1 if that fails, or if the installed engine does not answer."""
    name, content = build_addon.core_wheel(build_addon.read_project())
    folder.parent.mkdir(parents=True, exist_ok=True)
    core = folder.with_name(name)
    core.write_bytes(content)
    plan = Installation(folder, Path(sys.executable), str(core), suggested_torch(), wheel_folder)
    job = InstallJob(plan, folder.with_name("install.log"))
    job.start()
    shown = job.state
    while not (state := job.poll()).ended:
        if (state.text, state.detail) != (shown.text, shown.detail):
            print(f"{state.step + 1}/{state.total} {state.text} {state.detail}", flush=True)
            shown = state
        time.sleep(0.1)
    if state.error:
        print(state.error)
        return 1
    check = EngineCheck(job.python, folder.with_name("check.log"))
    while (engine := check.poll()) is None:
        time.sleep(0.1)
    print(engine.text)
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
