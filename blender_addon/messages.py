# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages in the language of Blender's interface: errors, reports and notes, whose paths and numbers are filled in.

german_messages.json has the German by English templates, in which {0}, {1} stand for what is filled in; `python -m
tools.message_templates` lists what must be in it. Logs, the command line and the engine stay English.
"""

import json
import re
import textwrap
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import bpy

_GERMAN: Final = Path(__file__).with_name("german_messages.json")
_FAULT: Final = re.compile(r"\w+(?:Error|Exception): (?:\[Errno \d+\] )?(?P<what>.+?)(?:: '.*')?")
_HOLE: Final = re.compile(r"\{(\d+)\}")
_FEW_LETTERS: Final = 7
_SIDEBAR_LETTERS: Final = 36
_SENTENCE_END: Final = re.compile(r"[.:] ")


def report(operator: Any, level: str, text: object) -> None:
    """Let the operator report the message, in the interface's language."""
    operator.report({level}, translated(str(text)))


def translated(text: str) -> str:
    """The message in the interface's language; as it is where its translation is not known."""
    view: Any = bpy.context.preferences.view
    if not (view.use_translate_interface and bpy.app.translations.locale.startswith("de")):
        return text
    return german(text)


def wrapped(text: str, letters: int = _SIDEBAR_LETTERS) -> list[str]:
    """The message in lines of at most that many letters, by default as many as a sidebar of default width holds."""
    return [part for line in text.splitlines() for part in textwrap.wrap(line, letters)]


def said_by_blender(error: Exception) -> str:
    """What an error of Blender's or the system's says went wrong, on a line; of a traceback, the last error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    faults = [found["what"] for line in lines if (found := _FAULT.fullmatch(line))]
    text = faults[-1] if faults else " ".join(lines).removeprefix("Error: ")
    return ((isinstance(error, OSError) and error.strerror) or text).rstrip(".")


def german(text: str) -> str:
    """The German of a message, of each of its lines and sentences, and of what is filled in."""
    whole = _matched(text)
    if whole is not None:
        return whole
    if "\n" in text:
        return "\n".join(german(line) for line in text.split("\n"))
    for end in _SENTENCE_END.finditer(text):
        first = _matched(text[: end.start() + 1])
        if first is not None:
            return f"{first} {german(text[end.end() :])}"
    return text


def _matched(text: str) -> str | None:
    for pattern, translation in _templates():
        found = pattern.fullmatch(text)
        if found is not None:
            parts = [german(part) for part in found.groups()]
            return _HOLE.sub(lambda hole, parts=parts: parts[int(hole[1])], translation)
    return None


@lru_cache(maxsize=1)
def _templates() -> list[tuple[re.Pattern[str], str]]:
    """Patterns and translations, those with the most words of their own first."""
    catalogue: dict[str, str] = json.loads(_GERMAN.read_text(encoding="utf-8"))
    by_words = sorted(catalogue, key=lambda english: len(_HOLE.sub("", english)), reverse=True)
    return [(_pattern(english), catalogue[english]) for english in by_words]


def _pattern(english: str) -> re.Pattern[str]:
    """The template's holes hold anything, in order, or a word each where the template itself says little."""
    parts = re.split(r"\{\d+\}", english)
    says_little = not parts[0] and sum(letter.isalpha() for letter in english) < _FEW_LETTERS
    return re.compile(
        (r"(\S+)" if says_little else "(.*?)").join(re.escape(part) for part in parts), re.DOTALL
    )
