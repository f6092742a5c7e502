# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of training against what they cannot use: exit code 2 and one line."""

from pathlib import Path

import pytest

from training.__main__ import main


@pytest.mark.parametrize(
    "arguments",
    [
        ["contact-network", "OUT/network.safetensors", "--pairs", "0"],
        ["contact-network", "OUT/network.safetensors", "--steps", "0"],
        ["generate", "contact-sheet", "FILE/sheet.png"],
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
