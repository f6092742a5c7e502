# SPDX-License-Identifier: GPL-3.0-or-later
"""The built zip: Blender's own validation, a repository index, and the command without a window."""

import importlib
import json

import pytest

import build_addon
from tests.blender_addon import scenes
from tests.blender_addon.in_blender import EXTENSION


def test_blenders_own_tool_validates_the_zip_and_makes_a_repository(tmp_path):
    tool = build_addon.find_blender_tool()
    assert tool is not None and tool.tags is not None
    archive = build_addon.build(tmp_path)
    build_addon.validate(archive, tool)
    build_addon.make_repository(archive, tmp_path / "repository", tool)
    index = json.loads((tmp_path / "repository" / "index.json").read_text())
    assert [item["id"] for item in index["data"]] == ["duohand"]
    assert (tmp_path / "repository" / index["data"][0]["archive_url"]).exists()


def test_the_command_writes_the_requested_files(tmp_path, capsys):
    scenes.empty_scene()
    command = importlib.import_module(f"{EXTENSION}.command")
    wanted = {
        "--blend": tmp_path / "shot.blend",
        "--fbx": tmp_path / "shot.fbx",
        "--bvh": tmp_path / "shot.bvh",
        "--picture": tmp_path / "shot.png",
    }
    arguments = [item for pair in wanted.items() for item in map(str, pair)]
    assert command.run([str(scenes.take_file("one_frame")), *arguments, "--width", "64"]) == 0
    assert wanted["--blend"].exists() and wanted["--fbx"].exists() and wanted["--picture"].exists()
    assert sorted(path.name for path in tmp_path.glob("*.bvh")) == ["shot_left.bvh", "shot_right.bvh"]


def test_the_command_reports_errors_with_exit_code_2(tmp_path, capsys):
    scenes.empty_scene()
    command = importlib.import_module(f"{EXTENSION}.command")
    assert command.run([str(tmp_path / "gone.npz")]) == 2
    assert "There is no take" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--blend", "shot.txt"], "ends in .blend"),
        (["--blend", "file/shot.blend"], "could not be written"),
        (["--picture", "shot.jpg"], "must end in .png"),
        (["--picture", "file/shot.png"], "There is no folder"),
        (["--picture", "shot.png", "--width", "0"], "pixels wide"),
        (["--picture", "shot.png", "--frame", "99999999999"], "of a frame up to"),
        (["--fbx", "shot"], "must end in .fbx"),
        (["--glb", "shot.fbx"], "must end in .glb"),
        (["--usd", "shot.x"], "must end in .usdc"),
    ],
)
def test_the_command_refuses_impossible_outputs_in_a_sentence(
    tmp_path, capsys, monkeypatch, arguments, words
):
    scenes.empty_scene()
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.chdir(tmp_path)
    command = importlib.import_module(f"{EXTENSION}.command")
    assert command.run([str(scenes.take_file("one_frame")), *arguments]) == 2
    assert words in capsys.readouterr().err
    assert [item.name for item in tmp_path.iterdir()] == ["file"]
