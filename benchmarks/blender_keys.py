# SPDX-License-Identifier: GPL-3.0-or-later
"""How long Blender takes to key two hands, against `keyframe_insert`; and to show, read and export them.

    .venv-bpy42/bin/python -m benchmarks.blender_keys

Times are this process's processor time; Blender does nearly all of this on one thread.
Budgets: 10,000 frames of two hands keyed in under 1.5 s without reading the file, at least 50 times faster.
"""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.blender_addon import in_blender

FEW = 50  # frames of one hand on which keyframe_insert is timed


def main() -> None:
    in_blender.pytest_configure(None)
    import bpy
    import numpy as np

    from tests.blender_addon import scenes

    def module(name: str, room: str = "scene") -> Any:
        import importlib

        return importlib.import_module(f"{in_blender.EXTENSION}.{room}.{name}")

    hand_keys, motion, fcurves, rest = (
        module(name) for name in ("hand_keys", "motion", "fcurves", "rest_bones")
    )
    hand_rig, read_take = module("hand_rig"), module("read_take", "take")
    scenes.empty_scene()
    take = scenes.made("long")
    shot = scenes.load("one_frame")
    frames = scenes.row_frames(take)
    frames_at_rest = {
        side: hand_rig.rest_frames(scenes.hand(shot, side).data, rest.bone_names(side)) for side in range(2)
    }

    def key_both() -> None:
        for side in range(2):
            armature = scenes.hand(shot, side)
            solved = motion.solved_motion(take, side, frames_at_rest[side], 1.0)
            channels = fcurves.assign_new_action(armature, "benchmark")
            names = rest.bone_names(side)
            for _ in hand_keys.motion_steps(channels, names, solved, frames, "QUATERNION"):
                pass
            hand_keys.write_confidence(
                channels, armature, take.confidence[:, side], take.present[:, side], frames
            )

    bulk_s = best_of(3, key_both)
    keys = 2 * len(frames) * (16 * 4 + 3 + 1)
    print(f"Blender {bpy.app.version_string}, {len(frames)} frames of two hands")
    print(f"  keyed in bulk           {bulk_s:8.3f} s   {bulk_s / keys * 1e6:7.3f} us a key")
    armature = scenes.hand(shot, 0)
    after = range(len(frames), len(frames) + FEW)
    on_full_s = time_of(lambda: insert(armature, after)) / FEW
    fcurves.assign_new_action(armature, "one by one")
    on_empty_s = time_of(lambda: insert(armature, range(FEW))) / FEW
    # The cost of an insertion grows with the keys that are there, from the first frame's to the last's.
    inserted_s = 2 * len(frames) * (on_empty_s + on_full_s) / 2
    print(
        f"  keyframe_insert         {on_empty_s * 1e3:8.3f} ms a hand's first frame, {on_full_s * 1e3:.1f} ms its last"
    )
    print(f"    so for all of them    {inserted_s:8.0f} s, {inserted_s / bulk_s:.0f} times as long")
    scene = scenes.empty_scene()
    print(f"  load_take, file and all {time_of(lambda: scenes.load('long')):8.3f} s")
    shot = scene.collection.children[0]
    some = np.arange(1, 201)
    shown_s = time_of(lambda: [scene.frame_set(int(frame)) for frame in some])
    print(f"  scrubbing, both skins   {shown_s / len(some) * 1e3:8.2f} ms a frame")
    for thing in [thing for thing in shot.objects if thing.type == "MESH"]:
        thing.hide_viewport = True
    shown_s = time_of(lambda: [scene.frame_set(int(frame)) for frame in some])
    print(f"  scrubbing, bones only   {shown_s / len(some) * 1e3:8.2f} ms a frame")
    print(f"  scene back to a take    {time_of(lambda: read_take.read_take(scene, shot, take)):8.3f} s")
    scene = scenes.empty_scene()
    scenes.load("at_60_fps")
    for kind in ("fbx", "glb", "usd", "bvh"):
        work = partial(export, kind, scenes.takes_folder() / f"benchmark.{kind}")
        print(f"  export {kind}, {scene.frame_end} frames   {time_of(work):8.3f} s")


def export(kind: str, path: Path) -> None:
    import bpy

    getattr(bpy.ops.duohand, f"export_{kind}")(filepath=str(path))


def insert(armature: Any, frames: Any) -> None:
    """One hand keyed as most add-ons do it."""
    for frame in frames:
        for bone in armature.pose.bones:
            bone.keyframe_insert("rotation_quaternion", frame=frame)
        armature.pose.bones[0].keyframe_insert("location", frame=frame)


def best_of(times: int, work: Callable[[], Any]) -> float:
    return min(time_of(work) for _ in range(times))


def time_of(work: Callable[[], Any]) -> float:
    """Processor seconds: other work on the machine does not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
