# SPDX-License-Identifier: GPL-3.0-or-later
"""A local package index of a few generated wheels, which serves them well or badly."""

import hashlib
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from io import BytesIO
from threading import Thread
from typing import Any


def made_wheel(name: str, version: str, needs: tuple[str, ...] = (), size: int = 0) -> tuple[str, bytes]:
    """File name and bytes of a wheel with one module that says its name and holds `size` bytes beside it."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    needed = "".join(f"Requires-Dist: {need}\n" for need in needs)
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(f"{module}.py", f"name = {name!r}\n")
        wheel.writestr(f"{module}.bin", bytes(size))
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return f"{module}-{version}-py3-none-any.whl", file.getvalue()


def pip_wheel() -> tuple[str, bytes]:
    """File name and bytes of a wheel made of the pip that is installed here."""
    pip, file = distribution("pip"), BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as wheel:
        for entry in pip.files or ():
            if "__pycache__" not in entry.parts and ".." not in entry.parts:
                wheel.write(entry.locate(), str(entry))
    return f"pip-{pip.version}-py3-none-any.whl", file.getvalue()


class PackageIndex(ThreadingHTTPServer):
    """Serves `files` as `/simple/`.

    cut: bytes after which the connection of a file's name ends, once for each number. status: what is answered in
    place of a file. password: what the index wants. served: bytes of each file that went out; proxied: what it
    was asked for as a proxy.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.cut: dict[str, list[int]] = {}
        self.status: dict[str, int] = {}
        self.password = ""
        self.tells_metadata = True
        self.hashes: dict[str, str] = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        self.served: Counter[str] = Counter()
        self.proxied: list[str] = []

    @property
    def url(self) -> str:
        """Address of the index."""
        return f"http://127.0.0.1:{self.server_port}/simple"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[PackageIndex]:
    """The index while it serves."""
    with PackageIndex(files) as index:
        thread = Thread(target=index.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield index
        finally:
            index.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PackageIndex

    def do_GET(self) -> None:
        if self.path.startswith("http://"):  # asked as a proxy
            self.server.proxied.append(self.path)
            self.path = re.sub("^http://[^/]+", "", self.path)
        if self.server.password and self.server.password not in self.headers.get("Authorization", ""):
            self._answer(401, b"")
        elif self.path.startswith("/simple/"):
            self._page(self.path.removeprefix("/simple/").strip("/"))
        else:
            self._file(self.path.rpartition("/")[2])

    do_HEAD = do_GET

    def _page(self, project: str) -> None:
        names = [
            name for name in self.server.files if name.partition("-")[0].replace("_", "-").lower() == project
        ]
        told = ' data-dist-info-metadata="true"' if self.server.tells_metadata else ""
        links = "".join(
            f'<a href="/moved/{name}#sha256={self.server.hashes[name]}"{told}>{name}</a>' for name in names
        )
        self._answer(
            200 if names else 404, f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html"
        )

    def _file(self, name: str) -> None:
        if self.path.startswith("/moved/"):  # as mirrors do
            self._answer(302, b"", location=f"/files/{name}")
            return
        if name.endswith(".metadata"):
            self._answer(200, _metadata(self.server.files[name.removesuffix(".metadata")]))
            return
        if name in self.server.status or name not in self.server.files:
            self._answer(self.server.status.get(name, 404), b"")
            return
        data = self.server.files[name]
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        start, stop = 0, len(data)
        if wanted and wanted[1]:
            start, stop = int(wanted[1]), min(int(wanted[2] or stop) + 1, stop) if wanted[2] else stop
        elif wanted:
            start = max(stop - int(wanted[2]), 0)
        cuts = self.server.cut.get(name, [])
        whole = self.command == "GET" and stop - start > 10_000
        length = cuts.pop(0) if whole and cuts else stop - start
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Accept-Ranges", "bytes")
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.end_headers()
        if self.command == "GET":
            self.server.served[name] += length
            self.wfile.write(data[start : start + length])
        self.close_connection = self.close_connection or length < stop - start

    def _answer(self, status: int, body: bytes, kind: str = "text/plain", location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
        if location:
            self.send_header("Location", location)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


def _metadata(wheel: bytes) -> bytes:
    with zipfile.ZipFile(BytesIO(wheel)) as file:
        return file.read(next(name for name in file.namelist() if name.endswith("/METADATA")))
