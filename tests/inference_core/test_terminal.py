# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress bar on a terminal and elsewhere, and tables."""

import io
import re

import pytest

from inference_core.cli.terminal import ProgressBar, print_table


class Terminal(io.StringIO):
    """A stream that a person watches."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _sixty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize("total", [60, 0])
def test_a_progress_bar_fits_the_terminal(total: int) -> None:
    stream = Terminal()
    with ProgressBar(stream) as bar:
        bar.show("solve", 30, total)
        bar.warn("a frame is missing")
        bar.show("preview", 10**6, 10**6)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert f"30/{total or '?'}" in plain and "warning: a frame is missing" in plain
    assert "solve: 30 frames" in plain and "preview: 1000000 frames" in plain
    assert max(len(line) for text in plain.splitlines() for line in text.split("\r")) <= 60


def test_output_to_a_file_has_one_line_per_stage_without_control_codes() -> None:
    stream = io.StringIO()
    with ProgressBar(stream) as bar:
        for done in range(5):
            bar.show("detect", done, 4)
        bar.warn("a frame is missing")
        bar.show("solve", 4, 4)
    lines = stream.getvalue().splitlines()
    assert "\x1b" not in stream.getvalue()
    assert [line.split(":")[0].strip() for line in lines] == ["warning", "detect", "solve"]


def test_a_table_in_a_file_is_plain_text() -> None:
    stream = io.StringIO()
    print_table(("", "left", "right"), [("frames seen", "7", "[8]"), ("a long name " * 9, "1", "2")], stream)
    lines = stream.getvalue().splitlines()
    assert stream.getvalue().isascii() and "\x1b" not in stream.getvalue()
    assert [line.split()[-2:] for line in lines] == [["left", "right"], ["7", "[8]"], ["1", "2"]]
