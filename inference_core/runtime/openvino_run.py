# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenVINO on a CPU: networks are converted from torch once, and their compiled form is kept in the user's cache.

The only place that imports openvino, and without its telemetry.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import platform
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inference_core import __version__
from inference_core.runtime.network_cache import keep, latest, mapped, path_of
from inference_core.runtime.process import network_threads
from inference_core.runtime.user_cache import user_cache
from inference_core.shared.errors import reason_of

# OpenVINO reports every import to its makers through the first of these modules; the second one, half of its import,
# converts networks, which is rarely wanted. It works without them.
_CONVERTER = "openvino.tools.ovc"
for _unwanted in ("openvino_telemetry", _CONVERTER):
    sys.modules.setdefault(_unwanted, None)  # pyright: ignore[reportArgumentType]

import openvino  # noqa: E402

if TYPE_CHECKING:
    from torch import nn

    from inference_core.runtime.network_graph import NetworkGraph

# More parallel rows than this only need more memory.
_MOST_STREAMS = 8
# Changes with what is kept for a network.
_FORMAT = 3

# A network's model, and the mapped file that it reads.
Imported = tuple[Any, mmap.mmap]
# A network's file in the cache, and what it holds, imported; None if there is none.
LastUsed = tuple[Path, Imported] | None
Ahead = Callable[[str, Path], Imported | None]

# torch traces one network at a time.
_CONVERTING = threading.Lock()

_log = logging.getLogger(__name__)


