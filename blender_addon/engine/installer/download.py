# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloads a file, resuming an earlier attempt; it counts only if its digest is right."""

import base64
import hashlib
import http
import http.client
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.response import addinfourl

from ..system import is_full

TIMEOUT_S: Final = 60
_BLOCK: Final = 1 << 18
_TRIES: Final = 3  # without receiving a byte
_RANGE_IS_OVER: Final = 416

OnProgress = Callable[[int, int], None]  # bytes received, bytes in all (0: unknown)


class DownloadError(Exception):
    """The file could not be downloaded; `is_absence` if the server answered that it does not exist."""

    def __init__(self, text: str, is_absence: bool = False) -> None:
        super().__init__(text)
        self.is_absence = is_absence


def certificates(environment: Mapping[str, str]) -> str | None:
    """The file of trusted certificates named by the environment; None: the system's."""
    names = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
    return next((environment[name] for name in names if environment.get(name)), None)


def text_at(url: str) -> str:
    """The text at an address, such as an index page. DownloadError says why it cannot be read."""
    try:
        with _opened(url, 0) as response:
            return response.read().decode("utf-8", "replace")
    except (OSError, ValueError, http.client.HTTPException) as error:
        absent = isinstance(error, urllib.error.HTTPError) and error.code == http.HTTPStatus.NOT_FOUND
        raise DownloadError(f"{_without_password(url)}: {error}", absent) from error


def download(url: str, sha256: str, path: Path, on_progress: OnProgress) -> None:
    """Download the file to `path`, resuming an earlier attempt.

    DownloadError if it cannot be downloaded or its digest differs; OSError if the disk fails.
    """
    if path.is_file() and _sha256(path) == sha256:
        return
    part = path.with_name(f"{path.name}.part")
    failures = 0
    while True:
        before = _size(part)
        try:
            if _append(url, part, on_progress):
                break
            reason = "the connection broke off"
        except urllib.error.HTTPError as error:
            raise DownloadError(f"{path.name}: {error}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and is_full(error):
                raise
            reason = str(error)
        failures = 0 if _size(part) > before else failures + 1
        if failures == _TRIES:
            raise DownloadError(f"{path.name}: {reason}")
    if _sha256(part) != sha256:
        part.unlink()
        raise DownloadError(f"{path.name}: its digest is not the one in the index")
    part.replace(path)


def _append(url: str, part: Path, on_progress: OnProgress) -> bool:
    """Download what the part lacks; whether it is now complete."""
    done = _size(part)
    try:
        response = _opened(url, done)
    except urllib.error.HTTPError as error:
        if error.code == _RANGE_IS_OVER and done:
            return True
        raise
    with response:
        if response.status != http.client.PARTIAL_CONTENT:
            done = 0  # a server without range support
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else 0
        with part.open("ab" if done else "wb") as file:
            while block := response.read(_BLOCK):
                file.write(block)
                done += len(block)
                on_progress(done, total)
    return done >= total


def _opened(url: str, start: int) -> addinfourl:
    """The response, from byte `start` on, using the environment's proxy and certificates."""
    parts = urllib.parse.urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(parts._replace(netloc=host).geturl())
    if user:
        token = base64.b64encode(urllib.parse.unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    if start:
        request.add_header("Range", f"bytes={start}-")
    proxy = os.environ.get("PIP_PROXY")
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else None),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=certificates(os.environ))),
    )
    return opener.open(request, timeout=TIMEOUT_S)


def _without_password(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
