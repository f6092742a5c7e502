# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension updated in a running Blender: the new release runs, and old settings stay."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import build_addon
from tests.blender_addon.scenes import ROOT, take_file

PROGRAM = """
import importlib, os, sys, tempfile
os.environ["BLENDER_USER_RESOURCES"] = tempfile.mkdtemp()
import bpy
import addon_utils
NAME = "bl_ext.user_default.duohand"

def install(path, enable):
    bpy.ops.extensions.package_install_files(
        filepath=path, repo="user_default", enable_on_install=enable, overwrite=True)

bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
old, new, take = sys.argv[1:]
install(old, False)
addon_utils.enable(NAME, default_set=True)
bpy.ops.duohand.load_take(filepath=take)
bpy.context.scene.duohand.start_frame = 7
install(new, True)
if not addon_utils.check(NAME)[1]:
    addon_utils.enable(NAME, default_set=True)
assert sys.modules["inference_core"].__version__ == "9.9.9", sys.modules["inference_core"].__version__
assert importlib.import_module(NAME + ".scene.timing").NEW == "new"
assert bpy.ops.duohand.load_take(filepath=take) == {"FINISHED"}
assert bpy.context.scene.duohand.start_frame == 7
addon_utils.disable(NAME)
addon_utils.enable(NAME, default_set=True)
assert bpy.ops.duohand.load_take(filepath=take) == {"FINISHED"}
print("WELL", flush=True)
os._exit(0)
"""


def newer_checkout(folder: Path) -> Path:
    """A copy of what the extension is built from, with another version and code that needs the new core."""
    folder.mkdir()
    for name in ("blender_addon", "inference_core"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "demo", "*.safetensors")
        )
    for name in ("build_addon.py", "pyproject.toml", "LICENSE", "NOTICE", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    init = folder / "inference_core" / "__init__.py"
    init.write_text(init.read_text().replace(f'__version__ = "{version()}"', '__version__ = "9.9.9"'))
    with (folder / "inference_core" / "shared" / "errors.py").open("a") as file:
        file.write('\n\nBRAND_NEW = "new"\n')
    with (folder / "blender_addon" / "scene" / "timing.py").open("a") as file:
        file.write("\n\nfrom inference_core.shared.errors import BRAND_NEW\n\nNEW = BRAND_NEW\n")
    return folder


def version() -> str:
    text = (ROOT / "inference_core" / "__init__.py").read_text()
    return text.partition('__version__ = "')[2].partition('"')[0]


def test_an_update_in_a_running_blender_works_at_once(tmp_path: Path) -> None:
    old = build_addon.build(tmp_path / "old", with_core=False)
    checkout = newer_checkout(tmp_path / "checkout")
    built = subprocess.run(
        [sys.executable, "build_addon.py", "--no-core", "--out", str(tmp_path / "new")],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=True,
    )
    new = Path(built.stdout.strip().splitlines()[-1])
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(old), str(new), str(take_file("two_hands"))],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert "WELL" in ran.stdout, ran.stdout + ran.stderr
