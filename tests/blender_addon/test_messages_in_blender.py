# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages in German: lines, sentences and what is filled in; what no catalogue holds stays as it is."""

import importlib

import pytest

from tests.blender_addon.in_blender import EXTENSION

OTHER = "What no catalogue holds: from here to there, as it is."


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("shot 1: both hands captured", "shot 1: beide Hände erfasst"),
        ("Held frames 3 to 5, but for 2 locked ones", "Gehalten: Bilder 3 bis 5, bis auf 2 gesperrte"),
        (
            "F12 renders over the footage now. The keys of shot 1 moved along.",
            "F12 rendert jetzt über die Aufnahme. Die Schlüsselbilder von shot 1 sind mitgegangen.",
        ),
        (
            "There is no take at /a b/c.npz. Check the path.",
            "Unter /a b/c.npz ist kein Take. Den Pfad prüfen.",
        ),
        (
            "clip 1.mp4 is interlaced; its frames are deinterlaced.",
            "clip 1.mp4 ist im Zeilensprung aufgenommen; die Bilder werden entflochten.",
        ),
        (
            "The download from pypi.org broke off. Press Install Engine again: it resumes from what is there.",
            "Der Download von pypi.org brach ab. Noch einmal „Engine installieren“ drücken: es geht bei dem weiter, "
            "was da ist.",
        ),
        (OTHER, OTHER),
    ],
)
def test_a_message_is_translated_whole(english: str, german: str) -> None:
    assert importlib.import_module(f"{EXTENSION}.messages").german(english) == german
