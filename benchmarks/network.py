# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the two-hand networks run, against a plain eager float32 run of the same graph in the same process.

    python -m benchmarks.network [--network dir-release|dir-paper|dir-s] [--device cpu|cuda] [--batch 1 8]
                                       [--rounds 7] [--memory]

The plain run is the graph as published: the bone projection's map is built and the training heads run. The
engines leave out the heads, which only serve training; "without heads" is the plain run without them.
Engines take turns, round by round, so that another job on the machine slows all of them alike; times are medians.
"CPU s" is the processor time of a crop, all threads together, which other jobs hardly change.
--memory: the peak of a fresh process that runs a batch, plain and by each engine; OpenVINO's with the conversion, which
later runs are spared.
Weights are random: speed does not depend on them, errors do, and are printed for what these weights give.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch._inductor.constant_folding import constant_fold
from torch.fx.experimental.proxy_tensor import make_fx

from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_open_hand
from inference_core.runtime.network_graph import NetworkGraph
from inference_core.runtime.network_run import ready_to_run, runs_in_openvino
from inference_core.two_hand.card import WeightsCard
from inference_core.two_hand.configuration import CONFIGURATIONS, CROP_PX
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.engine import CPU_ROWS, Engine, GraphEngine, graph_inputs, output_names
from inference_core.two_hand.hand_graph import prepared
from inference_core.two_hand.model_cost import cost
from inference_core.two_hand.torch_engine import torch_engine
from inference_core.two_hand.weights import load_weights, save_weights

# Dense bfloat16 limit of an H100 (SXM), operations a second.
H100_BF16 = 989e12
# The threads of the engine before spin on for a while.
_REST_S = 0.3
PLAIN, HEADLESS = "plain eager float32", "without heads"

Run = Callable[[Tensor], Tensor]  # pictures to the answer's vertices
Load = Callable[[], DirNetwork]


@dataclass
class Times:
    """Seconds of every round: by the clock, and of the processor."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", choices=CONFIGURATIONS, default="dir-release")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch", type=int, nargs="+")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    network, hand = DirNetwork(CONFIGURATIONS[arguments.network]).eval(), load_open_hand()
    with tempfile.TemporaryDirectory() as folder:
        for batch in arguments.batch or ([64] if arguments.device == "cuda" else [1, 8]):
            if arguments.memory:
                print_peaks(network, batch, Path(folder))
            else:
                compare(network, hand, arguments.device, batch, arguments.rounds)


def compare(network: DirNetwork, hand: HandModel, device: str, batch: int, rounds: int) -> None:
    """Prints a line for every way to run the network."""
    image = torch.randn(batch, 3, CROP_PX, CROP_PX, generator=torch.Generator().manual_seed(1)).to(device)
    ways = {name: make(lambda: network, hand, device) for name, make in makers(device).items()}
    found = {name: run(image) for name, run in ways.items()}
    times = {name: Times() for name in ways}
    for turn in range(rounds + 1):
        for name, run in ways.items():
            time.sleep(_REST_S)
            wall, processor = time.perf_counter(), time.process_time()
            run(image)
            if turn > 0:  # the first round warms up
                times[name].wall.append(time.perf_counter() - wall)
                times[name].processor.append(time.process_time() - processor)
    print(
        f"{network.configuration.name}, batch {batch}, {device}, {torch.get_num_threads()} threads, median of {rounds}"
    )
    print(f"  {'':<30} crops/s   gain  CPU s/crop  vertices off")
    slow = statistics.median(times[PLAIN].wall)
    operations = cost(network.configuration, hand).flops
    for name, taken in times.items():
        seconds, processor = statistics.median(taken.wall), statistics.median(taken.processor)
        error_mm = 1e3 * (found[name] - found[PLAIN]).norm(dim=-1).mean().item()
        line = f"  {name:<30} {batch / seconds:7.1f} {slow / seconds:6.2f} {processor / batch:10.3f}"
        share = 100 * batch / seconds * operations / H100_BF16
        limit = f"  {share:.1f} % of 989 TFLOP/s" if device == "cuda" else ""
        print(f"{line}  {error_mm:8.4f} mm{limit}", flush=True)


def makers(device: str) -> dict[str, Callable[[Load, HandModel, str], Run]]:
    """How each way to run the network is made: of what loads it, the hand model and the device."""
    ways: dict[str, Callable[[Load, HandModel, str], Run]] = {
        PLAIN: plain,
        HEADLESS: partial(plain, heads=False),
        "torch float32, norms fused": lambda load, h, d: answers(torch_engine(load(), h, d, vertices=True)),
    }
    if runs_in_openvino(device):
        ways["OpenVINO"] = openvino
    if device == "cuda":
        ways["bfloat16"] = partial(bfloat16, recorded=False)
        ways["bfloat16, CUDA graph"] = partial(bfloat16, recorded=True)
    return ways


def bfloat16(load: Load, hand: HandModel, device: str, recorded: bool) -> Run:
    """The fused network in bfloat16; recorded: as a CUDA graph, made for the first batch's size and replayed.

    What cannot be recorded is reported once and runs as it is.
    """
    network, place = load(), torch.device(device)
    graph = prepared(network, hand, device, vertices=True).to(place)
    answer = output_names(network.configuration, vertices=True).index("vertices_m")
    inputs: list[Tensor] = []
    replayed: list[tuple[torch.cuda.CUDAGraph, Tensor]] = []

    def work(*values: Tensor) -> Tensor:
        # Casts that autocast keeps would lie outside of what is recorded.
        with torch.no_grad(), torch.autocast(place.type, torch.bfloat16, cache_enabled=False):
            return graph(*values)[answer]

    def run(image: Tensor) -> Tensor:
        if not inputs:
            known = graph_inputs(image.cpu().numpy(), None, network.configuration.conditioning)
            inputs.extend(torch.tensor(value, device=place) for value in known)
            if recorded:
                try:
                    replayed.append(_recorded(with_constants(work, inputs, place), inputs))
                except RuntimeError as error:
                    print(f"  no CUDA graph: {str(error).splitlines()[0]}")
        inputs[0].copy_(image)
        for cuda_graph, vertices in replayed:
            cuda_graph.replay()
            return vertices.float().cpu()
        return work(*inputs).float().cpu()

    return run


def with_constants(
    work: Callable[..., Tensor], inputs: Sequence[Tensor], place: torch.device
) -> Callable[..., Tensor]:
    """The same for inputs of these shapes, with everything constant computed beforehand on the device: a recording may
    copy nothing from the processor.
    """
    traced = make_fx(work)(*inputs)
    constant_fold(traced)
    return traced.to(place)


def _recorded(work: Callable[..., Tensor], inputs: Sequence[Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    """`work` as a CUDA graph, and where its result is after each replay. Raises RuntimeError."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.no_grad(), torch.cuda.stream(aside):
        for _ in range(3):
            work(*inputs)
    torch.cuda.current_stream().wait_stream(aside)
    cuda_graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(cuda_graph):
        answer = work(*inputs)
    return cuda_graph, answer


