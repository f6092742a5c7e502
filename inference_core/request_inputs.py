# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that a request reads, so that none of them is overwritten."""

from collections.abc import Iterator
from pathlib import Path

from inference_core.hand_model.mano_file import SUBFOLDERS
from inference_core.shared.messages import NAMED_NETWORKS, CaptureRequest
from inference_core.shared.picture_sequences import PICTURE_SUFFIXES, is_folder, is_pattern, is_picture


def capture_inputs(request: CaptureRequest) -> Iterator[Path]:
    """Footage, hand model, camera path and network of a capture."""
    yield from footage_inputs(request.footage)
    yield from inputs_beside_footage(request)


def inputs_beside_footage(request: CaptureRequest) -> Iterator[Path]:
    """Hand model, camera path and network of a capture."""
    yield from mano_inputs(Path(request.mano) if request.mano else None)
    if request.camera_path is not None:
        yield Path(request.camera_path)
    if request.network not in NAMED_NETWORKS:
        yield from weights_inputs(Path(request.network))


def footage_inputs(footage: str) -> Iterator[Path]:
    """The movie, or all pictures in the folder of a picture sequence."""
    path = Path(footage)
    yield path
    folder = path if is_folder(path) else path.parent
    if is_folder(path) or is_pattern(path) or is_picture(path):
        yield from _files_in(folder, PICTURE_SUFFIXES)


def mano_inputs(mano: Path | None) -> Iterator[Path]:
    """The zip, or all pickles in the folder of the user's MANO files."""
    if mano is None:
        return
    yield mano
    for folder in SUBFOLDERS:
        yield from _files_in(mano / folder if mano.is_dir() else mano.parent, (".pkl",))


def weights_inputs(weights: Path) -> Iterator[Path]:
    """The files in the folder of a network's weights."""
    yield from _files_in(weights if weights.is_dir() else weights.parent, (".safetensors", ".json"))


def _files_in(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    try:
        yield from (path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    except OSError:
        return
