# SPDX-License-Identifier: GPL-3.0-or-later
"""Which program this is: two builds of one version differ in what they leave for a later run, and read of it."""

import hashlib
from functools import cache
from pathlib import Path

import inference_core

_TEXT = (".py", ".json")


@cache
def program_digest() -> str:
    """A digest of this package's files, which says whether another run was by the same program."""
    return digest_of(Path(inference_core.__file__).parent)


def digest_of(folder: Path) -> str:
    """A digest of a program's files: what its sources say, and how large its others are.

    Line endings do not count: they differ between systems.
    """
    digest = hashlib.sha256()
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*") if path.is_file()}
    for name, path in sorted(files.items()):
        if path.suffix in _TEXT:
            digest.update(f"{name}\n".encode() + path.read_bytes().replace(b"\r\n", b"\n"))
        elif path.suffix != ".pyc":
            digest.update(f"{name} {path.stat().st_size}\n".encode())
    return digest.hexdigest()
