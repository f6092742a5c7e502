# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on in a Blender with a real window: clip to FBX by a person's steps, with the real engine.

Needs DUOHAND_BLENDER_WINDOW, a program that knows `run ARGS`, `engine PYTHON` and `shot FILE.png` (make gui-test
looks for one). Pictures of every panel are left in the folder demo/window.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import build_addon

ROOT = Path(__file__).parents[2]
TOOL = os.environ.get("DUOHAND_BLENDER_WINDOW", "")
PICTURES = ROOT / "demo" / "window"

pytestmark = pytest.mark.gui


@pytest.fixture(scope="module")
def result() -> dict[str, object]:
    """What the driven Blender found; its pictures lie in PICTURES."""
    if not TOOL:
        pytest.skip("no Blender with a window is given (DUOHAND_BLENDER_WINDOW)")
    folder = ROOT / ".blender43" / "drive"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    archive = build_addon.build(folder)
    footage = shutil.copy(ROOT / "inference_core" / "demo" / "two_hands.mp4", folder)
    environment = {**os.environ, "WORK": str(ROOT)}
    engine = subprocess.run(
        [TOOL, "engine", sys.executable], env=environment, capture_output=True, text=True, check=True
    )
    script = Path(__file__).with_name("drive_window.py")
    arguments = [str(folder), str(archive), engine.stdout.strip(), str(footage)]
    command = [TOOL, "run", "--enable-event-simulate", "--window-geometry", "0", "0", "1600", "1000"]
    with (folder / "blender.log").open("w") as log:
        blender = subprocess.Popen(
            [*command, "--python", str(script), "--", *arguments], env=environment, stdout=log, stderr=log
        )
        try:
            _take_pictures(folder, blender, environment)
        finally:
            blender.kill()
    answer = folder / "result.json"
    assert answer.exists(), (folder / "blender.log").read_text()[-3000:]
    return json.loads(answer.read_text())


def test_the_button_starts_a_capture_that_ends_with_both_hands(result: dict[str, object]) -> None:
    assert "error" not in result, result.get("error")
    assert result["pressed"]
    assert "both hands captured" in str(result["outcome"])
    assert len(result["armatures"]) == 2  # type: ignore[arg-type]


def test_a_second_clip_is_a_second_shot_and_escape_cancels_only_over_the_panel(
    result: dict[str, object],
) -> None:
    assert result["shots"] == ["take_02", "two_hands"] and result["takes"] == 2
    assert result["escape_over_view"] == "RUNNING" and result["escape_over_panel"] != "RUNNING"
    assert "both hands captured" in str(result["escape_over_view_outcome"])
    assert "cancelled" in str(result["escape_over_panel_outcome"])


def test_what_changes_all_frames_asks_first(result: dict[str, object]) -> None:
    assert result["asked_swap_sides"] == [True, True, True, False]
    assert result["asked_delete_range"] == [True, True]


def test_contact_is_made_and_undone_by_a_key(result: dict[str, object]) -> None:
    assert "Solved frames" in str(result["contact"])
    assert result["contact_moved"] and result["contact_undone"]


def test_a_mixamo_and_a_rigify_character_follow(result: dict[str, object]) -> None:
    assert result["baked_MIXAMO"] and result["baked_RIGIFY"]
    assert result["film_transparent"]


def test_the_hands_are_exported_as_fbx(result: dict[str, object]) -> None:
    assert int(str(result["fbx_bytes"])) > 100_000


def test_blender_stays_usable_during_the_capture(result: dict[str, object]) -> None:
    # The script inside Blender asked for this picture between two frames of the running capture.
    assert "pressed" in result and (PICTURES / "03_capturing.png").exists()


def test_every_step_wrote_its_picture(result: dict[str, object]) -> None:
    assert len(list(PICTURES.glob("*.png"))) >= 6


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


def test_every_panel_has_a_small_picture_for_the_manual(result: dict[str, object]) -> None:
    files = list(PICTURES.glob("panel_*.png"))
    assert len(files) >= 8
    assert all(file.stat().st_size < 60_000 for file in files)


def test_reports_are_german_if_blender_is(result: dict[str, object]) -> None:
    if "german" in result:
        assert "ist kein Take" in str(result["german_load_take"])
        assert "endet, bevor er beginnt" in str(result["german_hold_range"])


def test_the_tab_is_german_if_blender_is(result: dict[str, object]) -> None:
    assert result.get("german", "Hände erfassen") == "Hände erfassen"


def _take_pictures(folder: Path, blender: "subprocess.Popen[bytes]", environment: dict[str, str]) -> None:
    request, end = folder / "picture.json", time.monotonic() + 900
    while not (folder / "result.json").exists() and blender.poll() is None and time.monotonic() < end:
        if request.exists():
            time.sleep(0.5)
            asked = json.loads(request.read_text())
            file = PICTURES / f"{asked['name']}.png"
            subprocess.run([TOOL, "shot", str(file)], env=environment, check=False)
            if asked["rectangle"]:
                cut_out(file, asked["rectangle"])
            request.unlink()
        time.sleep(0.1)
