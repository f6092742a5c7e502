# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are written completely or not at all, and never over their own inputs.

Standard library only: Blender's side shares this file.
"""

import glob
import os
import re
import secrets
import stat
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import IO

from inference_core.shared.errors import RequestError
from inference_core.shared.system import is_still_at, release_before_rename, replace_file, try_lock

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.tmp")
_NAME_LENGTH = 56  # of the 255 bytes that a name may have, at up to four per character


@contextmanager
def whole_file(path: Path, lasting: bool = True, suffix: str = "") -> Generator[Path]:
    """A context with the name of a file beside `path`, which replaces `path` at the end and is deleted on an error.

    lasting: it is on the disk by then, whatever happens to the machine; for a file that is checked when it is read and
    may be lost, that is not worth waiting for. suffix: what its name must end in; such a file may not be there yet,
    others are empty. Its mode follows the umask. Leftovers of killed runs for the same file are deleted. OSErrors are
    passed on.
    """
    clear_left_over(path)
    temporary, held = _new_temporary(path)
    written = temporary.with_name(temporary.name + suffix)
    try:
        yield written
        if lasting:
            with written.open("rb+") as file:
                os.fsync(file.fileno())
        release_before_rename(held)
        replace_file(written, path)
    finally:
        release_before_rename(held)
        written.unlink(missing_ok=True)
        temporary.unlink(missing_ok=True)
        held.close()


def clear_left_over(path: Path) -> None:
    """Delete the temporary files that killed runs left beside `path`. Running writers hold a lock on theirs."""
    for beside in _files_beside(path):
        found = _TEMPORARY.fullmatch(beside.name)
        if found is not None and found["name"] == _shortened(path.name):
            _clear_unless_held(beside)


def is_temporary(name: str) -> bool:
    """Whether this is the name of such a temporary file."""
    return _TEMPORARY.fullmatch(name) is not None


def unused_path(path: Path, taken: Collection[str] = ()) -> Path:
    """`path` if nothing is there and it is not `taken`, else the first such of NAME_2, NAME_3, ... beside it."""
    numbered = (path.with_name(f"{path.stem}_{number}{path.suffix}") for number in count(2))
    return next(
        item for item in chain([path], numbered) if str(item) not in taken and not os.path.lexists(item)
    )


def check_name(path: Path, suffixes: tuple[str, ...], what: str) -> None:
    """RequestError unless `path` is a valid file name with one of these suffixes."""
    try:
        fits = path.suffix.lower() in suffixes and not path.is_dir()
    except (OSError, ValueError) as error:
        raise RequestError(f"{str(path)[:80]}... is not a valid file name: {error}.") from error
    if not fits:
        raise RequestError(f"{what} is a file whose name ends in {' or '.join(suffixes)}; {path} is not.")


def check_apart(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """RequestError if an output is also an input, by name or through any kind of link."""
    known = {key: path for path in inputs for key in _identities(path)}
    for output in outputs:
        if _is_pipe_or_device(output):
            raise RequestError(f"{output} is a pipe or a device. Choose another output.")
        for key in _identities(output):
            if key in known:
                raise RequestError(
                    f"{output} would overwrite its own input {known[key]}. Choose another output."
                )


def _is_pipe_or_device(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _identities(path: Path) -> list[object]:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return [os.path.realpath(path)]
    return [os.path.realpath(path), (found.st_dev, found.st_ino)]


def _new_temporary(path: Path) -> tuple[Path, IO[bytes]]:
    """A new file beside `path` and a handle that locks it."""
    while True:
        temporary = path.with_name(f".{_shortened(path.name)}.{secrets.token_hex(4)}.tmp")
        held = temporary.open("x+b")
        try:
            try_lock(held)
        except OSError:
            return temporary, held  # a file system without locks, where leftovers are not cleaned up either
        if is_still_at(held, temporary):
            return temporary, held
        held.close()


def _clear_unless_held(path: Path) -> None:
    try:
        with path.open("r+b") as file:
            if not try_lock(file):
                return
            release_before_rename(file)
            for written in path.parent.glob(f"{glob.escape(path.name)}.*"):
                written.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
    except OSError:
        return


def _files_beside(path: Path) -> list[Path]:
    try:
        return list(path.parent.iterdir())
    except OSError:
        return []


def _shortened(name: str) -> str:
    return name[:_NAME_LENGTH]
