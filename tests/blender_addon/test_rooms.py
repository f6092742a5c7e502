# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's rooms: permitted imports, no cycles, and no bpy where it does not belong."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ADDON = Path(__file__).parents[2] / "blender_addon"
FEATURES = {
    "capture",
    "take",
    "review",
    "cleanup",
    "contact",
    "poses",
    "retarget",
    "body",
    "props",
    "export",
    "install",
    "view",
}


def test_rooms_have_no_circular_imports():
    TopologicalSorter(arrows()).prepare()


def test_rooms_below_the_features_do_not_import_them():
    for below in ("engine", "scene", "sidebar"):
        assert not arrows()[below] & FEATURES, below


def test_the_engine_room_does_not_import_bpy():
    for path in (ADDON / "engine").rglob("*.py"):
        assert "bpy" not in {name.split(".")[0] for name in imported(path)}, path


def test_every_feature_has_an_operators_file():
    for room in FEATURES:
        assert (ADDON / room / "operators.py").is_file(), room
    rooms = {path.name for path in ADDON.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == {*FEATURES, "engine", "scene"}


def arrows() -> dict[str, set[str]]:
    """The rooms (and lone files) that each room imports, itself left out."""
    found: dict[str, set[str]] = {}
    for path in ADDON.rglob("*.py"):
        room = path.relative_to(ADDON).parts[0].removesuffix(".py")
        found.setdefault(room, set()).update(rooms_of(path) - {room})
    return found


def rooms_of(path: Path) -> set[str]:
    depth = len(path.relative_to(ADDON).parts)
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            rooms |= {name.split(".")[0] for name in names}
    return rooms


def imported(path: Path) -> list[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return plain + [
        node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level
    ]
