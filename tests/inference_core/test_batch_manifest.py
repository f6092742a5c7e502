# SPDX-License-Identifier: GPL-3.0-or-later
"""The shots that a batch's sources describe; errors in them name their place."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference_core.batch.content import content_key
from inference_core.batch.manifest import Shot, read_shots
from inference_core.footage import FrameRange, parse_frame_range
from inference_core.shared.errors import RequestError


def shots_of(source: Path | str, folder: Path, **settings: object) -> tuple[Shot, ...]:
    return read_shots([str(source)], folder / "out", settings, preview=False)


def picture(path: Path, grey: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((48, 64, 3), grey, np.uint8))
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_rows_are_shots_with_their_own_settings(tmp_path: Path, separator: str) -> None:
    lines = [
        ("footage", "name", "fov_deg", "hands", "frames"),
        ("a/one.mov", "", "", "", ""),
        ("b/two.mov", "Two", "35.5", "left", "10-19"),
    ]
    manifest = tmp_path / "shots.csv"
    manifest.write_text("\n".join(separator.join(line) for line in lines), encoding="utf-8-sig")
    one, two = shots_of(manifest, tmp_path, fov_deg=50.0, smooth=0.25)
    assert (one.name, one.request.footage) == ("one", str(tmp_path / "a/one.mov"))
    assert (one.request.fov_deg, one.request.hands, one.request.smooth) == (50.0, "both", 0.25)
    assert (two.name, two.request.fov_deg, two.request.hands) == ("Two", 35.5, "left")
    assert two.request.out == str(tmp_path / "out/Two.npz")


def test_a_json_list_may_have_names_and_objects(tmp_path: Path) -> None:
    manifest = tmp_path / "shots.json"
    manifest.write_text(
        json.dumps(["one.mov", {"footage": "/elsewhere/two.mov", "intrinsics_px": [9, 9, 4, 4]}])
    )
    one, two = shots_of(manifest, tmp_path)
    assert one.request.footage == str(tmp_path / "one.mov")
    assert (two.request.footage, two.request.intrinsics_px) == ("/elsewhere/two.mov", (9, 9, 4, 4))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("m.csv", "footage,colour\na.mov,red", "colour cannot be set"),
        ("m.csv", "footage,fps\na.mov,\nb.mov,fast", "line 3: fps is 'fast'"),
        ("m.csv", "footage,fps\na.mov," + "[" * 100_000, "which is not a number"),
        ("m.csv", "footage,fps\na.mov,1,2", "more cells than columns"),
        ("m.csv", "name\nx", "does not name footage"),
        ("m.csv", f"footage{',' * 20_000}\n" + "a.mov\n" * 90_000, "more than 256 columns"),
        ("m.csv", "footage,fps\na.mov,-3", "shot 1: fps is -3"),
        ("m.csv", 'footage\n"a.mov', "not a CSV file"),
        ("m.json", "[1]", "not a list of shots"),
        ("m.json", "[" * 100_000, "not JSON"),
        ("m.json", '[{"footage": "a.mov", "out": "/etc/passwd"}]', "out cannot be set"),
        ("m.json", '[{"footage": "a.mov", "hands": "three"}]', "hands is 'three'"),
        ("m.json", "[]", "No footage was found"),
    ],
)
def test_errors_in_a_manifest_name_their_row(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(RequestError, match=said):
        shots_of(tmp_path / name, tmp_path)


def test_many_shots_of_the_same_name_are_numbered(tmp_path: Path) -> None:
    manifest = tmp_path / "shots.csv"
    manifest.write_text("footage,name\n" + "a.mov,hand_2\n" + "a.mov,hand\n" * 2000)
    names = [shot.name for shot in shots_of(manifest, tmp_path)]
    assert len({name.casefold() for name in names}) == 2001
    folder = tmp_path.name
    assert names[:4] == ["hand_2", "hand", f"{folder}_hand", f"{folder}_hand_2"]


def test_a_folder_gives_its_movies_sequences_and_stills(tmp_path: Path) -> None:
    for name in (
        "clips/a.mov",
        "clips/deep/b.MP4",
        "clips/.hidden/c.mov",
        "clips/._a.mov",
        "clips/notes.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for number in (1001, 1002, 1003):
        picture(tmp_path / f"clips/seq/x_{number}.png")
    picture(tmp_path / "clips/still.jpg")
    names = [shot.name for shot in shots_of(tmp_path / "clips", tmp_path)]
    assert names == ["a", "still", "b", "x_1001"]


def test_a_batch_does_not_capture_its_own_output(tmp_path: Path) -> None:
    for name in ("a.mov", "out/a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [shot.name for shot in shots_of(tmp_path, tmp_path)] == ["a"]


def test_no_two_shots_share_a_name(tmp_path: Path) -> None:
    for name in ("day1/take.mov", "day2/take.mov", "day2/TAKE.avi", "x/day2/take.mov"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = [shot.name for shot in shots_of(str(tmp_path / "**/*.*"), tmp_path)]
    assert len({name.casefold() for name in names}) == 4
    assert names[0] == "take" and "day2_take" in {name.casefold() for name in names}


def test_shots_are_identified_by_content_rather_than_name(tmp_path: Path) -> None:
    paths = [picture(tmp_path / name, grey) for name, grey in (("a.png", 9), ("b/c.png", 9), ("d.png", 8))]
    same, moved, other = (shots_of(path, tmp_path, frames="0:1")[0].request for path in paths)
    assert content_key(same) == content_key(moved) != content_key(other)
    assert content_key(shots_of(paths[0], tmp_path, frames="0-0")[0].request) == content_key(same)
    assert content_key(shots_of(paths[0], tmp_path, frames="0:1", smooth=0.1)[0].request) != content_key(same)
    assert content_key(shots_of(tmp_path / "gone.mov", tmp_path)[0].request) is None


def test_ranges_may_include_their_last_frame() -> None:
    assert parse_frame_range("1001-1100") == FrameRange(1001, 1101, 1) == parse_frame_range("1001:1101")
    assert parse_frame_range("0-10x5") == FrameRange(0, 11, 5)
    assert parse_frame_range("-5:5") == FrameRange(-5, 5, 1)
    for text in ("9-8", "1-5x0", "1-2-3"):
        with pytest.raises(RequestError):
            parse_frame_range(text)


@pytest.mark.parametrize(
    ("wished", "given"),
    [
        ("CON", "CON_"),
        ("nul.v2", "nul.v2_"),
        ("\u624b" * 200, "\u624b" * 50),
        ("../../etc", "etc"),
        ("a\u2028b", "a_b"),
        ("\x00", "shot"),
    ],
)
def test_names_are_valid_on_every_file_system(tmp_path: Path, wished: str, given: str) -> None:
    manifest = tmp_path / "shots.json"
    manifest.write_text(json.dumps([{"footage": "a.mov", "name": wished}]))
    assert [shot.name for shot in shots_of(manifest, tmp_path)] == [given]


def test_names_equal_in_unicode_normal_form_are_numbered(tmp_path: Path) -> None:
    manifest = tmp_path / "shots.json"
    manifest.write_text(json.dumps([{"footage": "a.mov", "name": name} for name in ("\u00e9", "e\u0301")]))
    first, second = (shot.name for shot in shots_of(manifest, tmp_path))
    assert first == "\u00e9" and second != first


def test_cells_may_hold_line_breaks_and_decimal_commas(tmp_path: Path) -> None:
    manifest = tmp_path / "shots.csv"
    manifest.write_bytes('footage;name;fov_deg\r\n"two\u2028parts.mov";"a\nb";35,5\r\nb.mov;;\r\n'.encode())
    one, two = shots_of(manifest, tmp_path)
    assert one.request.footage.endswith("two\u2028parts.mov") and one.name == "a_b"
    assert one.request.fov_deg == 35.5 and two.request.fov_deg is None


def test_brackets_in_a_folders_name_are_not_a_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "take [2]"
    folder.mkdir()
    for name in ("a.mov", "b[1].mov"):
        (folder / name).touch()
    assert [shot.name for shot in shots_of(str(folder / "*.mov"), tmp_path)] == ["a", "b_1"]
    assert [shot.name for shot in shots_of(str(folder / "b[1].mov"), tmp_path)] == ["b_1"]


def test_a_source_without_footage_is_named(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/a.mov").touch()
    (tmp_path / "empty").mkdir()
    for source, said in (
        (str(tmp_path / "clips/*.mp4"), "No file matches"),
        (str(tmp_path / "empty"), "contains no footage"),
    ):
        with pytest.raises(RequestError, match=said):
            read_shots([str(tmp_path / "clips"), source], tmp_path / "out", {}, preview=False)
    with pytest.raises(RequestError, match="Choose another --out"):
        read_shots([str(tmp_path / "clips")], tmp_path / "clips", {}, preview=False)
