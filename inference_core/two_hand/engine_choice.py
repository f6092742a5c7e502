# SPDX-License-Identifier: GPL-3.0-or-later
"""Which engine runs a network fastest on this machine without changing its word: measured once, remembered
in the user's cache.

The choice is this machine's and not the weights', which may lie where nobody can write: so it is kept there
and not in their card.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from inference_core import __version__
from inference_core.shared.errors import DuohandError
from inference_core.two_hand.configuration import CROP_PX
from inference_core.two_hand.engine import Engine, HandEstimates
from inference_core.two_hand.records import Conditioning

# Mean distance from float32's answer that an engine may have: of joints in metres, and in the crop.
TOLERANCE_MM, TOLERANCE_PX = 0.3, 0.5
CHOICES_FILE = "engines.json"

_RUNS = 3
_log = logging.getLogger(__name__)

EngineFactory = Callable[[], Engine]


@dataclass(frozen=True)
class Probe:
    """A batch that engines are compared by: normalised pictures and evidence beside them."""

    image: Tensor
    evidence: Conditioning


@dataclass(frozen=True)
class Measurement:
    """How fast an engine is, and how far its joints are from those of the first engine."""

    name: str
    crops_a_second: float
    error_mm: float
    error_px: float

    @property
    def holds(self) -> bool:
        """Whether its answer is as good as float32's; an answer that is not finite is not."""
        return self.error_mm <= TOLERANCE_MM and self.error_px <= TOLERANCE_PX


def probe(batch: int) -> Probe:
    """Made-up pictures with structure of every size, and made-up landmarks of hands spread over them."""
    generator = torch.Generator().manual_seed(0)
    sizes = (4, 32, CROP_PX)
    noise = [torch.randn(batch, 3, size, size, generator=generator) for size in sizes]
    image = torch.stack([torch.nn.functional.interpolate(n, CROP_PX, mode="bilinear") for n in noise]).sum(0)
    world = torch.randn(batch, 2, 21, 3, generator=generator) * 0.04
    ones = torch.ones(batch, 2)
    uv, scores = world[..., :2] * 5, torch.ones(batch, 2, 21)
    return Probe(image, Conditioning(uv, scores, world, ones, ones, torch.full((batch,), 5.0)))


def fastest_engine(
    factories: Mapping[str, EngineFactory], key: str, probed: Probe, cache: Path | None = None
) -> Engine:
    """The fastest of the engines whose answer holds. The first one is float32 torch's, whose word is the truth.

    key: what is run (weights, hand model and device). The choice is kept in the folder `cache` (default: the
    user's) for this machine, version and torch; one that is no longer on offer or does not load is made anew. A
    cache that cannot be read or written costs only the measurement.
    """
    if len(factories) == 1:
        return next(iter(factories.values()))()
    file = (cache_folder() if cache is None else cache) / CHOICES_FILE
    parts = (key, str(len(probed.image)), platform.machine(), str(os.cpu_count()), torch.__version__)
    place, kept = " | ".join([*parts, __version__]), _read(file)
    if kept.get(place) in factories:
        try:
            return factories[kept[place]]()
        except DuohandError as error:
            _log.warning("%s Another engine is chosen.", error)
    best = best_of(measurements(factories, probed)).name
    _write(file, kept | {place: best})
    return factories[best]()


def measurements(factories: Mapping[str, EngineFactory], probed: Probe) -> list[Measurement]:
    """Every engine that can be made, one after the other, so that only one is held at a time."""
    found: list[Measurement] = []
    expected: HandEstimates | None = None
    for name, make in factories.items():
        try:
            engine = make()
        except DuohandError as error:
            if expected is None:
                raise
            _log.warning("%s It is left out.", error)
            continue
        answer = engine(probed.image, probed.evidence)
        expected = answer if expected is None else expected
        error_mm = 1e3 * _distance(answer.joints_m, expected.joints_m)
        error_px = CROP_PX / 2 * _distance(answer.joints_uv, expected.joints_uv)
        speed = len(probed.image) / _seconds(engine, probed)
        found.append(Measurement(name, speed, error_mm, error_px))
    return found


def best_of(found: Sequence[Measurement]) -> Measurement:
    """The fastest that holds; the first one always does."""
    return max((found[0], *(m for m in found if m.holds)), key=lambda m: m.crops_a_second)


def cache_folder() -> Path:
    """Where this user's machine keeps what can be measured again."""
    if platform.system() == "Windows":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "duohand"
    if platform.system() == "Darwin":
        return Path.home() / "Library" / "Caches" / "duohand"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "duohand"


def _distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm(dim=-1).mean())


def _seconds(engine: Engine, probed: Probe) -> float:
    """Median seconds for the batch, on an engine that has run before."""
    times: list[float] = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        engine(probed.image, probed.evidence)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


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
