# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's command in a bpy interpreter, through the zip built from this checkout.

.venv-bpy45/bin/python -m tools.blender_command TAKE --blend X.blend --fbx X.fbx --picture X.png
"""

import importlib
import os
import sys
import tempfile
from pathlib import Path

from tools.blender_extension import EXTENSION, install

if __name__ == "__main__":
    import build_addon

    with tempfile.TemporaryDirectory() as folder:
        install(build_addon.build(Path(folder)))
    code = importlib.import_module(f"{EXTENSION}.command").run(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # bpy's own exit may hang or crash
