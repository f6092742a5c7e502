# SPDX-License-Identifier: GPL-3.0-or-later
"""Duohand without a window: `blender -b -c duohand TAKE --blend X.blend --fbx X.fbx --picture X.png`.

The same plain functions that the panels' buttons call. From a script: `from bl_ext.user_default.duohand
import command; command.run([...])`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from inference_core.shared.errors import DuohandError, RequestError
from inference_core.shared.take import load_take
from inference_core.shared.whole_file import check_name

from .export import writers
from .export.picture import render_over_plate
from .export.presets import FBX_PRESETS
from .messages import said_by_blender
from .take.apply_take import Applied, apply_take
from .take.settings import ApplySettings

_NAME = "duohand"
_registered: list[Any] = []


def run(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code: 0, or 2 with a message if the user can fix the problem."""
    options = _parser().parse_args(arguments)
    try:
        applied = _load(options)
        for warning in applied.warnings:
            print(f"duohand: {warning}", file=sys.stderr)
        for path in _write(options, applied):
            print(path)
    except DuohandError as error:
        print(f"duohand: {error}", file=sys.stderr)
        return 2
    return 0


def register() -> None:
    _registered.append(bpy.utils.register_cli_command(_NAME, run))


def unregister() -> None:
    bpy.utils.unregister_cli_command(_registered.pop())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_NAME, description="Load a take into the open file, and write what came of it."
    )
    parser.add_argument("take", type=Path, help="a take (.npz)")
    parser.add_argument("--blend", type=Path, help="save the file here")
    parser.add_argument("--fbx", type=Path, help="export the hands as FBX")
    parser.add_argument(
        "--preset", choices=list(FBX_PRESETS), default="BLENDER", help="the program that the FBX is for"
    )
    parser.add_argument("--glb", type=Path, help="export the hands as binary glTF")
    parser.add_argument("--usd", type=Path, help="export the hands as USD")
    parser.add_argument("--bvh", type=Path, help="export the hands as BVH, one file per hand")
    parser.add_argument("--picture", type=Path, help="render the hands over the footage to a PNG")
    parser.add_argument("--frame", type=int, help="scene frame of the picture (the middle one)")
    parser.add_argument("--width", type=int, help="width of the picture in pixels (the footage's)")
    parser.add_argument("--timing", choices=("SECONDS", "FRAMES"), default="SECONDS")
    parser.add_argument("--keep-rate", action="store_true", help="leave the scene's frame rate as it is")
    return parser


def _load(options: argparse.Namespace) -> Applied:
    path = options.take.resolve()
    settings = ApplySettings(timing=options.timing, set_rate=not options.keep_rate)
    return apply_take(bpy.context.scene, load_take(path), str(path), settings)


def _write(options: argparse.Namespace, applied: Applied) -> list[Path]:
    scene, shot = bpy.context.scene, applied.shot
    written: list[Path] = []
    if options.picture:
        frame = options.frame if options.frame is not None else (scene.frame_start + scene.frame_end) // 2
        render_over_plate(scene, shot, options.picture.resolve(), frame, options.width)
        written.append(options.picture)
    if options.fbx:
        written += writers.export_fbx(scene, shot, options.fbx.resolve(), options.preset)
    for path, write in (
        (options.glb, writers.export_glb),
        (options.usd, writers.export_usd),
        (options.bvh, writers.export_bvh),
    ):
        if path:
            written += write(scene, shot, path.resolve())
    if options.blend:
        _save(options.blend.resolve())
        written.append(options.blend)
    return written


def _save(path: Path) -> None:
    check_name(path, (".blend",), "A Blender file")
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(path))
    except RuntimeError as error:
        raise RequestError(f"{path} could not be written: {said_by_blender(error)}.") from error
