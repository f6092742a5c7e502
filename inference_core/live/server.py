# SPDX-License-Identifier: GPL-3.0-or-later
"""The local page: the changing picture, its figures and two buttons. For this machine only.

It is bound to 127.0.0.1, every address begins with a random token, and requests for other hosts are refused, so that no
web page can reach the camera through the browser.
"""

import json
import secrets
import threading
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from inference_core.live.board import Board
from inference_core.shared.errors import RequestError

_HOST = "127.0.0.1"
_PAGE = Path(__file__).with_name("page.html")
_BOUNDARY = "picture"


class PageServer:
    """Serves the board while the context is open."""

    def __init__(self, board: Board, port: int = 0) -> None:
        token = secrets.token_urlsafe(18)
        try:
            self._server = ThreadingHTTPServer((_HOST, port), _handler(board, token))
        except OSError as error:
            raise RequestError(
                f"Port {port} cannot be opened ({error.strerror}). Choose another, or leave --port out."
            ) from error
        self._server.daemon_threads = True
        self.url = f"http://{_HOST}:{self._server.server_address[1]}/{token}/"
        self._thread = threading.Thread(target=self._server.serve_forever, name="duohand-page", daemon=True)

    def __enter__(self) -> "PageServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(board: Board, token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def do_GET(self) -> None:
            """Send the page, its picture or its figures."""
            match self._asked():
                case "":
                    self._answer(_PAGE.read_bytes(), "text/html; charset=utf-8")
                case "state":
                    self._answer(json.dumps(asdict(board.shown)).encode(), "application/json")
                case "picture":
                    self._stream()
                case _:
                    self._refuse()

        def do_POST(self) -> None:
            """Handle a button."""
            match self._asked():
                case "record":
                    board.wants_recording = not board.wants_recording
                case "end":
                    board.wants_end = True
                case _:
                    return self._refuse()
            return self._answer(b"{}", "application/json")

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing: the address is secret."""

        def _asked(self) -> str | None:
            """The path after the token; None if the request is not allowed."""
            host = (self.headers.get("Host") or "").partition(":")[0]
            start, _, rest = self.path.removeprefix("/").partition("/")
            known = secrets.compare_digest(start.encode(), token.encode()) and host in (_HOST, "localhost")
            return rest if known else None

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline'")
            self.end_headers()
            self.wfile.write(body)

        def _refuse(self) -> None:
            self.send_response(HTTPStatus.NOT_FOUND)
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True

        def _stream(self) -> None:
            """Send pictures one after the other (multipart/x-mixed-replace), as fast as they arrive."""
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            number = 0
            try:
                while not board.ended:
                    number, picture = board.after(number)
                    head = (
                        f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    )
                    self.wfile.write(head.encode() + picture + b"\r\n")
            except OSError:
                return  # the page was closed

    return Handler
