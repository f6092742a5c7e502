# SPDX-License-Identifier: GPL-3.0-or-later
"""Which engine runs a network fastest on this machine: measured once, remembered in the user's cache."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from inference_core import __version__
from inference_core.network.configuration import CROP_PX
from inference_core.network.engine import Engine

_RUNS = 3

EngineFactory = Callable[[], Engine]


def fastest_engine(
    factories: Mapping[str, EngineFactory], key: str, batch: int, cache: Path | None = None
) -> Engine:
    """The fastest of the engines for batches of `batch`, by the median of a few runs after one to warm up.

    key: what is run (weights and device). The choice is kept in `cache` (default: the user's cache folder) for this
    machine, version and torch; a choice that is no longer on offer is made anew. A cache that cannot be read or written
    costs only the measurement.
    """
    file = cache_folder() / "engines.json" if cache is None else cache
    place = " | ".join(
        [key, str(batch), platform.machine(), platform.processor(), torch.__version__, __version__]
    )
    kept = _read(file)
    if kept.get(place) in factories:
        return factories[kept[place]]()
    engines = {name: make() for name, make in factories.items()}
    seconds = {name: measured(engine, batch) for name, engine in engines.items()}
    best = min(seconds, key=seconds.__getitem__)
    _write(file, kept | {place: best})
    return engines[best]


def measured(engine: Engine, batch: int, runs: int = _RUNS) -> float:
    """Median seconds for one batch."""
    image = torch.zeros(batch, 3, CROP_PX, CROP_PX)
    engine(image)
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        engine(image)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def cache_folder() -> Path:
    """Where this user's machine keeps what can be measured again."""
    if platform.system() == "Windows":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "duohand"
    if platform.system() == "Darwin":
        return Path.home() / "Library" / "Caches" / "duohand"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "duohand"


def _read(file: Path) -> dict[str, str]:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _write(file: Path, choices: Mapping[str, str]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.{os.getpid()}")
        part.write_text(json.dumps(choices, indent=1), encoding="utf-8")
        part.replace(file)
    except OSError:
        return
