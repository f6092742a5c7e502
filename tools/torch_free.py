# SPDX-License-Identifier: GPL-3.0-or-later
"""pytest plugin for Pythons without torch: tests that do not need it are collected, the others counted.

.venv-313/bin/python -m pytest -p tools.torch_free tests
"""

import ast
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Not installed beside the torch-free part either.
_MISSING = ("torch", "mediapipe", "smplx", "bpy")
_PROJECT = ("inference_core", "training", "blender_addon", "tests", "tools", "benchmarks", "build_addon")

_left_out: list[Path] = []


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out test files that need torch, directly or indirectly."""
    if not collection_path.match("test_*.py") or not _needs_missing(collection_path):
        return None
    _left_out.append(collection_path)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report how much was left out."""
    terminalreporter.write_line(f"{len(_left_out)} files of tests need torch and were left out.")


def _needs_missing(path: Path) -> bool:
    return any(name in _MISSING for name in _closure(path))


@cache
def _closure(path: Path) -> frozenset[str]:
    """Names of the packages that a file imports, and the project's modules that it imports do."""
    seen: set[Path] = set()
    names: set[str] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        for dotted in _imports(file):
            top = dotted.split(".")[0]
            if top in _PROJECT:
                waiting += _files(dotted)
            else:
                names.add(top)
    return frozenset(names)


@cache
def _imports(path: Path) -> frozenset[str]:
    """Dotted names that a file imports, those of the scripts and of the core that it runs as processes included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    found = set(_imported(tree))
    if {"-m", "inference_core"} <= texts:
        found.add("inference_core.__main__")
    for text in texts:
        if "import " in text:
            with suppress(SyntaxError, ValueError):
                found |= _imported(ast.parse(text))
    return frozenset(found)


def _imported(tree: ast.AST, late: bool = False) -> set[str]:
    """What a module imports. late: within a function, where only the project's own modules count: what else is imported
    there, such as torch for a hand model of tensors, serves those who have it.
    """
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            found |= _imported(node, late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {name for name in found if not late or name.split(".")[0] in _PROJECT}


def _files(dotted: str) -> list[Path]:
    """The files of a project's module and of the packages around it; none for a name inside a module."""
    parts = dotted.split(".")
    paths = [ROOT.joinpath(*parts[:length], "__init__.py") for length in range(1, len(parts) + 1)]
    module = ROOT.joinpath(*parts).with_suffix(".py")
    return [path for path in (*paths, module) if path.is_file()]