def openvino(load: Load, hand: HandModel, device: str) -> Run:
    """As the predictor runs it, with vertices."""
    network = load()
    example = np.zeros((CPU_ROWS, 3, CROP_PX, CROP_PX), np.float32)
    conditioning = network.configuration.conditioning
    graph = NetworkGraph(
        "benchmark",
        str(time.time()),
        lambda: prepared(network, hand, device, vertices=True),
        tuple(graph_inputs(example, None, conditioning)),
    )
    with tempfile.TemporaryDirectory() as cache:
        run = ready_to_run(graph, device, Path(cache))
    return answers(GraphEngine(run, output_names(network.configuration, vertices=True), conditioning))


def plain(load: Load, hand: HandModel, device: str, heads: bool = True) -> Run:
    """The graph as published, eager float32; it takes the loaded network's weights over without a copy."""
    network = load()
    published = DirNetwork(network.configuration, as_published=True).eval()
    published.load_state_dict(network.state_dict(), assign=True)
    del network
    published, moved = published.to(device), hand.tensors(device=device)

    def run(image: Tensor) -> Tensor:
        with torch.no_grad():
            vertices = published(image.to(device), moved, picture_heads=heads).answer.vertices_m
        assert vertices is not None
        return vertices.cpu()

    return run


def answers(engine: Engine) -> Run:
    """An engine as a function from pictures to vertices."""

    def run(image: Tensor) -> Tensor:
        vertices = engine(image.cpu().numpy()).vertices_m
        assert vertices is not None
        return torch.from_numpy(vertices)

    return run


def print_peaks(network: DirNetwork, batch: int, folder: Path) -> None:
    """Prints the peak memory of every way to run the network, each in a process of its own."""
    card = WeightsCard(network.configuration, "random numbers", "none", "open hand")
    save_weights(network, folder / "weights", card)
    print(f"{network.configuration.name}, batch {batch}: peak memory of a process")
    for name in makers("cpu"):
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            peak = pool.submit(peak_mib, name, folder / "weights", batch).result()
            print(f"  {name:<30} {peak:6.0f} MiB", flush=True)


def peak_mib(name: str, weights: Path, batch: int) -> float:
    """Peak resident memory (Linux) of this process after making the way and running a batch twice."""
    run = makers("cpu")[name](lambda: load_weights(weights)[0], load_open_hand(), "cpu")
    for _ in range(2):
        run(torch.zeros(batch, 3, CROP_PX, CROP_PX))
    # Not getrusage's, which a process inherits from the one that started it.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


if __name__ == "__main__":
    main()
