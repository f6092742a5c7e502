# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pipeline's script does: install the zip, load a take, save the file, export.  ZIP TAKE FOLDER

In a fresh Blender, with no checkout on the path: `blender -b --python script_of_a_user.py -- ZIP TAKE FOLDER`.
"""

import importlib
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("BLENDER_USER_RESOURCES", tempfile.mkdtemp(prefix="duohand-script-"))

import bpy

archive, take, out = (Path(text) for text in sys.argv[-3:])
bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
bpy.ops.extensions.package_install_files(
    filepath=str(archive), repo="user_default", enable_on_install=False, overwrite=True
)
importlib.import_module("addon_utils").enable("bl_ext.user_default.duohand", default_set=True)
import inference_core  # noqa: E402 - unpacked from the extension's wheel

assert "site-packages" in inference_core.__file__, inference_core.__file__
print("WHEEL", inference_core.__file__)
bpy.ops.duohand.load_take(filepath=str(take))
bpy.ops.wm.save_as_mainfile(filepath=str(out / "shot.blend"))
bpy.ops.duohand.export_fbx(filepath=str(out / "hands.fbx"), preset="UNREAL", sides="BOTH")
bpy.ops.duohand.save_take(filepath=str(out / "back.npz"))
sys.stdout.flush()
os._exit(0)
