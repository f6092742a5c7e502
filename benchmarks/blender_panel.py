# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person waits for in Blender: drawing the panels, a finished capture coming in, clean-up on 1,000 frames.

    .venv-bpy42/bin/python -m benchmarks.blender_panel

Times are processor time of Blender's own thread, the best of a few runs. Budgets: all panels drawn in under 1 ms
together; the smoothing slider answers in under 0.2 s for 1,000 frames of two hands; no poll of a running capture
holds Blender for 0.1 s.
"""

import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.blender_addon import in_blender

FRAMES = 1000
FAKE = Path(in_blender.__file__).with_name("fake_engine.py")
ROOMS = ("capture", "take", "review", "cleanup", "retarget", "export")


class Layout:
    """Accepts every call that a panel's draw makes on its layout, so that only the add-on's own work is timed."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *_args, **_keywords: self


def main() -> None:
    in_blender.pytest_configure(None)
    import bpy

    from tests.blender_addon import scenes

    scenes.empty_scene()
    print(f"Blender {bpy.app.version_string}")
    take = take_of(FRAMES)
    load_s = best_of(3, lambda: bpy.ops.duohand.load_take(filepath=str(take)))
    print(f"  load_take, {FRAMES} frames      {load_s * 1e3:8.1f} ms")
    scene = bpy.context.scene
    slider = best_of(5, lambda: setattr(scene, "duohand_smoothing", 0.4))
    print(f"  smoothing slider           {slider * 1e3:8.1f} ms")
    print(f"  hold a range               {best_of(3, hold) * 1e3:8.1f} ms")
    print(f"  next uncertain span        {best_of(3, next_uncertain) * 1e3:8.1f} ms")
    print(f"  reduce keys to 0.5 mm      {best_of(1, reduce) * 1e3:8.1f} ms")
    draw_all = panels(bpy.context)
    print(f"  all panels drawn           {best_of(50, draw_all) * 1e3:8.3f} ms")
    scenes.empty_scene()
    for name, path in (("1,000", take), ("10,000", scenes.take_file("long"))):
        longest, most = capture_steps(path)
        print(
            f"  polls of a capture, {name} frames: longest {longest * 1e3:.0f} ms, 95% under {most * 1e3:.0f} ms"
        )


def take_of(frames: int) -> Path:
    """The 10,000-frame take cut to its first frames."""
    from dataclasses import fields, replace

    from inference_core.shared.take import load_take, save_take
    from tests.blender_addon import scenes

    whole = load_take(scenes.take_file("long"))
    count = len(whole.time_s)
    cut = {
        item.name: value[:frames]
        for item in fields(whole)
        if getattr(value := getattr(whole, item.name), "shape", (0,))[:1] == (count,)
    }
    path = scenes.takes_folder() / f"first_{frames}.npz"
    save_take(replace(whole, **cut), path)
    return path


def hold() -> None:
    import bpy

    bpy.ops.duohand.hold_range(first=100, last=120)


def next_uncertain() -> None:
    import bpy

    bpy.context.scene.frame_current = 1
    try:
        bpy.ops.duohand.next_uncertain()
    except RuntimeError:
        return


def reduce() -> None:
    import bpy

    bpy.ops.duohand.reduce_keys(max_error_mm=0.5)


def panels(context: Any) -> Callable[[], None]:
    """A call that draws every panel of the tab."""
    modules = [importlib.import_module(f"{in_blender.EXTENSION}.{room}.panel") for room in ROOMS]
    classes = [
        item for module in modules for item in module.CLASSES if item.__name__.startswith("DUOHAND_PT")
    ]

    def draw_all() -> None:
        for panel in classes:
            if not hasattr(panel, "poll") or panel.poll(context):
                draw_shots = getattr(panel, "draw_shots", None)
                panel.draw(SimpleNamespace(layout=Layout(), draw_shots=draw_shots), context)

    return draw_all


def capture_steps(path: Path) -> tuple[float, float]:
    """Seconds of the longest poll of a capture, start and the take's coming in included, and of all but a twentieth."""
    import bpy
    import numpy as np

    folder = Path(tempfile.mkdtemp())
    program = folder / "engine"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} {FAKE} {path}\n")
    program.chmod(0o755)
    preferences = importlib.import_module(f"{in_blender.EXTENSION}.preferences").addon_preferences()
    preferences.engine, preferences.log_folder = str(program), str(folder)
    scene = bpy.context.scene
    scene.duohand.take_folder = str(folder)
    scene.duohand.footage = str(in_blender.ROOT / "inference_core" / "demo" / "two_hands.mp4")
    runs = importlib.import_module(f"{in_blender.EXTENSION}.capture.runs").RUNS
    capture = importlib.import_module(f"{in_blender.EXTENSION}.capture.operators")
    start_s = time_of(lambda: capture.start_capture(scene))
    times = [start_s]
    while runs.state is not None:
        times.append(time_of(runs.step))
        time.sleep(0.02)
    return max(times), float(np.percentile(times, 95))


def best_of(times: int, work: Callable[[], Any]) -> float:
    return min(time_of(work) for _ in range(times))


def time_of(work: Callable[[], Any]) -> float:
    """Processor seconds of this thread, Blender's own: other work on the machine does not count."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