class OpenVinoRun:
    """A network in float32. Rows run in parallel, one per thread, or several at once on one, mostly.

    The caller starts them itself: a thread for each row would wait for the interpreter twice more.

    Waiting threads sleep and are not pinned to cores, so that another busy program costs only its own share.
    cache: the folder of converted networks; None: the user's. ahead: gives out a network that is imported already, by
    its name and its path in the cache.
    """

    def __init__(self, graph: NetworkGraph, cache: Path | None = None, ahead: Ahead | None = None) -> None:
        self._rows = len(graph.example[0])
        # The model reads its weights from the mapped file while it runs.
        model, self._kept = _compiled(graph, user_cache() if cache is None else cache, ahead)
        self._outputs = [tuple(output.shape)[1:] for output in model.outputs]
        self._free: SimpleQueue[Any] = SimpleQueue()
        streams: int = _settings(self._rows)["NUM_STREAMS"]
        for _ in range(streams):
            self._free.put(model.create_infer_request())

    def __call__(self, *inputs: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        count, rows = len(inputs[0]), self._rows
        found = [np.empty((count, *shape), np.float32) for shape in self._outputs]
        arrays = [np.ascontiguousarray(values) for values in inputs]
        # Requests with what they read meanwhile.
        running: deque[tuple[int, Any, list[NDArray[Any]]]] = deque()

        def finish() -> None:
            start, request, _ = running.popleft()
            try:
                request.wait()
                for number, values in enumerate(found):
                    values[start : start + rows] = request.get_output_tensor(number).data[: count - start]
            finally:
                self._free.put(request)

        def free_request() -> Any:
            # Waits for other callers only while it holds none itself.
            while running:
                try:
                    return self._free.get_nowait()
                except Empty:
                    finish()
            return self._free.get()

        try:
            for start in range(0, count, rows):
                shown = [_filled(values[start : start + rows], rows) for values in arrays]
                request = free_request()
                running.append((start, request, shown))
                request.start_async(shown, share_inputs=True)
        finally:
            while running:
                finish()
        return tuple(found)


def _filled(values: np.ndarray, rows: int) -> np.ndarray:
    """The rows, padded with copies of the last one."""
    missing = rows - len(values)
    return np.concatenate([values, np.repeat(values[-1:], missing, 0)]) if missing else values


def last_used(name: str) -> LastUsed:
    """The most recently used network of this name in the user's cache, imported; None if there is none."""
    kept = latest(user_cache(), name)
    if kept is None:
        return None
    imported = _imported(openvino.Core(), kept.path, kept.rows)
    return None if imported is None else (kept.path, imported)


def _settings(rows: int) -> dict[str, Any]:
    """OpenVINO's settings for a network that takes that many rows at once."""
    threads, streams = network_threads(), 1
    if rows > 1:
        # A second stream of the two-hand network needs 80 MB; a second thread only adds a tenth to its work, and other
        # networks use the other cores meanwhile.
        threads = max(1, threads // 2)
    else:
        streams = min(threads, _MOST_STREAMS)
    return {
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
    }


def _compiled(graph: NetworkGraph, cache: Path, ahead: Ahead | None) -> tuple[Any, mmap.mmap | None]:
    """The compiled network, from the cache or new in it, and the mapped file that it reads, which must outlive it."""
    core, rows = openvino.Core(), len(graph.example[0])
    path = path_of(cache, graph.name, rows, _key(graph, core))
    kept = (None if ahead is None else ahead(graph.name, path)) or _imported(core, path, rows)
    if kept is not None:
        return kept
    _say_once("Preparing the networks for this machine.")
    with _CONVERTING:
        model = core.compile_model(converted(graph.build(), graph.example), "CPU", _settings(rows))
        _keep(path, model.export_model().getvalue())
    # Read back, it needs less memory than what compiled it.
    return _imported(core, path, rows) or (model, None)


def _imported(core: Any, path: Path, rows: int) -> Imported | None:
    """A network from the cache; None if there is no usable one."""
    found = mapped(path)
    if found is None:
        return None
    kept, blob = found
    try:
        tensor = openvino.Tensor(np.frombuffer(blob, np.uint8), shared_memory=True)
        model = core.import_model(tensor, "CPU", _settings(rows))
    except RuntimeError as error:
        _log.info("%s is made again: %s", path, error)
        return None
    if hasattr(mmap, "MADV_DONTNEED"):
        # Pages are read from the file again if needed; most were only needed for compiling.
        kept.madvise(mmap.MADV_DONTNEED)
    return model, kept


@cache
def _say_once(text: str) -> None:
    """A warning that is the same for all networks of this process."""
    _log.warning(text)


def converted(network: nn.Module, example: tuple[NDArray[Any], ...]) -> Any:
    """OpenVINO's model of a torch network. example: one array an input, whose shapes the model keeps."""
    import torch

    if sys.modules.get(_CONVERTER) is None:
        sys.modules.pop(_CONVERTER, None)
    from openvino.tools.ovc import convert_model

    with torch.no_grad(), warnings.catch_warnings():
        # The tracer's warnings: that values become constants, and that it is deprecated.
        warnings.simplefilter("ignore")
        tensors = tuple(torch.from_numpy(values) for values in example)
        network(*tensors)  # values computed once become constants of the graph
        # Frozen: lists of modules would not be understood otherwise.
        traced = torch.jit.freeze(torch.jit.trace(network.eval(), tensors, check_trace=False))
        shapes = [openvino.PartialShape(list(values.shape)) for values in example]
        return convert_model(traced, example_input=tensors, input=shapes)


def _key(graph: NetworkGraph, core: Any) -> str:
    """Digest of everything that a compiled network depends on."""
    machine = (platform.machine(), core.get_property("CPU", "FULL_DEVICE_NAME"))
    able = sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    shapes = [(values.shape, str(values.dtype)) for values in graph.example]
    versions = (__version__, openvino.__version__)
    text = repr((_FORMAT, graph.digest, versions, machine, able, shapes))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _keep(path: Path, blob: bytes) -> None:
    """Cache a network. If the cache is not writable, networks are prepared at every start."""
    try:
        keep(path, blob)
    except OSError as error:
        _say_once(
            f"They will be prepared again at the next start: {path.parent} cannot be written ({reason_of(error)})."
        )
