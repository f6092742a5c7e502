# SPDX-License-Identifier: GPL-3.0-or-later
"""How hands are joined to a body."""

from dataclasses import dataclass
from typing import Literal

Leader = Literal["BODY", "HANDS"]
Placing = Literal["WRISTS", "CHEST", "PLACED"]


@dataclass(frozen=True)
class JoinSettings:
    """Which of the two applies where hands and body differ.

    offset: frames to add to the take's. wrists: whose positions. turns: whose hand rotation. placing: where the
    captured hands stand beside the body. elbow: whose, of an arm that follows. blend: frames at the ends of the range.
    """

    offset: float = 0.0
    wrists: Leader = "BODY"
    turns: Leader = "HANDS"
    placing: Placing = "WRISTS"
    elbow: Leader = "BODY"
    blend: int = 6
    spread_twist: bool = True
    bring_hands: bool = True
