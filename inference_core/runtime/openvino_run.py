# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenVINO on a processor: networks are converted from torch once, and kept in the user's cache as they were compiled.

The only place that imports openvino, and without its telemetry.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import platform
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from inference_core import __version__
from inference_core.runtime.network_graph import NetworkGraph
from inference_core.runtime.process import network_threads
from inference_core.runtime.user_cache import user_cache

# OpenVINO tells its makers of every import by this module, and does without where there is none.
sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]

import openvino  # noqa: E402

# More rows side by side than this only need more memory.
_MOST_STREAMS = 8
# Of each network, converted ones that are kept: the latest.
_KEPT_FILES = 4
# Of the kept files: the compiled network, then its SHA-256.
_FORMAT = 2
_DIGEST_BYTES = hashlib.sha256().digest_size

_log = logging.getLogger(__name__)


class OpenVinoRun:
    """A network in float32. Rows are run side by side, one a thread, or several at once by all threads.

    Threads sleep while they wait, and are bound to no core, so that another busy program costs its own share only.
    """

    def __init__(self, graph: NetworkGraph, cache: Path | None = None) -> None:
        self._rows = len(graph.example[0])
        threads = network_threads()
        streams = 1 if self._rows > 1 else min(threads, _MOST_STREAMS)
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,
        }
        # The model reads its weights in the mapped file as long as it runs.
        model, self._kept = _compiled(graph, settings, user_cache() if cache is None else cache)
        self._outputs = [tuple(output.shape)[1:] for output in model.outputs]
        self._queue = openvino.AsyncInferQueue(model, streams)
        self._lock = threading.Lock()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        count, rows = len(inputs[0]), self._rows
        found = [np.empty((count, *shape), np.float32) for shape in self._outputs]

        def take(request: Any, start: int) -> None:
            for number, values in enumerate(found):
                values[start : start + rows] = request.get_output_tensor(number).data[: count - start]

        arrays = [values.contiguous().numpy() for values in inputs]
        with self._lock:
            self._queue.set_callback(take)
            for start in range(0, count, rows):
                part = [_filled(values[start : start + rows], rows) for values in arrays]
                self._queue.start_async(part, start, share_inputs=True)
            self._queue.wait_all()
        return tuple(torch.from_numpy(values) for values in found)


def _filled(values: np.ndarray, rows: int) -> np.ndarray:
    """The rows, and copies of the last one where some are missing."""
    missing = rows - len(values)
    return np.concatenate([values, np.repeat(values[-1:], missing, 0)]) if missing else values


def _compiled(graph: NetworkGraph, settings: dict[str, Any], cache: Path) -> tuple[Any, mmap.mmap | None]:
    """The compiled network, from the cache or put there, and the file that it is read from, which must outlive it."""
    core = openvino.Core()
    path = cache / f"{graph.name}-{_key(graph, core)}.network"
    kept = _mapped(path)
    if kept is not None:
        try:
            blob = np.frombuffer(kept, np.uint8)[:-_DIGEST_BYTES]
            model = core.import_model(openvino.Tensor(blob, shared_memory=True), "CPU", settings)
            if hasattr(mmap, "MADV_DONTNEED"):
                # What is read again comes from the file again; most of it was only needed to compile.
                kept.madvise(mmap.MADV_DONTNEED)
            return model, kept
        except RuntimeError as error:
            _log.info("%s is made anew: %s", path, error)
    _log.warning("Preparing the network %s for this machine; this is done once.", graph.name)
    model = core.compile_model(converted(graph.build(), graph.example), "CPU", settings)
    _write(path, model.export_model().getvalue(), graph.name)
    return model, None


def converted(network: nn.Module, example: tuple[Tensor, ...]) -> Any:
    """OpenVINO's model of a torch network, for inputs of the example's shapes."""
    with torch.no_grad(), warnings.catch_warnings():
        # Of the tracer: that constants become constants, and that it will go some day.
        warnings.simplefilter("ignore")
        network(*example)  # what is computed once is a constant of the graph then
        # Frozen: modules that are no modules of their own, as lists of them, would not be understood.
        traced = torch.jit.freeze(torch.jit.trace(network.eval(), example, check_trace=False))
        shapes = [openvino.PartialShape(list(values.shape)) for values in example]
        return openvino.convert_model(traced, example_input=example, input=shapes)


def _key(graph: NetworkGraph, core: Any) -> str:
    """Of all that a compiled network depends on."""
    machine = (platform.machine(), core.get_property("CPU", "FULL_DEVICE_NAME"))
    able = sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    shapes = [(tuple(values.shape), str(values.dtype)) for values in graph.example]
    versions = (__version__, openvino.__version__, torch.__version__)
    text = repr((_FORMAT, graph.digest, versions, machine, able, shapes))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _mapped(path: Path) -> mmap.mmap | None:
    """A kept network and its digest, mapped; None if there is none, or it is not as it was written."""
    try:
        with path.open("rb") as file:
            # OpenVINO wants bytes that could be written; what is written to these stays in memory.
            kept = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError):
        return None
    with memoryview(kept) as data:
        whole = hashlib.sha256(data[:-_DIGEST_BYTES]).digest() == data[-_DIGEST_BYTES:].tobytes()
    return kept if whole else None


def _write(path: Path, blob: bytes, name: str) -> None:
    """Keep a network. A cache that cannot be written costs only the conversion."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(blob)
            file.write(hashlib.sha256(blob).digest())
        part.replace(path)
        kept = sorted(path.parent.glob(f"{name}-????????????????.network"), key=lambda p: p.stat().st_mtime)
        for old in kept[:-_KEPT_FILES]:
            old.unlink(missing_ok=True)
    except OSError as error:
        _log.info("The prepared network is not kept: %s", error)
