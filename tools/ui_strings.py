# SPDX-License-Identifier: GPL-3.0-or-later
"""Every string displayed in the add-on's panels, menus and tooltips, found in its sources: python -m tools.ui_strings

Reports of operators and messages of the engine are not included: they contain paths and numbers.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from blender_addon.export.presets import FBX_PRESETS
from blender_addon.scene.spans import Verdict
from inference_core.shared.stages import STAGE_LABELS

ADDON: Final = Path(__file__).parents[1] / "blender_addon"
_DRAWN: Final = {"text", "title", "confirm_text"}
_TRANSLATED: Final = {"iface_", "tip_", "rpt_", "poll_message_set"}
_NAMED: Final = {"bl_label", "bl_category"}
_BRAND: Final = {"Duohand"}  # the same in every language


def ui_strings(folder: Path = ADDON) -> set[str]:
    """The strings, as they are looked up in a catalogue."""
    found = {*STAGE_LABELS.values(), *Verdict}
    found |= {text for preset in FBX_PRESETS.values() for text in (preset.label, preset.description)}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            found.update(_strings(node))
    return {text for text in found if any(letter.isalpha() for letter in text)} - _BRAND


def _strings(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.ClassDef):
        yield from _of_class(node)
    elif isinstance(node, ast.Call):
        yield from _of_call(node)
    elif isinstance(node, ast.Tuple):
        texts = [_constant(item) for item in node.elts]
        # An item of an enumeration: an identifier, a name, a description.
        if len(texts) == 3 and all(texts) and str(texts[0]).isidentifier() and " " in str(texts[2]):
            yield from (str(text) for text in texts[1:])
        elif len(texts) == 2 and all(texts) and str(texts[0]).startswith("duohand."):  # an operator in a menu
            yield str(texts[1])


def _of_class(node: ast.ClassDef) -> Iterator[str]:
    attributes = {
        target.id: _constant(line.value)
        for line in node.body
        if isinstance(line, ast.Assign)
        for target in line.targets
        if isinstance(target, ast.Name)
    }
    yield from (text for name, text in attributes.items() if name in _NAMED and text)
    if "bl_idname" in attributes and "_AP_" not in node.name and "_FH_" not in node.name:
        yield (ast.get_docstring(node, clean=False) or "").strip()


def _of_call(node: ast.Call) -> Iterator[str]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    is_named = any(word.arg == "name" for word in node.keywords)
    # What a property without a name holds is shown nowhere.
    wanted = {"name", "description"} if name.endswith("Property") and is_named else _DRAWN
    hidden = any(word.arg == "options" and "HIDDEN" in ast.unparse(word.value) for word in node.keywords)
    untranslated = any(
        word.arg == "translate" and ast.unparse(word.value) == "False" for word in node.keywords
    )
    if not hidden and not untranslated:
        yield from (text for word in node.keywords if word.arg in wanted for text in _constants(word.value))
    if name in _TRANSLATED:
        yield from (text for item in node.args for text in _constants(item))


def _constants(node: ast.AST) -> list[str]:
    """The text, or both of a conditional."""
    branches = [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]
    return [text for text in map(_constant, branches) if text]


def _constant(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


if __name__ == "__main__":
    print("\n".join(sorted(ui_strings())))
