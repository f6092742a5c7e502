# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `duohand` and its commands.

Heavy modules load when a command runs.
"""

import argparse
import logging
import os
import signal
import stat
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from inference_core import __version__
from inference_core.cli import exchange_commands, live_command, network_commands
from inference_core.cli.capture_arguments import add_limits, add_settings, settings
from inference_core.cli.terminal import forgiving_streams
from inference_core.crash_log import exit_code, message_and_log
from inference_core.runtime.process import settle_process
from inference_core.runtime.stopwatch import START, Stopwatch, timed
from inference_core.shared.errors import DuohandError, RequestError
from inference_core.shared.messages import (
    EXIT_CANCELLED,
    EXIT_FAILED,
    EXIT_OK,
    STOPPED_TEXT,
    Cancelled,
    CaptureRequest,
    SolveRequest,
    encode_request,
)
from inference_core.supervisor import stdin_lines, supervise

_EXIT_CODES = (
    "Exit codes: 0 done; 1 failed while running (disk, memory, or a bug in Duohand, recorded in a log file); "
    "2 the input cannot be used; 130 stopped, and the same command resumes from there."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    settle_process()
    with forgiving_streams():
        logging.basicConfig(format="%(message)s", stream=sys.stderr)
        parsed = _parser().parse_args(arguments)
        before = signal.signal(signal.SIGTERM, _stop)
        try:
            return parsed.run(parsed)
        except DuohandError as error:
            print(f"duohand: {error}", file=sys.stderr)
            return exit_code(error)
        except (KeyboardInterrupt, Cancelled):
            print(f"\n{STOPPED_TEXT}", file=sys.stderr)
            return EXIT_CANCELLED
        except Exception as error:  # noqa: BLE001 (the outermost border: unexpected errors go into a log)
            print(f"duohand: {message_and_log(error)}", file=sys.stderr)
            return EXIT_FAILED
        finally:
            signal.signal(signal.SIGTERM, before)


def _stop(_number: int, _frame: object) -> None:
    raise Cancelled


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="duohand", description="Footage of two hands in, a take out.", epilog=_EXIT_CODES
    )
    parser.add_argument("--version", action="version", version=f"duohand {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_reconstruct(
        commands.add_parser("reconstruct", help="make a take (and a preview movie) from footage")
    )
    _add_batch(commands.add_parser("batch", help="make takes of many shots, and a report"))
    _add_solve(commands.add_parser("solve", help="solve a range of a take again, with corrections"))
    _add_preview(commands.add_parser("preview", help="draw a take's hands over its footage"))
    _add_inspect(commands.add_parser("inspect", help="show a take's contents as a table or curves"))
    exchange_commands.add_parsers(commands)
    live_command.add_parser(commands)
    worker = commands.add_parser("worker", help="JSON requests on stdin, JSON lines on stdout")
    worker.add_argument(
        "--idle",
        type=_idle_s,
        default=0.0,
        metavar="SECONDS",
        help="wait this long for another request after each (default: exit after one)",
    )
    worker.set_defaults(run=_worker)
    network_commands.add_parser(commands)
    for name in ("network", "import-weights"):
        commands.choices[name].set_defaults(run=network_commands.run)
    return parser


def _add_reconstruct(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_reconstruct)
    parser.add_argument(
        "footage", help="a movie, a folder of numbered pictures, the first of them, or shot_####.png"
    )
    parser.add_argument("--out", metavar="T.npz", help="the take (default: the footage's name, here)")
    parser.add_argument("--preview", metavar="P.mp4", help="also write a movie of the hands over the footage")
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="resume from the results of a stopped run of the same request (default)",
    )
    parser.add_argument("--profile", action="store_true", help="also report how the time was spent")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="JSON messages on stdout (docs/protocol.md)")
    output.add_argument(
        "--progress",
        choices=("bar", "openjd"),
        default="bar",
        help="openjd: lines that Open Job Description reads",
    )
    add_settings(parser)


def _add_batch(parser: argparse.ArgumentParser) -> None:
    from inference_core.batch.command import add_arguments

    add_arguments(parser)
    add_settings(parser)
    parser.set_defaults(settings=settings)


def _add_solve(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_solve)
    parser.add_argument("take", metavar="TAKE", help="a take; the footage is not needed")
    parser.add_argument("--out", metavar="T.npz", required=True, help="the take with that range solved again")
    parser.add_argument(
        "--range",
        metavar="A-B",
        help="frames of the footage, both included (default: those that the corrections affect)",
    )
    parser.add_argument(
        "--corrections", metavar="FILE.json", help="the corrections (see docs/corrections.md)"
    )
    parser.add_argument(
        "--blend",
        type=int,
        default=SolveRequest.blend,
        metavar="N",
        help="frames over which the range is blended into the rest (default: 6)",
    )
    parser.add_argument("--mano", metavar="DIR", help="your MANO files, if they have moved since the capture")


def _add_preview(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_preview)
    parser.add_argument("take", metavar="TAKE", type=Path, help="a take")
    parser.add_argument("footage", metavar="FOOTAGE", help="the footage that it was made from")
    parser.add_argument("out", metavar="OUT.mp4", type=Path, help="the movie")
    add_limits(parser)


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_inspect)
    parser.add_argument("take", metavar="TAKE", type=Path, help="a take")
    parser.add_argument("--plot", metavar="OUT.png", type=Path, help="curves as a picture (needs matplotlib)")


def _reconstruct(parsed: argparse.Namespace) -> int:
    request = CaptureRequest(
        footage=parsed.footage,
        out=parsed.out or _default_out(parsed.footage),
        preview=parsed.preview,
        resume=parsed.resume,
        profile=parsed.profile,
        **settings(parsed),
    )
    if parsed.json:
        # Only a pipe that closes shows that the parent is gone; a terminal or /dev/null does not.
        piped = sys.stdin is not None and stat.S_ISFIFO(os.fstat(0).st_mode)
        return supervise(stdin_lines() if piped else None, encode_request(request))
    watch = Stopwatch()
    with watch.running():
        with timed(START):
            from inference_core.cli.job_progress import JobProgress
            from inference_core.cli.profile_table import print_profile
            from inference_core.cli.take_report import summary
            from inference_core.cli.terminal import ProgressBar
            from inference_core.pipeline import reconstruct

        with JobProgress() if parsed.progress == "openjd" else ProgressBar() as bar:
            take = reconstruct(request, bar.show, bar.warn)
    if request.profile:
        print_profile(watch.profile(take.frame_count), sys.stderr)
    print(summary(take))
    print(f"Take: {request.out}" + (f"\nPreview: {request.preview}" if request.preview else ""))
    return EXIT_OK


def _default_out(footage: str) -> str:
    """The default take: the footage's name in the current folder, without a pattern's frame number."""
    from inference_core.shared.footage_listing import footage_stem

    meant = str(Path(footage).resolve()) if footage in (".", "..") else footage
    return f"{footage_stem(meant) or 'take'}.npz"


def _solve(parsed: argparse.Namespace) -> int:
    from inference_core.cli.take_report import summary
    from inference_core.cli.terminal import ProgressBar
    from inference_core.solve_request import solve_take

    first, last = _both_ends(parsed.range) if parsed.range else (None, None)
    request = SolveRequest(
        parsed.take, parsed.out, first, last, parsed.corrections, parsed.mano, parsed.blend
    )
    with ProgressBar() as bar:
        take = solve_take(request, bar.show)
    print(summary(take))
    print(f"Take: {request.out}")
    return EXIT_OK


def _both_ends(text: str) -> tuple[int, int]:
    """First and last frame of A-B."""
    first, _, last = text.partition("-")
    if not (first.isascii() and first.isdecimal() and last.isascii() and last.isdecimal()):
        raise RequestError(f"The range {text!r} is invalid. Give first and last frame, such as 120-180.")
    return int(first), int(last)


def _preview(parsed: argparse.Namespace) -> int:
    from inference_core.cli.terminal import ProgressBar
    from inference_core.footage import FrameRange, limits_of, open_footage
    from inference_core.preview import check_preview_name, write_preview
    from inference_core.request_inputs import footage_inputs
    from inference_core.shared.take import load_take
    from inference_core.shared.whole_file import check_apart

    check_apart([parsed.out], [parsed.take, *footage_inputs(parsed.footage)])
    check_preview_name(parsed.out)
    take = load_take(parsed.take)
    step = int(take.frame[1] - take.frame[0]) if take.frame_count > 1 else 1
    frames = FrameRange(int(take.frame[0]), int(take.frame[-1]) + 1, step)
    limits = limits_of(parsed.max_pixels, parsed.max_frames)
    with ProgressBar() as bar:
        footage = open_footage(parsed.footage, frames, take.fps, bar.warn, limits)
        write_preview(take, footage, parsed.out, bar.show)
    print(f"Preview: {parsed.out}")
    return EXIT_OK


def _inspect(parsed: argparse.Namespace) -> int:
    from inference_core.cli.take_report import facts, figures, plot_curves, remarks
    from inference_core.cli.terminal import print_table
    from inference_core.shared.take import load_take
    from inference_core.shared.whole_file import check_apart

    take = load_take(parsed.take)
    print(facts(take), end="\n\n")
    print_table(("", "left", "right"), figures(take))
    print(*remarks(take), sep="\n")
    if parsed.plot is not None:
        check_apart([parsed.plot], [parsed.take])
        plot_curves(take, parsed.plot)
        print(f"Curves: {parsed.plot}")
    return EXIT_OK


def _worker(parsed: argparse.Namespace) -> int:
    return supervise(stdin_lines(), idle_s=parsed.idle)


def _idle_s(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError("give seconds, 0 or more")
    return seconds


def command() -> NoReturn:
    """The command line as a process. It ends at once: a library that is still busy would hold it up."""
    code = main()
    logging.shutdown()
    os._exit(code)


if __name__ == "__main__":
    command()
