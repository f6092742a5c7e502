# SPDX-License-Identifier: GPL-3.0-or-later
"""Re:InterHand (Moon et al., NeurIPS 2023 data sets) as published: captured hands under other places' light.

Only the 20 static cameras are used, not the head-mounted fisheye ones. MANO fits and cameras are as in InterHand2.6M,
except for one file per hand and camera translations in place of positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from inference_core.shared.skeleton import SIDES
from training.data.item import DamagedItemError, DataSetError, first_missing
from training.data.raw_entry import Fits, RawEntry, intrinsics, read_json

_CAMERAS, _FITS = "Mugsy_cameras", "mano_fits/params"
# One environment per frame, or one per run of frames.
_LIGHTS = ("envmap_per_frame", "envmap_per_segment")
# The makers' test captures, by date and subject.
TEST_CAPTURES = ("m--20221215--0949--RNS217", "m--20221216--0953--NKC880", "m--20230317--1130--QZX685")


def is_re_interhand(raw: Path) -> bool:
    """Whether a folder holds captures of this data set."""
    return any(raw.glob(f"m--*/{_CAMERAS}"))


def re_interhand_entries(raw: Path, split: str) -> Iterator[RawEntry]:
    """Every camera's picture of every frame with fits of both hands. split: "train" or "test".

    Raises DataSetError naming the first missing piece.
    """
    captures = [path for path in sorted(raw.glob("m--*")) if path.is_dir() and _split(path) == split]
    if not captures:
        raise DataSetError(
            f"{raw} holds no capture of Re:InterHand's {split} split. docs/datasets.md says which belong to it."
        )
    for capture in captures:
        first_missing(capture, [f"{_CAMERAS}/cam_params.json", _FITS], "Re:InterHand")
        lights = [capture / _CAMERAS / light / "images" for light in _LIGHTS]
        if not any(folder.is_dir() for folder in lights):
            first_missing(capture, [f"{_CAMERAS}/{_LIGHTS[0]}/images"], "Re:InterHand")
        cameras = read_json(capture / _CAMERAS / "cam_params.json", DataSetError)
        for name, camera in sorted(cameras.items()):
            K = intrinsics(camera["focal"], camera["princpt"])
            turn, shift_m = np.asarray(camera["R"], np.float32), np.asarray(camera["t"], np.float32) / 1000
            for folder in lights:
                for picture in sorted((folder / name).glob("*.png")):
                    fits = [capture / _FITS / f"{int(picture.stem)}_{side}.json" for side in SIDES]
                    if all(path.exists() for path in fits):
                        yield RawEntry(picture, turn, shift_m, K, partial(_fits, fits[0], fits[1]))


def _split(capture: Path) -> str:
    return "test" if capture.name.startswith(TEST_CAPTURES) else "train"


def _fits(left: Path, right: Path) -> Fits:
    return read_json(left, DamagedItemError), read_json(right, DamagedItemError)
