# SPDX-License-Identifier: GPL-3.0-or-later
"""The German of messages: each that the add-on puts together has one, which fills in the same."""

import json
import re

from tools.message_templates import ADDON, message_templates

GERMAN: dict[str, str] = json.loads((ADDON / "german_messages.json").read_text(encoding="utf-8"))


def test_every_message_has_its_german() -> None:
    drawn = set(json.loads((ADDON / "german.json").read_text(encoding="utf-8")))
    missing = message_templates() - set(GERMAN) - drawn
    assert not missing, "give these their German in blender_addon/german_messages.json:\n" + "\n".join(
        sorted(missing)
    )


def test_the_same_is_filled_in() -> None:
    for english, german in GERMAN.items():
        holes = [sorted(re.findall(r"\{\d+\}", text)) for text in (english, german)]
        assert holes[0] == holes[1], english
        assert english != german


def test_messages_of_the_engine_are_found() -> None:
    found = message_templates()
    assert "The engine was ended by signal {0}; the machine may be out of memory." in found
    assert (
        "The certificate of {0} is not trusted here. Set PIP_CERT to your network's certificate file and start "
        "Blender again."
    ) in found
    assert not [text for text in found if text.startswith("Every message that Blender may show")]
