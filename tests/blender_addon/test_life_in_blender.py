# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on in a separate Blender: enabled and disabled silently, and leaving no engine when killed."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.blender_addon.scenes import ROOT

FAKE = Path(__file__).with_name("fake_engine.py")
MOVIE = ROOT / "inference_core" / "demo" / "two_hands.mp4"
REAL = "the engine itself"

START = """
import os, sys, time
from pathlib import Path
from tests.blender_addon import in_blender
in_blender.pytest_configure(None)
import bpy, importlib, addon_utils
"""

SWITCH = """
print("BEGIN", flush=True); print("BEGIN", file=sys.stderr, flush=True)
for _ in range(2):
    addon_utils.disable(in_blender.EXTENSION, default_set=True)
    assert not hasattr(bpy.types.Scene, "duohand") and not hasattr(bpy.types, "DUOHAND_OT_capture")
    addon_utils.enable(in_blender.EXTENSION, default_set=True)
    assert bpy.ops.duohand.load_take.poll()
bpy.ops.preferences.addon_disable(module=in_blender.EXTENSION)
bpy.ops.preferences.addon_enable(module=in_blender.EXTENSION)
print("END", flush=True)
sys.stderr.flush()
os._exit(0)
"""

CAPTURE = """
module = lambda name: importlib.import_module(f"{in_blender.EXTENSION}.{name}")
preferences = module("preferences").addon_preferences()
preferences.engine, preferences.log_folder = os.environ["ENGINE"], os.environ["FOLDER"]
bpy.context.scene.duohand.take_folder = os.environ["FOLDER"]
bpy.context.scene.duohand.footage = os.environ["FOOTAGE"]
module("capture.operators").start_capture(bpy.context.scene)
runs = module("capture.runs").RUNS
while runs.state is not None and runs.state.done < 1:
    runs.step()
    time.sleep(0.01)
job = runs._queue.current
Path(os.environ["FOLDER"], "pid").write_text(str(job.pid))
time.sleep(600)
"""


def run_blender(program: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", START + program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def group(leader: int) -> list[int]:
    """Living processes of the group."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in listed.stdout.splitlines()]
    return [int(pid) for pid, its, state in rows if int(its) == leader and not state.startswith("Z")]


def test_disabling_and_enabling_prints_nothing() -> None:
    out, errors = run_blender(SWITCH).communicate(timeout=120)
    assert "END" in out, errors
    assert out.partition("BEGIN\n")[2] == "END\n"
    assert errors.partition("BEGIN\n")[2] == ""


@pytest.mark.parametrize("behaviour", ["deaf", "hangs", REAL])
def test_a_killed_blender_leaves_no_engine(behaviour: str) -> None:
    folder = Path(tempfile.mkdtemp())
    engine = folder / "engine"
    if behaviour == REAL:
        python = os.environ.get("DUOHAND_ENGINE_PYTHON", str(ROOT / ".venv" / "bin" / "python"))
        engine = Path(python)
    else:
        engine.write_text(f"#!/bin/sh\nexec {sys.executable} {FAKE} {behaviour}\n")
        engine.chmod(0o755)
    blender = run_blender(CAPTURE, ENGINE=str(engine), FOLDER=str(folder), FOOTAGE=str(MOVIE))
    told = folder / "pid"
    until(lambda: (told.exists() and told.read_text()) or blender.poll() is not None, 90)
    assert told.exists(), blender.communicate()
    leader = int(told.read_text())
    assert len(group(leader)) >= 2
    blender.kill()
    blender.communicate()
    until(lambda: not group(leader), 10)


def until(condition: Callable[[], object], limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)
