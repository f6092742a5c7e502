# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloads an installation's wheels before anything is installed, so that downloads can be resumed.

pip decides which they are. A file that cannot be downloaded here is left to pip, which has more ways to get it
and explains its failures better.
"""

import json
import tempfile
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .download import DownloadError, download
from .pip import Pip, PipError

OnProgress = Callable[[str, int, int], None]  # file, megabytes received, megabytes in all


@dataclass(frozen=True)
class _Wheel:
    name: str
    url: str
    sha256: str


def fetch(pip: Pip, downloads: Path, on_progress: OnProgress, *arguments: str) -> tuple[str, ...]:
    """Download the wheels that `pip install ARGUMENTS` would install into `downloads`; returns
    arguments that make pip find them.

    OSError if the disk fails.
    """
    with tempfile.TemporaryDirectory(dir=downloads) as folder:
        report = Path(folder) / "report.json"
        # If an index does not provide metadata separately, pip reads it from the remote wheels.
        words = ("--dry-run", "--quiet", "--use-feature=fast-deps", "--report", str(report))
        try:
            pip.install(*words, *arguments)
        except PipError as error:
            if error.is_crash:  # raised by that way of reading metadata if a mirror redirects
                return ()
            raise
        wheels = list(_wheels(json.loads(report.read_text(encoding="utf-8"))))
    missing = False
    for wheel in wheels:
        try:
            download(wheel.url, wheel.sha256, downloads / wheel.name, _reporter(on_progress, wheel.name))
        except DownloadError:
            missing = True
    # A file from an index takes precedence over one of the same name in a folder.
    return (*(() if missing else ("--no-index",)), "--find-links", str(downloads))


def _reporter(on_progress: OnProgress, file_name: str) -> Callable[[int, int], None]:
    """A callback that reports one download's progress, once per megabyte."""
    name, reported_mb = file_name.partition("-")[0], -1

    def tell(done: int, total: int) -> None:
        nonlocal reported_mb
        if done >> 20 != reported_mb:
            reported_mb = done >> 20
            on_progress(name, reported_mb, total >> 20)

    return tell


def _wheels(report: dict[str, Any]) -> Iterator[_Wheel]:
    for item in report["install"]:
        info = item["download_info"]
        path = urllib.parse.urlsplit(info["url"]).path
        sha256 = info.get("archive_info", {}).get("hashes", {}).get("sha256", "")
        yield _Wheel(urllib.parse.unquote(path.rpartition("/")[2]), info["url"], sha256)
