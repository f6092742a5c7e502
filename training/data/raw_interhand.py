# SPDX-License-Identifier: GPL-3.0-or-later
"""InterHand2.6M as published: pictures, and one annotation file per kind and split.

The selection follows the preparation that DIR's data came from: 'interacting' annotations with a valid hand
type and MANO fits of both hands.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from inference_core.shared.skeleton import SIDES
from training.data.item import DataSetError, first_missing
from training.data.raw_entry import Fits, RawEntry, intrinsics, read_json

ANNOTATION_FILES = ("data", "camera", "joint_3d", "MANO_NeuralAnnot")


def interhand_entries(raw: Path, split: str) -> Iterator[RawEntry]:
    """The selected annotations, in the data set's order. Raises DataSetError naming the first missing piece."""
    folder = f"annotations/{split}"
    files = [f"{folder}/InterHand2.6M_{split}_{name}.json" for name in ANNOTATION_FILES]
    first_missing(raw, [f"images/{split}", *files], "InterHand2.6M")
    data, cameras, _, fits = (read_json(raw / file, DataSetError) for file in files)
    images = {image["id"]: image for image in data["images"]}
    for annotation in data["annotations"]:
        image = images[annotation["image_id"]]
        capture, frame = str(image["capture"]), str(image["frame_idx"])
        fit = fits.get(capture, {}).get(frame, {})
        left, right = (fit.get(side) for side in SIDES)
        interacting = annotation["hand_type"] == "interacting" and annotation["hand_type_valid"]
        if not interacting or left is None or right is None:
            continue
        camera = {name: values[str(image["camera"])] for name, values in cameras[capture].items()}
        turn = np.asarray(camera["camrot"], np.float32)
        place_mm = np.asarray(camera["campos"], np.float32)
        both: Fits = (left, right)
        yield RawEntry(
            raw / "images" / split / image["file_name"],
            turn,
            -turn @ place_mm / 1000,
            intrinsics(camera["focal"], camera["princpt"]),
            lambda both=both: both,
        )
