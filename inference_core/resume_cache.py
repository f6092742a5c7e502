# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has worked out so far, kept beside its output so that a run that was stopped goes on from there.

For T.npz that is the folder T.npz.partial. Each piece is one .npz under a name made of all that it depends
on (footage on disk, settings, versions): a piece that fits nothing any more is simply not found. Pieces are
written under another name and renamed, so a killed run leaves whole pieces only.
"""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import DuohandError, TakeError

Arrays = Mapping[str, NDArray[Any]]


class ResumeCache:
    """The folder of pieces of one output. As a context it is removed at the end, unless the run was stopped.

    A DuohandError removes it too: there is nothing to go on from where the request itself must change.
    """

    def __init__(self, out: Path, resume: bool) -> None:
        """TakeError where nothing may be written beside `out`. Without `resume` earlier pieces are
        dropped."""
        self.folder = out.with_name(f"{out.name}.partial")
        if not resume:
            self._remove()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TakeError(
                f"{out.parent} cannot be written to: {error.strerror or error}. Choose another output."
            ) from error

    def __enter__(self) -> "ResumeCache":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, DuohandError):
            self._remove()

    def load(self, stage: str, depends_on: Mapping[str, Any]) -> dict[str, NDArray[Any]] | None:
        """The piece saved for the stage under the same dependencies; None where there is none."""
        path = self._path(stage, depends_on)
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            return None

    def save(self, stage: str, depends_on: Mapping[str, Any], arrays: Arrays) -> None:
        """Keep the piece. TakeError where the disk refuses."""
        path = self._path(stage, depends_on)
        temporary = path.with_suffix(".tmp")
        try:
            with temporary.open("wb") as file:
                np.savez(file, **arrays)
            temporary.replace(path)
        except OSError as error:
            raise TakeError(
                f"{path} could not be written: {error.strerror or error}. Make room or choose another output."
            ) from error

    def _path(self, stage: str, depends_on: Mapping[str, Any]) -> Path:
        key = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:24]
        return self.folder / f"{stage}-{key}.npz"

    def _remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
