# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a USD file is complete: Blender's exporter reports success even where the disk was full. No bpy."""

import struct
from pathlib import Path
from typing import Final

_CRATE: Final = b"PXR-USDC"
# After magic and version: where the table of contents starts, at the file's end.
_TABLE: Final = struct.Struct("<q")
_TABLE_AT: Final = 16
_COUNT: Final = struct.Struct("<Q")
_ENTRY_SIZE: Final = 32
_TAIL: Final = 64


def is_whole_usd(path: Path) -> bool:
    """Whether the file reaches its own end: the table of contents of a binary one, the last brace of a text."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_TABLE_AT + _TABLE.size)
        if head.startswith(_CRATE) and len(head) == _TABLE_AT + _TABLE.size:
            table = _TABLE.unpack_from(head, _TABLE_AT)[0]
            if not 0 < table <= size - _COUNT.size:
                return False
            file.seek(table)
            return table + _COUNT.size + _ENTRY_SIZE * _COUNT.unpack(file.read(_COUNT.size))[0] <= size
        file.seek(max(size - _TAIL, 0))
        return head.startswith(b"PK") or file.read().rstrip().endswith(b"}")
