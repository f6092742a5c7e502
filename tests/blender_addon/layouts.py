# SPDX-License-Identifier: GPL-3.0-or-later
"""What a panel would show: its draw is called with a layout that notes down what it is asked for.

Names of icons, properties and operators are held against Blender's own, as a real layout would.
"""

from types import SimpleNamespace
from typing import Any

import bpy


class Layout:
    """Stands for a UILayout and all that is made from it; texts are what a user reads.

    calls: (name, arguments, the layout made or the operator's properties, which are set later).
    """

    def __init__(self, texts: list[str], calls: list[tuple[str, tuple[Any, ...], Any]]) -> None:
        self.__dict__.update(texts=texts, calls=calls)

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            made: Any = SimpleNamespace() if name.startswith("operator") else Layout(self.texts, self.calls)
            self.calls.append((name, arguments, made))
            self._check(name, arguments, options)
            text = options.get("text") or self._own_text(name, arguments)
            if text:
                self.texts.append(text)
            return made

        return call

    def __setattr__(self, name: str, value: object) -> None:
        assert name in bpy.types.UILayout.bl_rna.properties, name

    @staticmethod
    def _check(name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        function = bpy.types.UILayout.bl_rna.functions[name]
        assert set(options) <= {*function.parameters.keys(), "text"}, (name, options)
        if "icon" in options:
            icons = function.parameters["icon"].enum_items.keys()
            assert options["icon"] in icons, options["icon"]
        if name.startswith("operator"):
            assert hasattr(bpy.types, _class_name(arguments[0])), arguments[0]
        if name.startswith("prop"):
            assert arguments[1] in arguments[0].bl_rna.properties, arguments[1]

    @staticmethod
    def _own_text(name: str, arguments: tuple[Any, ...]) -> str:
        if name.startswith("operator"):
            return getattr(bpy.types, _class_name(arguments[0])).bl_label
        return arguments[0].bl_rna.properties[arguments[1]].name if name == "prop" else ""


def drawn(panel: str) -> list[str]:
    """The texts that the panel of that name shows in the context's scene, top to bottom."""
    texts: list[str] = []
    kind: Any = getattr(bpy.types, panel)
    if not hasattr(kind, "poll") or kind.poll(bpy.context):
        draw_shots = getattr(kind, "draw_shots", None)
        kind.draw(SimpleNamespace(layout=Layout(texts, []), draw_shots=draw_shots), bpy.context)
    return texts


def _class_name(operator: str) -> str:
    room, name = operator.split(".")
    return f"{room.upper()}_OT_{name}"
