# SPDX-License-Identifier: GPL-3.0-or-later
"""A full disk, as far as a process can have one of its own. Windows limits no file's size: tests skip there."""

import signal
from collections.abc import Generator
from contextlib import contextmanager

import pytest


@contextmanager
def full_disk(size: int) -> Generator[None]:
    """A context in which no file grows beyond the size."""
    resource = pytest.importorskip("resource", reason="Windows limits no file's size")
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
