# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of Blender's own exporters and renderer, written whole or not at all; what failed is said in a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inference_core.shared.errors import RequestError
from inference_core.shared.whole_file import whole_file

from ..messages import said_by_blender


@contextmanager
def written_whole(path: Path, *suffixes: str) -> Iterator[Path]:
    """A context with the name of a file beside `path`, of the same suffix, which replaces `path` at the end.

    On an error, or if the name of `path` has none of the suffixes, nothing is left, whatever was at `path` stays, and a
    RequestError says what happened. What a killed Blender left is deleted when `path` is written again.
    """
    if path.suffix.lower() not in suffixes:
        raise RequestError(f"The name of {path} must end in {' or '.join(suffixes)}.")
    if not path.parent.is_dir():
        raise RequestError(f"There is no folder {path.parent} to write {path.name} into.")
    temporary = path
    try:
        with whole_file(path, suffix=path.suffix) as temporary:
            yield temporary
            if not (temporary.is_file() and temporary.stat().st_size):
                raise RequestError(f"{path} was not written; Blender gave no reason.")
    except (OSError, RuntimeError) as error:
        reason = said_by_blender(error).replace(str(temporary), str(path))
        raise RequestError(
            f"{path} could not be written: {reason}. Nothing was left behind; "
            "choose a folder that you may write to and that has room."
        ) from error
