# SPDX-License-Identifier: GPL-3.0-or-later
"""MANO's own files: a folder or the official zip with MANO_LEFT.pkl and MANO_RIGHT.pkl.

The files are the user's, under MANO's licence; no part of them is stored here. Layout: a Python 2 pickle, protocol 2,
whose shapedirs is a chumpy selection and whose J_regressor is a sparse matrix; mano_pickle reads it.
"""

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference_core.hand_model.arrays import SHAPES, HandArrays, checked
from inference_core.hand_model.mano_pickle import read_inert
from inference_core.shared.errors import HandModelError

FILE_NAMES = ("MANO_LEFT.pkl", "MANO_RIGHT.pkl")
# smplx's choice of fingertips, thumb to pinky. Other users of MANO choose others (DIR's release: 745, 317,
# 444, 556, 673, and 445 for the left middle finger).
MANO_TIP_VERTICES = (744, 320, 443, 554, 671)

SUBFOLDERS = ("", "models", "mano", "mano_v1_2/models")
_LARGEST_FILE = 64 << 20
# MANO v1.2 ships the right hand's x directions with the left hand; a true left hand differs by tens.
_SLIP_BELOW = 1.0


def read_mano(
    path: Path, tip_vertices: Sequence[int] | Sequence[Sequence[int]] | None = None
) -> tuple[HandArrays, HandArrays]:
    """Left and right hand of the MANO files in a folder, in the official zip, or beside one of the two files.

    tip_vertices: five vertex numbers, thumb to pinky, or five for each side; None takes smplx's. The left
    shape directions are corrected if the file has MANO v1.2's error (they equal the right ones, x not
    mirrored). Raises HandModelError.
    """
    tips = _tips_of_sides(tip_vertices)
    left, right = (
        read_mano_arrays(data, source, side_tips)
        for (data, source), side_tips in zip(_file_bytes(path), tips, strict=True)
    )
    return _mended(left, right), right


def read_mano_arrays(data: bytes, source: str, tip_vertices: NDArray[np.integer]) -> HandArrays:
    """One side from the bytes of its file, checked. Raises HandModelError naming `source`."""
    held = read_inert(data, source)
    parents, shape_dirs = held.array("kintree_table"), held.array("shapedirs")
    if parents.ndim != 2 or parents.shape[0] != 2 or shape_dirs.ndim != 3:
        raise HandModelError(
            f"{source}: kintree_table is {parents.shape} and shapedirs {shape_dirs.shape}, not (2, 16) "
            "and (V, 3, 10). Use the original file."
        )
    arrays = HandArrays(
        template_m=held.array("v_template"),
        faces=held.array("f"),
        shape_dirs=shape_dirs[..., :SHAPES],
        pose_dirs=held.array("posedirs"),
        joint_regressor=held.array("J_regressor"),
        skin_weights=held.array("weights"),
        parents=np.concatenate([[-1], parents[0, 1:].astype(np.int64)]),
        hands_mean=held.array("hands_mean"),
        hands_components=held.array("hands_components"),
        tip_vertices=tip_vertices,
    )
    return checked(arrays, source)


def _mended(left: HandArrays, right: HandArrays) -> HandArrays:
    if left.shape_dirs.shape != right.shape_dirs.shape:
        return left
    if np.abs(left.shape_dirs[:, 0] - right.shape_dirs[:, 0]).sum() >= _SLIP_BELOW:
        return left
    shape_dirs = left.shape_dirs.copy()
    shape_dirs[:, 0] *= -1
    return replace(left, shape_dirs=shape_dirs)


def _tips_of_sides(tips: Sequence[int] | Sequence[Sequence[int]] | None) -> NDArray[np.int64]:
    array = np.asarray(MANO_TIP_VERTICES if tips is None else tips)
    if array.shape not in ((5,), (2, 5)) or array.dtype.kind not in "iu":
        raise HandModelError(
            "tip_vertices must be five vertex numbers, thumb to pinky, or five for each of two sides."
        )
    return np.broadcast_to(array.astype(np.int64), (2, 5))


def _file_bytes(path: Path) -> list[tuple[bytes, str]]:
    """Contents and name of the left and the right file."""
    try:
        if path.is_file() and zipfile.is_zipfile(path):
            return _zip_members(path)
        return [_read_file(file) for file in _folder_files(path)]
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as fault:
        raise HandModelError(
            f"{path}: cannot be read ({fault}). Copy it again from the original download."
        ) from fault


def _folder_files(path: Path) -> list[Path]:
    if not path.exists():
        raise HandModelError(
            f"{path}: no such file or folder. Give the folder or zip with {' and '.join(FILE_NAMES)}."
        )
    folder = path if path.is_dir() else path.parent
    for sub in SUBFOLDERS:
        files = [folder / sub / name for name in FILE_NAMES]
        if all(file.is_file() for file in files):
            return files
    missing = [name for name in FILE_NAMES if not (folder / name).is_file()]
    raise HandModelError(
        f"{folder}: holds no {' and no '.join(missing)}. "
        "Both hands' files are needed, from mano.is.tue.mpg.de."
    )


def _read_file(file: Path) -> tuple[bytes, str]:
    if file.stat().st_size > _LARGEST_FILE:
        raise HandModelError(
            f"{file}: larger than any hand model file. Choose the folder with {' and '.join(FILE_NAMES)}."
        )
    return file.read_bytes(), str(file)


def _zip_members(path: Path) -> list[tuple[bytes, str]]:
    with zipfile.ZipFile(path) as archive:
        return [_read_member(archive, name, path) for name in FILE_NAMES]


def _read_member(archive: zipfile.ZipFile, name: str, path: Path) -> tuple[bytes, str]:
    found = [
        info
        for info in archive.infolist()
        if Path(info.filename).name == name and not info.filename.startswith("__MACOSX")
    ]
    if not found:
        raise HandModelError(f"{path}: holds no {name}. Give the zip as downloaded from mano.is.tue.mpg.de.")
    with archive.open(found[0]) as member:
        data = member.read(_LARGEST_FILE + 1)
    if len(data) > _LARGEST_FILE:
        raise HandModelError(
            f"{path}: its {name} is larger than any hand model file. Give the zip as downloaded."
        )
    return data, f"{path}/{found[0].filename}"
