# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognises the engine that wrote the files, and reads the hands in them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inference_core.exchange.engine_hands import EngineHands, check_hands
from inference_core.exchange.frame_results import frame_hands
from inference_core.exchange.mano_file import MANO_FILE_KEY, mano_file_hands
from inference_core.exchange.result_file import read_result_file
from inference_core.exchange.track_results import (
    dyn_hamr_hands,
    hawor_hands,
    is_dyn_hamr,
    is_dyn_hamr_tracks,
    is_hawor,
    is_hawor_camera,
)
from inference_core.shared.errors import RequestError

SUFFIXES = (".npz", ".npy", ".pkl", ".pickle", ".joblib", ".pth", ".pt", ".json")
_MOST_FILES = 100_000


def read_engine_hands(paths: Sequence[Path], first: int | None) -> EngineHands:
    """The hands in the files, or in the result files of the folders.

    first: number of the footage's first frame in the results. RequestError if no engine wrote
    them, TakeError if they hold what no take can hold.
    """
    files = _files(paths)
    try:
        hands = _hands(files, first)
    except (ValueError, TypeError, LookupError, OverflowError) as fault:
        raise RequestError(f"{files[0]} is damaged ({fault}). Write the results again.") from fault
    check_hands(hands, str(files[0]))
    return hands


def _hands(files: Sequence[Path], first: int | None) -> EngineHands:
    results = [(path, read_result_file(path)) for path in files]
    cameras = [content for _, content in results if is_hawor_camera(content)]
    tracks = [content for _, content in results if is_dyn_hamr_tracks(content)]
    for path, content in reversed(results):  # of a folder of Dyn-HaMR's steps the last
        if isinstance(content, dict) and MANO_FILE_KEY in content:
            return mano_file_hands(content)
        if is_hawor(content):
            return hawor_hands(content, cameras[0] if cameras else _camera_beside(path), -(first or 0))
        if is_dyn_hamr(content):
            return dyn_hamr_hands(content, tracks[0] if tracks else _tracks_beside(path), -(first or 0))
    if cameras:
        raise RequestError(
            f"{files[0]} is HaWoR's camera. Give world_space_res.pth as well, which holds the hands."
        )
    engine = "WiLoR" if any(_names(content, "wilor_preds") for _, content in results) else "HaMeR"
    return frame_hands([(path.name, content) for path, content in results], engine, first)


def _camera_beside(path: Path) -> Any:
    """HaWoR's camera file, found beside its results; None if there is none."""
    found = sorted((path.parent / "SLAM").glob("hawor_slam_w_scale_*.npz"))
    return read_result_file(found[0]) if found else None


def _tracks_beside(path: Path) -> Any:
    """Dyn-HaMR's track_info.json, which it puts into the folder above; None if there is none."""
    found = [folder / "track_info.json" for folder in (path.parent, path.absolute().parent.parent)]
    return next((read_result_file(file) for file in found if file.is_file()), None)


def _names(content: Any, key: str, depth: int = 3) -> bool:
    """Whether the content has the key within its first few levels."""
    if isinstance(content, dict):
        return key in content or (
            depth > 0 and any(_names(value, key, depth - 1) for value in content.values())
        )
    return isinstance(content, list) and depth > 0 and any(_names(value, key, depth - 1) for value in content)


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        inside = (
            sorted(file for file in path.iterdir() if file.suffix in SUFFIXES) if path.is_dir() else [path]
        )
        if not inside:
            raise RequestError(f"{path} holds no results: none of {', '.join(SUFFIXES)}.")
        files += inside
    if len(files) > _MOST_FILES:
        raise RequestError(f"{len(files)} files are too many for the pictures of one shot.")
    return files
