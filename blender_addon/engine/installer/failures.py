# SPDX-License-Identifier: GPL-3.0-or-later
"""Explains pip's errors in one line: what happened, and what to do."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..system import machine

AGAIN: Final = "Press Install Engine again: it resumes from what is there."


@dataclass(frozen=True)
class _Meaning:
    """A pattern in pip's output and its explanation; the pattern's groups fill the braces."""

    pattern: re.Pattern[str]
    text: str


def _meaning(pattern: str, text: str) -> _Meaning:
    return _Meaning(re.compile(pattern, re.IGNORECASE), text)


# The first match is the cause; later ones are its consequences.
_MEANINGS: Final = (
    _meaning(
        r"No space left on device|Disk quota exceeded|File too large|not enough space on the disk",
        "The disk of {folder} is full. Make room there or choose another Engine Folder in the preferences. "
        + AGAIN,
    ),
    _meaning(
        r"Permission denied: '([^']+)'|Read-only file system: '([^']+)'",
        "{0} cannot be written. Choose another Engine Folder in the preferences.",
    ),
    _meaning(
        r"THESE PACKAGES DO NOT MATCH THE HASHES(?:.|\n)*?\n\s+(?:unknown package from \S*/)?([\w.+-]+)",
        "{0} differs from the file that this release was made with, so it was not installed. Ask whoever "
        "runs the package mirror, or choose a Wheel Folder in the preferences.",
    ),
    _meaning(
        r"407 (?:Proxy )?Auth\w+|Tunnel connection failed: 407",
        "The proxy requires a user name and a password. Set HTTPS_PROXY to http://USER:PASSWORD@HOST:PORT and start "
        "Blender again.",
    ),
    _meaning(
        r"ProxyError|Cannot connect to proxy|Tunnel connection failed",
        "The proxy did not let the download through. Correct HTTPS_PROXY (or pip's own proxy) and start Blender again.",
    ),
    _meaning(
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|SSLError|SSLCertVerificationError",
        "The certificate of {host} is not trusted here. Set PIP_CERT to your network's certificate file and start "
        "Blender again.",
    ),
    _meaning(
        r"(40[13]) Client Error|HTTP Error (40[13])",
        "{host} refused the download ({0}). Correct the user name and password in PIP_INDEX_URL and start "
        "Blender again.",
    ),
    _meaning(
        r"(\d{3}) (?:Client|Server) Error|HTTP error (\d{3})|too many (\d{3}) error",
        "{host} could not provide a file ({0}). Try later, or set PIP_INDEX_URL to another mirror. " + AGAIN,
    ),
    _meaning(
        r"NewConnectionError|NameResolutionError|ConnectTimeout|ConnectionRefused|Connection refused|"
        r"Name or service not known|getaddrinfo failed|Network is unreachable|Max retries exceeded",
        "{host} could not be reached. Check the network, HTTPS_PROXY and PIP_INDEX_URL. " + AGAIN,
    ),
    _meaning(
        r"IncompleteRead|Connection broken|ReadTimeout|Read timed out|Connection reset|ProtocolError|"
        r"incomplete-download|RemoteDisconnected",
        "The download from {host} broke off. " + AGAIN,
    ),
    _meaning(
        r"No matching distribution found for ([^\s;(]+)",
        "No {0} for {machine} was found. Choose another PyTorch in the preferences, or set PIP_INDEX_URL to a mirror.",
    ),
    _meaning(
        r"Wheel '?([\w.-]+)'?.* is invalid|BadZipFile|Bad CRC",
        "A wheel is damaged ({0}). Download it again, or choose another Wheel Folder in the preferences. "
        + AGAIN,
    ),
)
_HOST: Final = re.compile(r"host='?([\w.-]+)'?|https?://(?:[^/\s@]+@)?([\w.:-]+)", re.IGNORECASE)


def explained(lines: Sequence[str], folder: Path) -> str:
    """What happened and what to do, from pip's last lines."""
    text = "\n".join(lines)
    host = _first(_HOST.search(text)) or "The package index"
    for meaning in _MEANINGS:
        found = meaning.pattern.search(text)
        if found is not None:
            return meaning.text.format(_first(found) or "", host=host, folder=folder, machine=machine())
    errors = [line for line in lines if line.startswith("ERROR:")] or [line for line in lines if line.strip()]
    said = errors[-1].removeprefix("ERROR:").strip() if errors else "it said nothing"
    return f"pip failed: {said.rstrip('.')}. {AGAIN}"


def _first(match: re.Match[str] | None) -> str | None:
    return next((group for group in match.groups() if group), None) if match else None
