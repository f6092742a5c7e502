# SPDX-License-Identifier: GPL-3.0-or-later
"""The German catalogue is complete: it contains every displayed text, and nothing else."""

import json
import string

from tools.ui_strings import ADDON, ui_strings

GERMAN: dict[str, str] = json.loads((ADDON / "german.json").read_text(encoding="utf-8"))
# Names, the same in every language.
SAME = {
    "3ds Max Biped",
    "Apple",
    "Auto-Rig Pro",
    "BVH",
    "Blender",
    "CPU",
    "CUDA",
    "Duohand Take",
    "Duohand Take (.npz)",
    "FBX",
    "GLB",
    "MANO",
    "MB-Lab",
    "MMD",
    "MPFB / MakeHuman",
    "Maya",
    "MetaHuman",
    "Mixamo",
    "PyTorch",
    "Quaternion",
    "Rigify",
    "Rokoko",
    "SMPL-X",
    "USD",
    "Unity",
    "Unreal",
    "VRM 0.x",
    "VRM 1.0",
    "ValveBiped",
    "{waiting}",
}

# Texts that a file puts together before it has them translated: the sources do not tell them as such.
PUT_TOGETHER = {
    "Three curves per bone, rotated in this order",
    "Range: {start} to {end}",
    "Range: {start} to {end} (all; P sets a preview range)",
    "Laid out at {then:.6g} frames a second; the scene has {now:.6g}",
    "Sure",
    "Likely",
    "A guess: check it",
}
ENGINE_SAYS = {"Starting the engine", "Stopping the engine", "Reading the footage"}


def test_every_displayed_text_has_a_german_translation() -> None:
    missing = (ui_strings() | PUT_TOGETHER) - set(GERMAN) - SAME
    assert not missing, "give these their German in blender_addon/german.json:\n" + "\n".join(sorted(missing))


def test_the_catalogue_has_no_unused_texts() -> None:
    stale = set(GERMAN) - ui_strings() - PUT_TOGETHER - ENGINE_SAYS
    assert not stale, sorted(stale)


def test_placeholders_are_the_same_in_both_languages() -> None:
    for english, german in GERMAN.items():
        assert _fields(english) == _fields(german), english


def test_translations_differ_from_their_english_text() -> None:
    same = {text for text, german in GERMAN.items() if text == german}
    assert same <= {"Clip", "Engine", "Export", "Hand", "Pose", "Sensor", "Take", "Takes"}


def _fields(text: str) -> list[tuple[str | None, str | None]]:
    return sorted((name, form) for _, name, form, _ in string.Formatter().parse(text) if name is not None)
