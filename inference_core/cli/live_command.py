# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `duohand live`: hands over a camera's picture in a local page, recorded and captured afterwards.

Heavy modules are imported when the command runs, not when the parser is built.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from inference_core.shared.errors import RequestError
from inference_core.shared.messages import EXIT_OK, CaptureRequest, check_request
from inference_core.shared.whole_file import check_name, unused_path

if TYPE_CHECKING:
    from inference_core.geometry.camera import Camera
    from inference_core.live.board import Shown
    from inference_core.live.source import Source


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # pyright: ignore[reportPrivateUsage]
    """Adds `live`."""
    parser = subparsers.add_parser("live", help="a camera's picture with the hands, live in a local page")
    parser.set_defaults(run=_live)
    parser.add_argument(
        "source",
        nargs="?",
        default="0",
        metavar="CAMERA|MOVIE",
        help="a camera's number (default: 0), or footage",
    )
    parser.add_argument("--record", type=Path, metavar="CLIP.mp4", help="record from the first frame")
    parser.add_argument("--out", metavar="T.npz", help="capture the recording afterwards into this take")
    parser.add_argument("--fov", type=float, metavar="DEG", help="the lens (default: 60 degrees)")
    parser.add_argument("--hand-length-mm", type=float, metavar="MM", help="wrist crease to middle fingertip")
    parser.add_argument("--seconds", type=float, metavar="S", help="end after this time")
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="of the page (default: any free one)"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the page's address")
    parser.add_argument(
        "--json", action="store_true", help="messages as JSON lines on stdout; ends when stdin is closed"
    )


def _live(parsed: argparse.Namespace) -> int:
    if parsed.record is not None:
        check_name(parsed.record, (".mp4",), "A recording")
    if parsed.out is not None:
        check_name(Path(parsed.out), (".npz",), "A take")
    check_request(CaptureRequest("", "", fov_deg=parsed.fov, hand_length_mm=parsed.hand_length_mm))
    if not 0 <= parsed.port < 65536 or (parsed.seconds is not None and not parsed.seconds > 0):
        raise RequestError("A port is 0 to 65535, and seconds are more than 0.")
    from inference_core.live.recorder import check_place
    from inference_core.live.source import open_source

    if parsed.record is not None:
        check_place(parsed.record)
    source = open_source(parsed.source)
    camera = _camera(source, parsed.fov)
    recordings = _shown(parsed, source, camera)
    if parsed.out is None or not recordings:
        return EXIT_OK
    return _captured(parsed, recordings[-1])


def _shown(parsed: argparse.Namespace, source: Source, camera: Camera) -> list[Path]:
    """Show the source until the end; the recordings made meanwhile."""
    from inference_core.hand_model.load import load_open_hand
    from inference_core.landmarks.networks import load_landmark_networks
    from inference_core.live.board import Board
    from inference_core.live.server import PageServer
    from inference_core.live.session import LiveSession, LiveSettings

    board = Board(source.name, source.size_px)
    settings = LiveSettings(
        recording_names(parsed.record), parsed.record is not None, parsed.seconds, parsed.hand_length_mm
    )
    networks = load_landmark_networks()
    session = LiveSession(source, board, networks, load_open_hand(), camera, settings)
    with PageServer(board, parsed.port) as server:
        _say(parsed, "page", f"Page: {server.url} (this machine only; End there, or Ctrl-C here)", server.url)
        if not parsed.no_browser:
            webbrowser.open(server.url)
        try:
            session.run(_closed_stdin() if parsed.json else lambda: False)
        finally:
            _say_what_was(parsed, board.shown, session.recordings)
    return session.recordings


def _say_what_was(parsed: argparse.Namespace, facts: Shown, recordings: list[Path]) -> None:
    rates = f"{facts.shown:.1f} of {facts.came:.1f} frames a second shown"
    text = f"{rates}, {facts.delay_ms:.0f} ms after they came"
    _say(parsed, "shown", f"{text}\n{facts.note}" if facts.note else text, facts.note)
    for path in recordings:
        _say(parsed, "recorded", f"Recorded: {path}", str(path))


def _captured(parsed: argparse.Namespace, clip: Path) -> int:
    """The full capture of a recording."""
    from inference_core.cli.take_report import summary
    from inference_core.cli.terminal import ProgressBar
    from inference_core.pipeline import reconstruct

    request = CaptureRequest(
        footage=str(clip), out=parsed.out, fov_deg=parsed.fov, hand_length_mm=parsed.hand_length_mm
    )
    with ProgressBar() as bar:
        take = reconstruct(request, bar.show, bar.warn)
    print(summary(take))
    print(f"Take: {request.out}")
    return EXIT_OK


def _camera(source: Source, fov_deg: float | None) -> Camera:
    from inference_core.geometry.camera import camera_from_fov, default_camera

    return default_camera(source.size_px) if fov_deg is None else camera_from_fov(source.size_px, fov_deg)


def recording_names(first: Path | None) -> Callable[[], Path]:
    """Names for recordings: the given one, then unused ones with the time in them."""
    names = [first] if first is not None else []
    return lambda: names.pop() if names else unused_path(Path(time.strftime("live-%Y%m%d-%H%M%S.mp4")))


def _closed_stdin() -> Callable[[], bool]:
    """Whether stdin has been closed, as it is when the parent ends."""
    closed = threading.Event()

    def wait() -> None:
        while sys.stdin is not None and sys.stdin.readline():
            pass
        closed.set()

    threading.Thread(target=wait, name="duohand-stdin", daemon=True).start()
    return closed.is_set


def _say(parsed: argparse.Namespace, kind: str, text: str, value: str) -> None:
    print(json.dumps({"type": kind, "value": value}) if parsed.json else text, flush=True)
