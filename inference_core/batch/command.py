# SPDX-License-Identifier: GPL-3.0-or-later
"""`duohand batch`: the command."""

import argparse
import re
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inference_core.batch.records import ShotRecord
from inference_core.shared.errors import RequestError
from inference_core.shared.messages import EXIT_CANCELLED, EXIT_FAILED, EXIT_OK

_SHOTS = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the batch's own arguments; the shots' settings are those of `duohand reconstruct`."""
    parser.set_defaults(run=run)
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="a manifest (.csv, .json), a folder of clips, clips, or patterns",
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder for the takes and the report"
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="simultaneous captures (default: as many as the machine allows)"
    )
    parser.add_argument("--retries", type=int, default=1, metavar="N", help="further attempts (default: 1)")
    parser.add_argument(
        "--only", metavar="N[-M]", help="only these shots of the list, counted from 1; no report is written"
    )
    parser.add_argument("--list", action="store_true", help="print the shots, and do nothing else")
    parser.add_argument(
        "--preview", action="store_true", help="also write a movie of each shot's hands over its footage"
    )
    parser.add_argument(
        "--progress",
        choices=("table", "openjd"),
        default="table",
        help="openjd: lines that Open Job Description reads",
    )
    farm = parser.add_argument_group("machines and Blender")
    farm.add_argument("--ray", metavar="ADDRESS", help="a Ray cluster: HOST:PORT, auto, or local")
    farm.add_argument(
        "--ray-cpus", type=int, default=2, metavar="N", help="processors per capture (default: 2)"
    )
    farm.add_argument(
        "--parts",
        type=int,
        default=1,
        metavar="N",
        help="share the reading of long shots among this many workers (default: 1)",
    )
    farm.add_argument("--blend", action="store_true", help="also write a Blender scene of each take")
    farm.add_argument("--fbx", action="store_true", help="also write an FBX of each take")
    farm.add_argument("--blender", default="blender", metavar="PATH", help="a Blender that has the add-on")


def run(parsed: argparse.Namespace) -> int:
    """Run the batch; 0 if all shots are done, 1 if some are not."""
    from inference_core.batch.blender_files import BlenderFiles
    from inference_core.batch.job_table import JobTable
    from inference_core.batch.live_table import LiveTable
    from inference_core.batch.manifest import read_shots
    from inference_core.batch.run import run_batch, write_reports

    for name in ("jobs", "ray_cpus", "parts"):
        if getattr(parsed, name) is not None and getattr(parsed, name) < 1:
            raise RequestError(f"--{name.replace('_', '-')} is {getattr(parsed, name)}; give 1 or more.")
    if parsed.retries < 0:
        raise RequestError(f"--retries is {parsed.retries}; give 0 or more.")
    folder = parsed.out.absolute()
    shots = read_shots(parsed.sources, folder, parsed.settings(parsed), parsed.preview)
    chosen = _chosen(parsed.only, len(shots))
    if parsed.list:
        for number, shot in enumerate(shots, 1):
            print(f"{number:>5}  {shot.name}  {shot.request.footage}")
        return EXIT_OK
    shots = shots[chosen]
    blender = BlenderFiles(parsed.blender, parsed.blend, parsed.fbx)
    blender.check()
    watch = JobTable(len(shots)) if parsed.progress == "openjd" else LiveTable(len(shots))
    with watch as table:
        records = run_batch(
            shots, folder, _pool(parsed), table.tell, threading.Event(), parsed.retries, blender
        )
    counts = Counter(record.state for record in records)
    print(", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    if parsed.only is None:
        print(f"Report: {write_reports(folder, records)}")
    return batch_exit_code(records, is_task=parsed.only is not None)


def batch_exit_code(records: Sequence[ShotRecord], is_task: bool) -> int:
    """The command's exit code. A farm's task fails only if another attempt may help; otherwise one unusable clip would
    block the tasks after it. The job's last task, the report, fails instead.
    """
    failed = [record for record in records if record.state == "failed"]
    if any(record.state == "stopped" for record in records):
        return EXIT_CANCELLED
    if is_task:
        failed = [record for record in failed if record.may_try_again]
    return EXIT_FAILED if failed else EXIT_OK


def _pool(parsed: argparse.Namespace) -> Any:
    pool = _workers(parsed)
    if parsed.parts == 1:
        return pool
    from inference_core.batch.in_parts import in_parts

    return in_parts(pool, parsed.parts)


def _workers(parsed: argparse.Namespace) -> Any:
    if parsed.ray:
        from inference_core.batch.ray_pool import run_on_ray

        return run_on_ray(parsed.ray, parsed.ray_cpus)
    from inference_core.batch.local_pool import default_jobs, run_here

    return run_here(parsed.jobs or default_jobs())


def _chosen(text: str | None, count: int) -> slice:
    if text is None:
        return slice(None)
    match = _SHOTS.fullmatch(text.strip())
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last <= count:
        raise RequestError(
            f"--only is {text!r}; give a shot's number from 1 to {count}, or two of them: 3-7."
        )
    return slice(first - 1, last)
