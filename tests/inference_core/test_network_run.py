# SPDX-License-Identifier: GPL-3.0-or-later
"""The runtimes: agreement with torch, a cache that repairs itself, no telemetry."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference_core.runtime.network_graph import NetworkGraph
from inference_core.runtime.network_run import ready_to_run, runs_in_openvino
from inference_core.runtime.torch_run import TorchRun

CPU = "cpu"
Array = NDArray[np.float32]

needs_openvino = pytest.mark.skipif(not runs_in_openvino(CPU), reason="openvino has no wheel here")


class Small(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(2, 5)

    def forward(self, images: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        return self.convolution(images).mean((2, 3)), self.linear(values)


def graph(rows: int = 1, digest: str = "a", build: Callable[[], nn.Module] | None = None) -> NetworkGraph:
    """A small network's."""

    def made() -> nn.Module:
        torch.manual_seed(0)
        return Small().eval()

    example = (np.zeros((rows, 3, 8, 8), np.float32), np.zeros((rows, 2), np.float32))
    return NetworkGraph("small", digest, build or made, example)


def refuse() -> nn.Module:
    """What builds a network that is in the cache already."""
    pytest.fail("the network was built again")


def inputs(count: int) -> tuple[Array, Array]:
    """Made-up rows."""
    random = np.random.default_rng(count)
    return (
        random.standard_normal((count, 3, 8, 8)).astype(np.float32),
        random.standard_normal((count, 2)).astype(np.float32),
    )


@needs_openvino
@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("count", [0, 1, 4, 7])
def test_every_batch_size_gives_torchs_results(rows: int, count: int, tmp_path: Path) -> None:
    found = ready_to_run(graph(rows), CPU, tmp_path)(*inputs(count))
    expected = TorchRun(graph().build(), CPU)(*inputs(count))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6, rtol=1e-5)


@needs_openvino
def test_callers_in_several_threads_get_their_own_rows(tmp_path: Path) -> None:
    """With fewer requests than callers, of which each wants several."""
    network = ready_to_run(graph(), CPU, tmp_path)
    with ThreadPoolExecutor(4) as pool:
        for count, found in zip(
            range(50), pool.map(lambda count: network(*inputs(count)), range(50)), strict=True
        ):
            np.testing.assert_equal(found, network(*inputs(count)))


@needs_openvino
def test_a_network_is_converted_once_per_set_of_weights(tmp_path: Path) -> None:
    expected = ready_to_run(graph(), CPU, tmp_path)(*inputs(2))
    again = ready_to_run(graph(build=refuse), CPU, tmp_path)(*inputs(2))
    np.testing.assert_equal(again, expected)
    ready_to_run(graph(digest="b"), CPU, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@needs_openvino
@pytest.mark.parametrize("damage", ["cut", "emptied", "changed"])
def test_a_damaged_cache_file_is_replaced(damage: str, tmp_path: Path) -> None:
    expected = ready_to_run(graph(), CPU, tmp_path)(*inputs(2))
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    middle = len(whole) // 2
    damaged = {"cut": whole[:middle], "emptied": b"", "changed": whole[:middle] + b"?" + whole[middle + 1 :]}
    file.write_bytes(damaged[damage])
    np.testing.assert_equal(ready_to_run(graph(), CPU, tmp_path)(*inputs(2)), expected)
    assert ready_to_run(graph(build=refuse), CPU, tmp_path), "what was made anew is kept"


@needs_openvino
def test_a_conversion_removes_only_outdated_files(tmp_path: Path) -> None:
    """Of earlier versions, of networks long unused, and all but four of each; what is not a network stays."""
    names = ["small-0123456789abcdef", "dir-s-0123456789abcdef", "gone-2-0123456789abcdef"]
    names += ["other-2-0123456789abcdef", *(f"small-1-{number:016x}" for number in range(5))]
    for age, name in enumerate(reversed(names)):
        (tmp_path / f"{name}.network").touch()
        used_s = time.time() - 3600 * age
        os.utime(tmp_path / f"{name}.network", (used_s, used_s))
    os.utime(tmp_path / "gone-2-0123456789abcdef.network", (0, 0))
    for name in ("small-notes.network", "small-0123456789abcdef.txt"):
        (tmp_path / name).touch()
    ready_to_run(graph(), CPU, tmp_path)
    left = {path.name.removesuffix(".network") for path in tmp_path.iterdir()}
    assert {name for name in names if name in left} == {
        "other-2-0123456789abcdef",
        *(f"small-1-{number:016x}" for number in (2, 3, 4)),
    }
    assert len(left) == 7, "the new one and the two that are no networks"


@needs_openvino
def test_an_unwritable_cache_is_reported_once_and_the_network_still_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    cache = tmp_path / "file" / "cache"
    found = ready_to_run(graph(), CPU, cache)(*inputs(2))
    for one, other in zip(found, TorchRun(graph().build(), CPU)(*inputs(2)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6, rtol=1e-5)
    ready_to_run(graph(digest="b"), CPU, cache)
    assert [str(cache) in message for message in caplog.messages].count(True) == 1


@needs_openvino
def test_openvinos_telemetry_is_never_imported(tmp_path: Path) -> None:
    """A made-up telemetry package says so by a file when it is imported; none is written."""
    package, home = tmp_path / "site" / "openvino_telemetry", tmp_path / "home"
    package.mkdir(parents=True)
    home.mkdir()
    told = f"open({str(home / 'told')!r}, 'w').close()"
    (package / "__init__.py").write_text(
        f"{told}\nclass Telemetry:\n    def __getattr__(self, name): {told}\n"
    )
    environment = {**os.environ, "HOME": str(home), "USERPROFILE": str(home)}
    environment["PYTHONPATH"] = os.pathsep.join([str(package.parent), str(Path(__file__).parents[2])])

    def files_after(module: str) -> list[Path]:
        subprocess.run([sys.executable, "-c", f"import {module}"], env=environment, check=True)
        return [path for path in home.rglob("*") if path.is_file()]

    assert files_after("inference_core.runtime.openvino_run") == []
    assert files_after("openvino_telemetry"), "the made-up package does tell"


def test_only_one_module_imports_openvino() -> None:
    root = Path(__file__).parents[2]
    sources = [
        path for room in ("inference_core", "training", "benchmarks") for path in (root / room).rglob("*.py")
    ]
    found = [path.name for path in sources if "import openvino" in path.read_text(encoding="utf-8")]
    assert found == ["openvino_run.py"]


class _SmallMemory(nn.Module):
    """Takes two rows at a time at most."""

    def forward(self, values: Tensor) -> Tensor:
        if len(values) > 2:
            raise torch.OutOfMemoryError("made up")
        return values * 2


def test_running_out_of_memory_leads_to_smaller_batches() -> None:
    values = np.arange(7.0, dtype=np.float32)[:, None]
    (found,) = TorchRun(_SmallMemory(), CPU)(values)
    np.testing.assert_array_equal(found, values * 2)
