# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled networks in the user's cache: NAME-ROWS-KEY.network, the network followed by its SHA-256.

Any number of processes and versions of Duohand may use the folder at once; files are written whole and never replaced.
A version that finds a file missing makes it again.
"""

import contextlib
import hashlib
import mmap
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inference_core.shared.whole_file import whole_file

# How many versions of each network are kept: those used last. A file that was not used for so long is not kept at all.
_KEPT_FILES, _KEPT_S = 4, 90 * 24 * 3600
_DIGEST_BYTES = hashlib.sha256().digest_size
# Files of earlier versions have no rows in their names.
_NAME = re.compile(r"(?P<name>.+?)(?:-(?P<rows>\d+))?-[0-9a-f]{16}\.network", re.ASCII)


@dataclass(frozen=True)
class KeptNetwork:
    """A file of the cache. rows: that the network takes at once; 0 if an earlier version wrote it."""

    path: Path
    name: str
    rows: int
    used_s: float


def path_of(folder: Path, name: str, rows: int, key: str) -> Path:
    """The path of a network. key: 16 hexadecimal digits for everything else on which it depends."""
    return folder / f"{name}-{rows}-{key}.network"


def latest(folder: Path, name: str) -> KeptNetwork | None:
    """The most recently used version of a network; None if there is none."""
    versions = [kept for kept in _kept(folder) if kept.name == name and kept.rows]
    return versions[-1] if versions else None


def mapped(path: Path) -> tuple[mmap.mmap, memoryview] | None:
    """A stored network, memory-mapped, and its bytes; None if it is missing or altered. Marks it as used."""
    try:
        with path.open("rb") as file:
            # OpenVINO requires a writable buffer; writes to this one stay in memory.
            kept = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError):
        return None
    whole = memoryview(kept)
    blob = whole[:-_DIGEST_BYTES]
    if hashlib.sha256(blob).digest() != whole[-_DIGEST_BYTES:].tobytes():
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return kept, blob


def keep(path: Path, blob: bytes) -> None:
    """Write a network, and remove the files that no longer serve. OSError if the folder cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(blob)
        file.write(hashlib.sha256(blob).digest())
    for old in _outdated(path.parent):
        # Windows does not remove a file that another process has mapped: the next conversion tries again.
        with contextlib.suppress(OSError):
            old.unlink(missing_ok=True)


def _outdated(folder: Path) -> Iterator[Path]:
    newer: dict[str, int] = {}
    for kept in reversed(_kept(folder)):
        newer[kept.name] = newer.get(kept.name, 0) + 1
        if not kept.rows or newer[kept.name] > _KEPT_FILES or time.time() - kept.used_s > _KEPT_S:
            yield kept.path


def _kept(folder: Path) -> list[KeptNetwork]:
    """The networks in the folder, the last used one last."""
    found: list[KeptNetwork] = []
    for path in folder.glob("*.network"):
        match = _NAME.fullmatch(path.name)
        # Another process may remove files meanwhile.
        with contextlib.suppress(OSError):
            if match:
                found.append(KeptNetwork(path, match["name"], int(match["rows"] or 0), path.stat().st_mtime))
    return sorted(found, key=lambda kept: kept.used_s)
