# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of training against what they cannot use: exit code 2 and one line."""

from contextlib import nullcontext
from importlib import import_module
from pathlib import Path

import pytest

from tests.full_disk import full_disk
from training.__main__ import COMMANDS, main


@pytest.mark.parametrize(
    "arguments",
    [
        ["contact-network", "OUT/network.safetensors", "--pairs", "0"],
        ["contact-network", "OUT/network.safetensors", "--steps", "0"],
        ["evaluate", "solve", "--rendered", "FILE"],
        ["evaluate", "curves", "FILE"],
        ["partner-network", "OUT/network.safetensors", "--crops", "OUT/gone"],
        ["convert", "weight-parts", "join", "OUT/gone", "OUT/joined"],
    ],
)
def test_unusable_input_gives_exit_code_2_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    (tmp_path / "file").write_text("neither a folder nor a network")
    given = [word.replace("OUT", str(tmp_path)).replace("FILE", str(tmp_path / "file")) for word in arguments]
    assert main(given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "[Errno" not in line
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", COMMANDS["generate"])
@pytest.mark.parametrize("full", [False, True])
def test_folders_that_take_no_file_are_refused_before_anything_is_generated(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    full: bool,
) -> None:
    modules = COMMANDS["generate"]
    assert isinstance(modules, dict)
    monkeypatch.setattr(import_module(modules[kind]), "run", lambda options: pytest.fail("has begun"))
    (tmp_path / "file").write_text("not a folder")
    out = tmp_path / ("folder" if full else "file/folder")
    needed = ["--count", "1"] if kind == "pictures" else []
    with full_disk(0) if full else nullcontext():
        assert main(["generate", kind, str(out), *needed]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "[Errno" not in line and "Check the path" in line
    assert [item.name for item in tmp_path.rglob("*") if item.is_file()] == ["file"]
