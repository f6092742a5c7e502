# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's texts in other languages, for Blender's translated interfaces."""

from typing import Final

import bpy

from .german import GERMAN

# Blender looks up operator buttons in a separate context. Its own catalogue takes precedence over an
# add-on's: texts that it has with another meaning (Field of View, Match) are looked up in ours.
CONTEXT: Final = "Duohand"
_CONTEXTS: Final = ("*", "Operator", CONTEXT)
_GERMAN: Final = {(context, text): german for context in _CONTEXTS for text, german in GERMAN.items()}


def register() -> None:
    bpy.app.translations.register(str(__package__), {"de": _GERMAN, "de_DE": _GERMAN})


def unregister() -> None:
    bpy.app.translations.unregister(str(__package__))
