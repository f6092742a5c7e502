# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the two-hand networks run, against a plain eager float32 run of the same graph in the same process.

    python -m tests.benchmarks.network [--network dir-release|dir-paper|dir-s] [--device cpu|cuda] [--batch 1 8]
                                       [--onnx FILE.onnx]

The plain run is the graph as published: the bone projection's map is built and the training heads run. The
engines leave out the heads, which only serve training; the gain against a plain run without them is printed too.
An ONNX file of the same network and batch is written where the `onnx` package is installed (`make test-export`),
else `--onnx` names one.
Weights are random: speed does not depend on them, errors do, and are printed for what these weights give.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch

from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_open_hand
from inference_core.network.configuration import CONFIGURATIONS, CROP_PX
from inference_core.network.dir import DirNetwork
from inference_core.network.engine import Engine, TorchEngine
from inference_core.network.onnx_engine import OnnxRuntimeEngine, OpenVinoEngine, export_onnx
from inference_core.network.table import cost

# Dense bfloat16 limit of an H100 (SXM), operations a second.
H100_BF16 = 989e12


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", choices=CONFIGURATIONS, default="dir-release")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch", type=int, nargs="+")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--onnx", type=Path, help="an exported file of this network and batch")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    network, hand = DirNetwork(CONFIGURATIONS[arguments.network]).eval(), load_open_hand()
    for batch in arguments.batch or ([64] if arguments.device == "cuda" else [1, 8]):
        compare(network, hand, arguments.device, batch, arguments.runs, arguments.onnx)


def compare(
    network: DirNetwork, hand: HandModel, device: str, batch: int, runs: int, onnx: Path | None
) -> None:
    """Prints a line for every engine."""
    image = torch.randn(batch, 3, CROP_PX, CROP_PX, generator=torch.Generator().manual_seed(1))
    published = DirNetwork(network.configuration, as_published=True).eval()
    published.load_state_dict(network.state_dict())
    published, moved, there = published.to(device), hand.to(device), image.to(device)

    def plain(heads: bool) -> torch.Tensor:
        with torch.no_grad():
            vertices = published(there, moved, picture_heads=heads).answer.vertices_m
        assert vertices is not None
        return vertices

    reference = plain(True).cpu()
    slow = seconds(lambda: plain(True), device, runs)
    slow_without = seconds(lambda: plain(False), device, runs)
    print(f"{network.configuration.name} batch {batch} on {device}")
    print(
        f"  plain eager float32       {batch / slow:8.1f} crops/s; without heads {batch / slow_without:8.1f}"
    )
    for engine in engines(network, hand, device, batch, onnx):
        taken = seconds(lambda engine=engine: engine(image), device, runs)
        found = engine(image).vertices_m
        assert found is not None
        error_mm = 1e3 * (found - reference).norm(dim=-1).mean().item()
        line = f"  {engine.name:<25} {batch / taken:8.1f} crops/s {slow / taken:6.2f} x ({slow_without / taken:.2f} x)"
        print(f"{line}  vertices {error_mm:.4f} mm{share(network, hand, device, batch / taken)}", flush=True)


def engines(network: DirNetwork, hand: HandModel, device: str, batch: int, onnx: Path | None) -> list[Engine]:
    """Everything that can run here."""
    if device == "cuda":
        halves = [(False, False), (True, False), (True, True)]
        return [TorchEngine(network, hand, device, half=half, compiled=compiled) for half, compiled in halves]
    found: list[Engine] = [TorchEngine(network, hand), TorchEngine(network, hand, half=True)]
    if onnx is None and find_spec("onnx") is not None:
        onnx = Path(tempfile.mkdtemp()) / "network.onnx"
        export_onnx(network, hand, onnx, batch)
    if onnx is not None:
        found += [OnnxRuntimeEngine(onnx), OpenVinoEngine(onnx, half=False), OpenVinoEngine(onnx, half=True)]
    return found


def seconds(run: Callable[[], object], device: str, runs: int) -> float:
    """Median seconds of a run, after two to warm up."""
    times = []
    for _ in range(runs + 2):
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def share(network: DirNetwork, hand: HandModel, device: str, crops_a_second: float) -> str:
    """What of an H100's bfloat16 limit is used."""
    if device != "cuda":
        return ""
    return (
        f"  {100 * crops_a_second * cost(network.configuration, hand).flops / H100_BF16:.1f} % of 989 TFLOP/s"
    )


if __name__ == "__main__":
    main()
