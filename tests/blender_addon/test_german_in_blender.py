# SPDX-License-Identifier: GPL-3.0-or-later
"""In a German Blender, the add-on's panels, buttons and tooltips are German."""

from collections.abc import Iterator

import bpy
import pytest
from bpy.app.translations import pgettext_iface, pgettext_tip

from tests.blender_addon import scenes
from tests.blender_addon.layouts import drawn


@pytest.fixture
def german() -> Iterator[None]:
    view = bpy.context.preferences.view
    name = next((item for item in ("de_DE", "de") if item in bpy.app.translations.locales), None)
    if name is None:
        pytest.skip("this Blender has no other languages")
    before = view.language, view.use_translate_interface, view.use_translate_tooltips
    view.language = name
    view.use_translate_interface = view.use_translate_tooltips = True
    yield
    view.language, view.use_translate_interface, view.use_translate_tooltips = before


def test_buttons_panels_and_tooltips_are_german(german: None) -> None:
    assert pgettext_iface("Capture Hands", "Operator") == "Hände erfassen"
    assert pgettext_iface("Skin Opacity") == "Deckkraft der Haut"
    assert pgettext_tip(bpy.types.DUOHAND_OT_hold_range.__doc__).startswith("Die Pose des ersten Bildes")


def test_composed_panel_texts_are_german(german: None) -> None:
    scene = scenes.empty_scene()
    scene.duohand.footage = str(scenes.takes_folder() / "counted.mp4")
    scenes.load("half_absent")
    scene.frame_set(10)
    texts = [*drawn("DUOHAND_PT_review"), *drawn("DUOHAND_PT_capture"), *drawn("DUOHAND_PT_footage")]
    assert "Rechts: ergänzt" in texts
    assert "Szene 24, Aufnahme 24 Bilder je Sekunde" in texts
    assert "64 x 48, 30 Bilder, 1.2 s bei 24 B/s" in texts
    assert "made up: links und rechts" in drawn("DUOHAND_PT_take")
