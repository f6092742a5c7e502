# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's intermediate results, kept beside its output so that a stopped run can be resumed.

For T.npz they are in the folder T.npz.partial. Each piece is one .npz, named by a digest of everything it depends on
(footage on disk, settings, the program): an outdated piece is simply not found. Pieces appear whole or not at all, and
a lock keeps a second run with the same output away while the first is running.
"""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import OutputInUseError, TakeError
from inference_core.shared.npz import NpzError, open_npz, write_npz
from inference_core.shared.system import is_still_at, release_before_rename, try_lock
from inference_core.shared.whole_file import is_temporary, whole_file

Arrays = Mapping[str, NDArray[Any]]

_LOCK = "lock"
_PATIENCE_S = 2.5  # a run killed a moment ago may not be gone yet
_DIGEST = "digest"  # of the other arrays: a piece that was changed since is ignored
_LARGEST_PIECE = 256 << 20
_PIECE = re.compile(r"\w+-[0-9a-f]{24}\.npz")


class ResumeCache:
    """The folder of pieces for one output, used by one run at a time, or by runs of its parts.

    A context: the folder is removed at the end, but a failed or stopped run leaves its finished pieces. Nothing
    but pieces is ever deleted in it.
    """

    def __init__(self, out: Path, resume: bool, part: str = "") -> None:
        """part: of a run that only leaves pieces for another one; parts of different names may run at a time."""
        self.folder = out.with_name(f"{out.name}.partial")
        self._out, self._resume, self._part = out, resume or bool(part), part
        self._lock_name = f"{_LOCK}-{part.replace('/', '-of-')}" if part else _LOCK
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> "ResumeCache":
        """TakeError if nothing can be written beside the output; OutputInUseError if another run is writing it.

        Without `resume`, earlier pieces are deleted.
        """
        try:
            self._lock = self._only_run()
        except OSError as error:
            raise TakeError(
                f"{self._out} cannot be written: {error.strerror or error}. Choose another output."
            ) from error
        if not self._resume:
            self._drop_pieces()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._part:
            self._drop_pieces()
        assert self._lock is not None
        release_before_rename(self._lock)
        try:
            (self.folder / self._lock_name).unlink(missing_ok=True)
            self.folder.rmdir()
        except OSError:
            pass  # it contains pieces, or something of the user's
        finally:
            self._lock.close()

    def load(self, stage: str, depends_on: Mapping[str, Any]) -> dict[str, NDArray[Any]] | None:
        """The piece saved for the stage with the same dependencies; None if there is none, or if it is damaged."""
        try:
            with open_npz(self._path(stage, depends_on)) as file:
                if sum(header.nbytes for header in file.headers.values()) > _LARGEST_PIECE:
                    return None
                arrays = {name: file.read(name) for name in file.headers}
        except NpzError:
            return None
        kept = arrays.pop(_DIGEST, None)
        return arrays if kept is not None and str(kept) == _digest(arrays) else None

    def save(self, stage: str, depends_on: Mapping[str, Any], arrays: Arrays) -> None:
        """Save the piece. TakeError if the disk fails."""
        path = self._path(stage, depends_on)
        try:
            with whole_file(path, lasting=False) as temporary, temporary.open("wb") as file:
                write_npz(file, {**arrays, _DIGEST: np.array(_digest(arrays))}, packed=False)
        except OSError as error:
            raise TakeError(
                f"{path} could not be written: {error.strerror or error}. Make room and run the command again: it "
                "resumes from the results so far. Or choose another output."
            ) from error

    def _path(self, stage: str, depends_on: Mapping[str, Any]) -> Path:
        key = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:24]
        return self.folder / f"{stage}-{key}.npz"

    def _only_run(self) -> IO[bytes]:
        """The folder's lock, held. A run that ends removes folder and lock, so both are checked again."""
        path = self.folder / self._lock_name
        patience_s = time.monotonic() + _PATIENCE_S
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                lock = path.open("ab")
            except FileNotFoundError:
                continue
            try:
                alone = try_lock(lock)
            except OSError:
                return lock  # a file system without locks
            if not alone and time.monotonic() < patience_s:
                lock.close()
                time.sleep(0.1)
                continue
            if not alone:
                lock.close()
                raise OutputInUseError(
                    f"Another run is writing {self._out}. Wait until it ends, or choose another output."
                )
            if is_still_at(lock, path):
                return lock
            lock.close()

    def _drop_pieces(self) -> None:
        for path in self.folder.iterdir():
            if _PIECE.fullmatch(path.name) or is_temporary(path.name):
                path.unlink(missing_ok=True)


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
