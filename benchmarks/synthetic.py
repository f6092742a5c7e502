# SPDX-License-Identifier: GPL-3.0-or-later
"""Synthetic pictures per second: python -m benchmarks.synthetic [--device cuda] [--batch 256]."""

import argparse
import time
from dataclasses import replace

import torch

from training.synthetic.background import procedural_bank
from training.synthetic.generate import generate, load_kit
from training.synthetic.settings import Settings


def main() -> None:
    """Print a table: pictures a second with edges sampled 2 x 2 and once, and the time to the first batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, help="pictures in a batch; default 16 on a CPU, 512 on a GPU")
    parser.add_argument(
        "--chunk", type=int, help="pictures rendered at once; default 16 on a CPU, 256 on a GPU"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    on_gpu = device.type == "cuda"
    batch, chunk = options.batch or (512 if on_gpu else 16), options.chunk or (256 if on_gpu else 16)
    settings = Settings(backgrounds=256 if on_gpu else 16, chunk=chunk, vertices=False)

    start = time.perf_counter()
    load_kit(device)
    kit_s = time.perf_counter() - start
    start = time.perf_counter()
    procedural_bank(1, settings.backgrounds, device)
    _finish(device)
    bank_s = time.perf_counter() - start
    name = torch.cuda.get_device_name(device) if on_gpu else f"CPU, {options.threads} thread(s)"
    print(f"{name}; torch {torch.__version__}; batches of {batch}, {chunk} at once")
    print(f"once: hand, skin, spheres {kit_s:.1f} s; {settings.backgrounds} backgrounds {bank_s:.1f} s")
    print("| pictures, 256 px | pictures a second (best, median) | peak memory |\n|---|---|---|")
    for supersample in (2, 1):
        chosen = replace(settings, supersample=supersample)
        generate(1, batch, device, chosen)
        seconds = sorted(_seconds(device, batch, chosen, number) for number in range(options.repeats))
        memory = f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB" if on_gpu else "-"
        best, median = batch / seconds[0], batch / seconds[len(seconds) // 2]
        print(f"| edges {supersample} x {supersample} | {best:.1f}, {median:.1f} | {memory} |")


def _seconds(device: torch.device, batch: int, settings: Settings, number: int) -> float:
    _finish(device)
    start = time.perf_counter()
    generate(1, batch, device, settings, (number + 1) * batch)
    _finish(device)
    return time.perf_counter() - start


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
