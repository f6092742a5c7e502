# SPDX-License-Identifier: GPL-3.0-or-later
"""The curves that a run writes while it trains."""

import json
from pathlib import Path
from typing import Any

CURVES_FILE = "curves.jsonl"


def read_curves(folder: Path) -> list[dict[str, Any]]:
    """All complete lines of a run's curves; a last line truncated by a kill is skipped."""
    path = folder / CURVES_FILE
    if not path.exists():
        return []
    lines: list[dict[str, Any]] = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
