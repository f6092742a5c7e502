# SPDX-License-Identifier: GPL-3.0-or-later
"""Every message that Blender may show, with {0}, {1} for what is filled in: python -m tools.message_templates

Those of the add-on, and those of the core that its engine sends.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ADDON: Final = Path(__file__).parents[1] / "blender_addon"
CORE: Final = ADDON.with_name("inference_core")
_SAYING: Final = {"report", "Outcome", "append", "warn"}
# What only the command line does.
_WITHOUT_BLENDER: Final = {"batch", "cli", "command.py", "exchange", "preview", "__main__.py"}
# Put together from parts, each of which says too little by itself.
_COMPOSED: Final = {
    "{0} is cut short or damaged: {1} frames can be read.",
    "{0} is joined from parts with separate times: its frames are spaced evenly.",
}
_NAMED_HOLE: Final = re.compile(r"\{\w+\}")
_ELSEWHERE: Final = {"DownloadError", "PipError"}  # parts of a message, which the installer completes


def message_templates() -> set[str]:
    """Errors, reports and notes with at least one space, and whatever is a sentence, as written in the sources."""
    found = {*_COMPOSED}
    for folder in (ADDON, CORE):
        for path in sorted(folder.rglob("*.py")):
            if path.relative_to(folder).parts[0] in _WITHOUT_BLENDER:
                continue
            tree = ast.parse(path.read_text())
            said = (item for node in ast.walk(tree) for item in _said(node, path))
            found.update(text for text in map(template, said) if " " in text.strip())
            found.update(text for text in map(template, _literals_of(tree)) if _is_sentence(text))
    return {
        text.strip(" ") for text in found if any(letter.isalpha() for letter in _NAMED_HOLE.sub("", text))
    }


def _literals_of(tree: ast.AST) -> Iterator[ast.AST]:
    """The texts in the code, without docstrings, and without the parts of other texts."""
    inside: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            inside.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            inside.update(node.values)
    return (
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.Constant, ast.JoinedStr)) and node not in inside
    )


def _is_sentence(text: str) -> bool:
    """Whether the text is a message that stands alone: several words that end in a full stop."""
    words = _NAMED_HOLE.sub("", text).split()
    return text.rstrip().endswith(".") and sum(any(map(str.isalpha, word)) for word in words) > 1


def template(node: ast.AST) -> str:
    """The text of a literal, with numbers in braces for what is filled in; empty for anything else."""
    if isinstance(node, ast.Constant):
        return _numbered(node.value) if isinstance(node.value, str) else ""
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


def _numbered(text: str) -> str:
    """The text with its named holes numbered in their order."""
    numbers: dict[str, str] = {}
    return _NAMED_HOLE.sub(lambda hole: numbers.setdefault(hole[0], f"{{{len(numbers)}}}"), text)


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
