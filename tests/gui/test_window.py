# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on in a Blender with a real window: clip to FBX by a person's steps, with the real engine.

Pictures of every panel are left in demo/window; the manual's are copies of them.
"""

from typing import Any, Final

import pytest

from tests.gui.driven import driven, pictures_of

DRIVE: Final = "drive_window"

pytestmark = pytest.mark.gui


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return driven(DRIVE)


def test_the_button_starts_a_capture_that_ends_with_both_hands(result: dict[str, Any]) -> None:
    assert "error" not in result, result.get("error")
    assert result["pressed"]
    assert "both hands captured" in str(result["outcome"])
    assert len(result["armatures"]) == 2


def test_a_second_clip_is_a_second_shot_and_escape_cancels_only_over_the_panel(
    result: dict[str, Any],
) -> None:
    assert result["shots"] == ["take_02", "two_hands"] and result["takes"] == 2
    assert result["escape_over_view"] == "RUNNING" and result["escape_over_panel"] != "RUNNING"
    assert "both hands captured" in str(result["escape_over_view_outcome"])
    assert "cancelled" in str(result["escape_over_panel_outcome"])


def test_what_changes_all_frames_asks_first(result: dict[str, Any]) -> None:
    assert result["asked_swap_sides"] == [True, True, True, False]
    assert result["asked_delete_range"] == [True, True]


def test_an_export_asks_about_files_with_other_names_than_the_chosen_one(result: dict[str, Any]) -> None:
    assert result["export_asked"] == ["earlier"] * 2
    assert result["export_replaced"] == ["HIERARCHY"] * 2


def test_contact_is_made_and_undone_by_a_key(result: dict[str, Any]) -> None:
    assert "Solved frames" in str(result["contact"])
    assert result["contact_moved"] and result["contact_undone"]


def test_the_hands_are_exported_as_fbx(result: dict[str, Any]) -> None:
    assert int(str(result["fbx_bytes"])) > 100_000


def test_blender_stays_usable_during_the_capture(result: dict[str, Any]) -> None:
    # The script inside Blender asked for this picture between two frames of the running capture.
    assert "pressed" in result and (pictures_of(DRIVE) / "03_capturing.png").exists()


def test_every_step_wrote_its_picture(result: dict[str, Any]) -> None:
    assert len(list(pictures_of(DRIVE).glob("*.png"))) >= 6


def test_every_panel_has_a_small_picture_for_the_manual(result: dict[str, Any]) -> None:
    files = list(pictures_of(DRIVE).glob("panel_*.png"))
    assert len(files) >= 8
    assert all(file.stat().st_size < 60_000 for file in files)


def test_reports_are_german_if_blender_is(result: dict[str, Any]) -> None:
    if "german" in result:
        assert "ist kein Take" in str(result["german_load_take"])
        assert "endet, bevor er beginnt" in str(result["german_hold_range"])


def test_the_tab_is_german_if_blender_is(result: dict[str, Any]) -> None:
    assert result.get("german", "Hände erfassen") == "Hände erfassen"
