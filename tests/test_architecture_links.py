# SPDX-License-Identifier: GPL-3.0-or-later
"""The links of docs/architecture.md into the code lead to what they name."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINKS = re.findall(
    r"\[`(.+?)`\]\(\.\./(\S+?)#L(\d+)\)", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
)
# On a screen: so far a line may move before its link must follow.
NEAR = 20


def test_left_or_right_a_key_and_a_loss_are_linked() -> None:
    assert len(LINKS) >= 6


@pytest.mark.parametrize(("name", "path", "line"), LINKS)
def test_every_link_leads_to_the_line_it_names(name: str, path: str, line: str) -> None:
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    near = lines[max(int(line) - 1 - NEAR, 0) : int(line) + NEAR]
    assert any(name in text for text in near), f"{name} is elsewhere in {path}: mend docs/architecture.md"
