# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks imported in a thread while torch is: both take about a second, and neither needs the other."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference_core.runtime.openvino_run import LastUsed

_COMING: dict[str, Future[LastUsed]] = {}
_CLAIMED: set[str] = set()


def import_ahead(names: Iterable[str]) -> None:
    """Begin to import the networks of these names as they ran last on this machine, unless this process has them."""
    missing = [name for name in names if name not in _CLAIMED and name not in _COMING]
    if not missing or find_spec("openvino") is None:
        return
    pool = ThreadPoolExecutor(1)
    _COMING.update((name, pool.submit(_last_used, name)) for name in missing)
    pool.shutdown(wait=False)


def claimed(name: str) -> LastUsed:
    """What was imported ahead under a name, given out once; waits for it. It may be another version than wanted."""
    _CLAIMED.add(name)
    coming = _COMING.pop(name, None)
    return None if coming is None else coming.result()


def forget(*names: str) -> None:
    """Networks that this process no longer holds: they may be imported ahead again."""
    _CLAIMED.difference_update(names)


def _last_used(name: str) -> LastUsed:
    from inference_core.runtime.openvino_run import last_used

    return last_used(name)
