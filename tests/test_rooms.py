# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports run one way: from later stages to earlier ones, from training and the add-on to the core."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# The core in the data's order: a room may import itself and those before it. Modules beside the rooms stand as theirs.
CORE_ROOMS = (
    "shared",
    "footage",
    "geometry",
    "runtime",
    "hand_model",
    "landmarks",
    "tracking",
    "two_hand",
    "fitting",
    "preview",
    "exchange",
    "live",
    "reading",
    "resume_cache",
    "request_inputs",
    "pauses",
    "take_evidence",
    "take_assembly",
    "take_blend",
    "solve_again",
    "solve_request",
    "chosen_network",
    "run",
    "paused_shot",
    "detection",
    "stages",
    "pipeline",
    "crash_log",
    "supervisor",
    "worker",
    "cli",
    "batch",
    "__main__",
)


def imports_of(path: Path) -> Iterator[str]:
    """Dotted names of the project's modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def files(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"{package} holds no modules"
    return found


def room_of(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", files("inference_core"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_imports_only_earlier_rooms(path: Path) -> None:
    here = room_of(path.relative_to(ROOT / "inference_core").parts)
    if here == "__init__":
        assert not [name for name in imports_of(path) if name.split(".")[0] in ("inference_core", "training")]
        return
    assert here in CORE_ROOMS, f"{here} has no place in the order of rooms"
    for name in imports_of(path):
        package, *rest = name.split(".")
        assert package not in ("training", "blender_addon", "tests", "benchmarks", "tools"), f"imports {name}"
        if package == "inference_core" and rest and rest[0] in CORE_ROOMS:
            assert CORE_ROOMS.index(rest[0]) <= CORE_ROOMS.index(here), f"{here} imports {name}, a later room"


def test_torch_is_imported_only_where_networks_are() -> None:
    found = {
        room_of(path.relative_to(ROOT / "inference_core").parts)
        for path in files("inference_core")
        if any(name.split(".")[0] == "torch" for name in imports_of(path))
    }
    # The hand model gives networks its tensors, and a command runs one on an array.
    assert found == {"runtime", "landmarks", "two_hand", "hand_model", "cli"}


@pytest.mark.parametrize("package", ["blender_addon", "training"])
def test_add_on_and_training_do_not_import_each_other(package: str) -> None:
    others = {"blender_addon", "training", "tests", "benchmarks", "tools"} - {package}
    found = {
        (path.name, name)
        for path in files(package)
        for name in imports_of(path)
        if name.split(".")[0] in others
    }
    assert not found


def test_the_add_on_imports_only_the_cores_shared_room() -> None:
    names = {name for path in files("blender_addon") for name in imports_of(path)}
    core = {name for name in names if name.split(".")[0] == "inference_core"}
    assert core
    assert not {name for name in core if name.split(".")[1] not in ("shared", "__version__", "__file__")}
