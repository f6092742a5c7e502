# SPDX-License-Identifier: GPL-3.0-or-later
"""Thousands of damaged files: only the project's own errors may occur, within time and memory limits.

    python -m tools.fuzz                    # twenty minutes over all kinds
    python -m tools.fuzz --minutes 3 takes  # one kind

Each kind runs in a separate process under limits. An input that exceeds them, or raises a foreign error, is kept with
the error's traceback, and the first error at each place is printed. The exit code is 1 if there was any.
"""

import argparse
import faulthandler
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

from inference_core.shared.errors import DuohandError
from tools.fuzz_kinds import KINDS, Attempt

_LONGEST_S, _LONGEST_WAIT_S = 5, 60  # an input: of processor time, and by the clock
_MOST_MEMORY = 1 << 30  # beyond what the process has once its libraries are loaded
_CHANGES = 6
_LAST_WORDS = 2000  # of a process that was ended
_NASTY = (b"\xff" * 8, b"\0" * 8, b"9" * 20, b"-1", b"1e999", b"NaN", b"[" * 400, b'"')


def main(arguments: list[str] | None = None) -> int:
    """Fuzz the given kinds one after the other; the exit code."""
    parser = argparse.ArgumentParser(description="Fuzz the readers of files and messages.")
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(KINDS)} (default: all)")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument(
        "--kept", type=Path, default=Path("runs/fuzz"), help="folder for inputs that cause failures"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    kinds = options.kinds or list(KINDS)
    if options.one:
        return _fuzz(kinds[0], options.minutes * 60, options.seed, options.kept)
    options.kept.mkdir(parents=True, exist_ok=True)
    broken = sum(
        _under_limits(kind, options.minutes / len(kinds), options.seed, options.kept) for kind in kinds
    )
    return 1 if broken else 0


def _under_limits(kind: str, minutes: float, seed: int, kept: Path) -> int:
    """Fuzz one kind in processes that may die; the number of inputs that broke something."""
    counts, broken, end_s = Counter[str](), 0, time.monotonic() + 60 * minutes
    while (left_s := end_s - time.monotonic()) > 0:
        words = ["--one", "--minutes", f"{left_s / 60}", "--kept", str(kept), "--seed", f"{seed}", kind]
        child = subprocess.run(
            [sys.executable, "-m", "tools.fuzz", *words], stdout=subprocess.PIPE, check=False
        )
        lines = child.stdout.decode().splitlines()
        counts.update(json.loads(lines[-1]) if lines else {})
        seed += 1_000_003
        if child.returncode:
            broken += 1
            culprit = (kept / f"{kind}.last").replace(kept / f"{kind}-{seed}")
            last_words = (kept / f"{kind}.said").read_text(errors="replace")[-_LAST_WORDS:]
            print(f"{kind}: {culprit} ended the process ({child.returncode}). {last_words}", flush=True)
    foreign = sum(count for name, count in counts.items() if name.startswith("foreign"))
    text = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    print(f"{kind}: {counts.total()} inputs: {text}; {broken} ended the process", flush=True)
    return broken + foreign


def _fuzz(kind: str, seconds: float, seed: int, kept: Path) -> int:
    """Within the limits: inputs until the time is up; the counts as a line of JSON."""
    import resource  # Windows has no such limits

    _hush(kept / f"{kind}.said")
    make, attempt = KINDS[kind]
    whole, rng, counts = make(), random.Random(seed), Counter[str]()
    _attempt(attempt, whole, kept / f"{kind}.last")  # loads what the reader needs
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MOST_MEMORY, used + _MOST_MEMORY))
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        data = damaged(whole, rng.getrandbits(48))
        signal.setitimer(signal.ITIMER_PROF, _LONGEST_S)
        faulthandler.dump_traceback_later(_LONGEST_WAIT_S, exit=True, file=2)
        outcome, error = _attempt(attempt, data, kept / f"{kind}.last")
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_PROF, 0)
        counts[outcome] += 1
        if error is not None:
            _keep(kept / f"{kind}-{seed}-{counts.total()}", data, error, is_first=counts[outcome] == 1)
    print(json.dumps(counts), flush=True)
    return 0


def _hush(path: Path) -> None:
    """Redirect libraries' messages about damaged files to that file; Python's own errors stay on the terminal."""
    sys.stderr = os.fdopen(os.dup(2), "w")
    with path.open("w") as said:
        os.dup2(said.fileno(), 2)
    faulthandler.enable(2)
    faulthandler.register(signal.SIGPROF, file=2, chain=True)  # then the process ends


def _attempt(attempt: Attempt, data: bytes, path: Path) -> tuple[str, Exception | None]:
    """The result for the input, and the error if it is a foreign one."""
    path.write_bytes(data)
    try:
        attempt(path)
    except DuohandError:
        return "refused", None
    except Exception as error:  # noqa: BLE001 (what is looked for)
        return f"foreign: {type(error).__name__} in {_place(error)}", error
    return "read", None


def _place(error: Exception) -> str:
    """The innermost line of the project's own code in the error's traceback."""
    steps = [step for step in traceback.extract_tb(error.__traceback__) if "inference_core" in step.filename]
    return f"{Path(steps[-1].filename).name}:{steps[-1].lineno}" if steps else "no file of the project"


def _keep(path: Path, data: bytes, error: Exception, *, is_first: bool) -> None:
    path.write_bytes(data)
    text = "".join(traceback.format_exception(error))
    path.with_name(f"{path.name}.traceback").write_text(text)
    if is_first:
        print(f"{path}:\n{text}", file=sys.stderr, flush=True)


def damaged(whole: bytes, seed: int) -> bytes:
    """The bytes with some of them changed, removed, duplicated or inserted."""
    rng, data = random.Random(seed), bytearray(whole)
    for _ in range(rng.randint(1, _CHANGES)):
        start = (
            int(len(data) * rng.random() ** 3) if data else 0
        )  # structure lies in front more often than not
        stop = start + rng.randint(1, 16)
        way = rng.randrange(5)
        if way == 0:
            data[start:stop] = rng.randbytes(stop - start)
        elif way == 1:
            del data[start : start + rng.randint(1, 400)]
        elif way == 2:
            data[start:start] = data[start:stop] * rng.choice([1, 3, 2000])
        elif way == 3:
            data[start:stop] = rng.choice(_NASTY)
        else:
            del data[len(data) - rng.randint(0, min(len(data), 4000)) :]
    return bytes(data)


if __name__ == "__main__":
    sys.exit(main())
