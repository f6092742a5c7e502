# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress bar's one line, and what is printed where there is no terminal."""

import io

from hypothesis import given
from hypothesis import strategies as st

from inference_core.cli.terminal import ProgressBar, bar_line


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.none() | st.floats(0, 1e6), st.integers(10, 300))
def test_the_bar_fits_the_terminal(done: int, total: int, seconds_left: float | None, columns: int) -> None:
    assert len(bar_line("detect", done, total, seconds_left, columns)) < columns


def test_the_bar_says_how_far_and_how_long() -> None:
    line = bar_line("solve", 30, 60, 75.0, 80)
    assert "30/60" in line
    assert "1:15 left" in line
    assert line.count("#") == 20


def test_a_file_gets_one_line_a_stage_and_no_control_codes() -> None:
    stream = io.StringIO()
    with ProgressBar(stream) as bar:
        for done in range(5):
            bar.show("detect", done, 4)
        bar.warn("a frame is missing")
        bar.show("solve", 4, 4)
    lines = stream.getvalue().splitlines()
    assert "\x1b" not in stream.getvalue()
    assert [line.split(":")[0].strip() for line in lines] == ["warning", "detect", "solve"]
