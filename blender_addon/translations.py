# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's texts in other languages, for Blender's translated interfaces.

german.json is the German catalogue: translations by their English text. `python -m tools.ui_strings` lists what must be
in it. Blender's own German words are kept: Armatur, Schlüsselbild, Bewegung, Szene, Ausgangslage.
"""

import json
from pathlib import Path
from typing import Final

import bpy

# Blender looks up operator buttons in a separate context. Its own catalogue takes precedence over an
# add-on's: texts that it has with another meaning (Field of View, Match) are looked up in ours.
CONTEXT: Final = "Duohand"
_CONTEXTS: Final = ("*", "Operator", CONTEXT)
_GERMAN: Final = Path(__file__).with_name("german.json")


def register() -> None:
    german = json.loads(_GERMAN.read_text(encoding="utf-8"))
    texts = {(context, english): text for context in _CONTEXTS for english, text in german.items()}
    bpy.app.translations.register(str(__package__), {"de": texts, "de_DE": texts})


def unregister() -> None:
    bpy.app.translations.unregister(str(__package__))
