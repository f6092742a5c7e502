# SPDX-License-Identifier: GPL-3.0-or-later
"""Every message of the add-on, with {0}, {1} for what is filled in: python -m tools.message_templates"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ADDON: Final = Path(__file__).parents[1] / "blender_addon"
_SAYING: Final = {"report", "Outcome", "append"}
_ELSEWHERE: Final = {"DownloadError", "PipError"}  # parts of a message, which the installer completes


def message_templates(folder: Path = ADDON) -> set[str]:
    """Errors, reports and notes with at least one space, as they are written in the sources."""
    found: set[str] = set()
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            found.update(text for text in map(template, _said(node, path)) if text and " " in text.strip())
    return {text for text in found if any(letter.isalpha() for letter in text)}


def template(node: ast.AST) -> str:
    """The text of a literal, with numbers in braces for what is filled in; empty for anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if not isinstance(node, ast.JoinedStr):
        return ""
    count, parts = 0, list[str]()
    for part in node.values:
        if isinstance(part, ast.Constant):
            parts.append(str(part.value))
        else:
            parts.append(f"{{{count}}}")
            count += 1
    return "".join(parts)


def _said(node: ast.AST, path: Path) -> Iterator[ast.AST]:
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        if ast.unparse(node.exc.func) not in _ELSEWHERE:
            yield from node.exc.args[:1]
    elif isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in _SAYING and node.args:
            yield from _literals(node.args[-1 if name == "report" else 0])
    elif isinstance(node, ast.Return) and node.value is not None and path.stem in _SPEAKERS:
        yield from _literals(node.value)


_SPEAKERS: Final = {
    "operators",
    "range_solve",
    "failures",
    "apply_take",
    "shot_camera",
    "rate",
    "scene_range",
}


def _literals(node: ast.AST) -> Iterator[ast.AST]:
    """The text itself, those of a list, or both of a conditional."""
    if isinstance(node, ast.List):
        yield from node.elts
    elif isinstance(node, ast.IfExp):
        yield from (node.body, node.orelse)
    else:
        yield node


if __name__ == "__main__":
    print("\n".join(sorted(message_templates())))
