# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a drive in a Blender with a window, and takes the pictures of the screen that it asks for.

Needs DUOHAND_BLENDER_WINDOW, a program that knows `run ARGS`, `engine PYTHON` and `shot FILE.png` (make gui-test
looks for one).
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import build_addon

ROOT = Path(__file__).parents[2]
TOOL = os.environ.get("DUOHAND_BLENDER_WINDOW", "")
FOOTAGE = ROOT / "inference_core" / "demo" / "two_hands.mp4"
LIMIT_S = 1200


def driven(script: str) -> dict[str, Any]:
    """What the drive found; its files lie in `work_folder`, its pictures in `pictures_of`."""
    if not TOOL:
        pytest.skip("no Blender with a window is given (DUOHAND_BLENDER_WINDOW)")
    folder, pictures = work_folder(script), pictures_of(script)
    for made in (folder, pictures):
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
    footage = shutil.copy(FOOTAGE, folder)
    environment = {**os.environ, "WORK": str(ROOT)}
    engine = subprocess.run(
        [TOOL, "engine", sys.executable], env=environment, capture_output=True, text=True, check=True
    )
    arguments = [str(folder), str(build_addon.build(folder)), engine.stdout.strip(), str(footage)]
    command = [TOOL, "run", "--enable-event-simulate", "--window-geometry", "0", "0", "1600", "1000"]
    command += ["--python", str(Path(__file__).with_name(f"{script}.py")), "--", *arguments]
    with (folder / "blender.log").open("w") as log:
        blender = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            _take_pictures(folder, pictures, blender, environment)
        finally:
            blender.kill()
    answer = folder / "result.json"
    assert answer.exists(), (folder / "blender.log").read_text()[-3000:]
    return json.loads(answer.read_text())


def work_folder(script: str) -> Path:
    """Where the drive of that name works."""
    return ROOT / ".blender43" / script


def pictures_of(script: str) -> Path:
    """Where the pictures of the drive of that name are left."""
    return ROOT / "demo" / script.removeprefix("drive_")


def _take_pictures(
    folder: Path, pictures: Path, blender: "subprocess.Popen[bytes]", environment: dict[str, str]
) -> None:
    request, end = folder / "picture.json", time.monotonic() + LIMIT_S
    while not (folder / "result.json").exists() and blender.poll() is None and time.monotonic() < end:
        if request.exists():
            time.sleep(0.5)
            asked = json.loads(request.read_text())
            file = pictures / f"{asked['name']}.png"
            subprocess.run([TOOL, "shot", str(file)], env=environment, check=False)
            if asked["rectangle"]:
                cut_out(file, asked["rectangle"])
            request.unlink()
        time.sleep(0.1)


def cut_out(file: Path, rectangle: list[int]) -> None:
    """Keep that rectangle of the screen (x, y, width, height from the lower left), without the empty part below."""
    x, y, width, height = rectangle
    with Image.open(file) as screen:
        top = screen.height - y - height
        part = screen.convert("RGB").crop((x, top, x + width, top + height))
    pixels = np.asarray(part)[:, 4 : width - 30]  # without the tabs and their border
    used = np.flatnonzero((np.ptp(pixels.astype(int), axis=1) > 12).any(1))
    if len(used):
        part = part.crop((0, 0, width, min(height, int(used[-1]) + 12)))
    part.quantize(64).save(file, optimize=True)
