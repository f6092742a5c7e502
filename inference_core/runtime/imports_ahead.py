# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks imported in a thread, in the order in which they are needed, while footage is opened and decoded."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference_core.runtime.openvino_run import Imported, LastUsed

_COMING: dict[str, Future[LastUsed]] = {}
_CLAIMED: set[str] = set()


def import_ahead(names: Collection[str]) -> None:
    """Begin to import the networks of these names as they ran last on this machine, unless this process has them."""
    missing = [name for name in names if name not in _CLAIMED and name not in _COMING]
    if missing and find_spec("openvino") is not None:
        pool = ThreadPoolExecutor(1)
        _COMING.update((name, pool.submit(_last_used, name)) for name in missing)
        pool.shutdown(wait=False)


def claimed(name: str, path: Path) -> Imported | None:
    """The network kept at `path`, if it was imported ahead under this name; waits for it, and gives it out once.

    Another version is let go here, before the wanted one comes into memory beside it.
    """
    _CLAIMED.add(name)
    coming = _COMING.pop(name, None)
    last = None if coming is None else coming.result()
    return last[1] if last is not None and last[0] == path else None


def forget(*names: str) -> None:
    """Networks that this process no longer holds: they may be imported ahead again."""
    _CLAIMED.difference_update(names)


def _last_used(name: str) -> LastUsed:
    from inference_core.runtime.openvino_run import last_used

    return last_used(name)
