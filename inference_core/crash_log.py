# SPDX-License-Identifier: GPL-3.0-or-later
"""How an error ends a run: an exit code, and a log file in place of a traceback."""

import errno
import os
import platform
import sys
import tempfile
import time
import traceback
from pathlib import Path

from inference_core import __version__
from inference_core.runtime.user_cache import user_cache
from inference_core.shared.errors import DuohandError
from inference_core.shared.messages import EXIT_ERROR, EXIT_FAILED

# A full or failing disk, as opposed to a location without write permission.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)
_KEPT = 10


def exit_code(error: DuohandError) -> int:
    """2 for input that cannot be used; 1 for a run that a failing disk ended."""
    cause = error.__cause__
    return EXIT_FAILED if isinstance(cause, OSError) and cause.errno in _DISK else EXIT_ERROR


def message_and_log(error: Exception) -> str:
    """One line for the user; the traceback goes into a file that the line names."""
    if isinstance(error, MemoryError):
        return "Memory ran out. Close other programs, or use fewer frames or a smaller picture."
    if isinstance(error, OSError) and error.errno in _DISK:
        return (
            f"The disk failed: {error.strerror}. Make room; the same command resumes from the results so far."
        )
    reason = (str(error) or type(error).__name__).splitlines()[0][:200]
    path = _written(error)
    where = f"please report it with {path} and what you did" if path else "no log could be written"
    return f"Duohand failed ({type(error).__name__}: {reason}). This is a bug: {where}."


def _written(error: Exception) -> Path | None:
    """The path of the error's log, in the user's folder or the one for temporary files."""
    name = f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    head = (
        f"Duohand {__version__}, Python {platform.python_version()}, {platform.platform()}\n{sys.argv!r}\n\n"
    )
    text = head + "".join(traceback.format_exception(error))
    for folder in (user_cache() / "logs", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
            for old in sorted(folder.glob("error-*-*-*.log"))[:-_KEPT]:
                old.unlink(missing_ok=True)
        except OSError:
            continue
        return folder / name
    return None
