# SPDX-License-Identifier: GPL-3.0-or-later
"""The wheels of an installation, fetched before anything is installed, so that a download can be taken up again.

pip decides which they are. A file that cannot be fetched here is left to pip, which knows more ways to ask, and says
better than this why it failed.
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

OnProgress = Callable[[str, int, int], None]  # file, megabytes that are there, megabytes in all


@dataclass(frozen=True)
class _Wheel:
    name: str
    url: str
    sha256: str


def fetch(pip: Pip, downloads: Path, on_progress: OnProgress, *arguments: str) -> tuple[str, ...]:
    """Bring the wheels that `pip install ARGUMENTS` would install into `downloads`; where pip then finds them.

    OSError if the disk refuses.
    """
    with tempfile.TemporaryDirectory(dir=downloads) as folder:
        report = Path(folder) / "report.json"
        # Metadata is read out of the wheels from afar where an index does not give it beside them.
        words = ("--dry-run", "--quiet", "--use-feature=fast-deps", "--report", str(report))
        try:
            pip.install(*words, *arguments)
        except PipError as error:
            if error.is_crash:  # of that very way to read metadata, where a mirror redirects
                return ()
            raise
        wheels = list(_wheels(json.loads(report.read_text(encoding="utf-8"))))
    missing = False
    for wheel in wheels:
        try:
            download(wheel.url, wheel.sha256, downloads / wheel.name, _reporter(on_progress, wheel.name))
        except DownloadError:
            missing = True
    # An index's file goes before one of the same name in a folder.
    return (*(() if missing else ("--no-index",)), "--find-links", str(downloads))


def _reporter(on_progress: OnProgress, file_name: str) -> Callable[[int, int], None]:
    """A callback that reports one download once a megabyte."""
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
