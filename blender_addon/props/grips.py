# SPDX-License-Identifier: GPL-3.0-or-later
"""A prop and the hands that hold it, frame by frame. Does not import bpy.

A grip keeps the hand's position on the prop on its first frame, so nothing jumps when it begins. The first of several
hands on a prop leads; the others keep their places on it. When the leader lets go, the next one leads, from where it
is. A hand that was led returns to its own motion over some frames; a released prop stays where it was put down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference_core.shared import quaternions

from ..scene.axes import Floats


@dataclass(frozen=True)
class Grip:
    """A side's hand on the prop on frames first..last, both included; object_follows: the hand may lead it."""

    side: int
    first: int
    last: int
    object_follows: bool = True


@dataclass(frozen=True)
class Held:
    """prop (F, 4, 4), hands (F, 4, 4) by side, and on which frames (F,) each of them differs from its own motion."""

    prop: Floats
    hands: dict[int, Floats]
    moved: dict[int, NDArray[np.bool_]]


def held(
    frames: range,
    prop: Floats,
    hands: Mapping[int, Floats],
    grips: Sequence[Grip],
    blend: int,
    cuts: Floats | None = None,
) -> Held:
    """The motion of all, from their own motion: prop (F, 4, 4) and hands (F, 4, 4), rigid.

    cuts (C,): the frames at which the footage is cut; no hand returns to its own motion across one.
    """
    piece = np.searchsorted(np.zeros(0) if cuts is None else cuts, frames)
    found = Held(
        prop.copy(),
        {side: own.copy() for side, own in hands.items()},
        {side: np.zeros(len(frames), bool) for side in hands},
    )
    places: dict[Grip, Floats] = {}  # the prop in the hand's axes
    let_go: dict[int, int] = {}  # by side: the last row on which the hand was led
    carried = np.eye(4)  # from the prop's own motion to where it was put
    leader: Grip | None = None
    ordered = sorted(grips, key=lambda grip: (grip.first, grip.last, grip.side))
    for row, frame in enumerate(frames):
        active = [grip for grip in ordered if grip.first <= frame <= grip.last]
        if leader not in active:
            if leader is not None:
                carried = found.prop[row - 1] @ np.linalg.inv(prop[row - 1])
            leader = next((grip for grip in active if grip in places and grip.object_follows), None)
        for side, last in let_go.items():
            if piece[last] == piece[row]:
                _return(found, hands, side, row, last, blend)
        found.prop[row] = carried @ prop[row]
        if leader is not None:
            found.prop[row] = found.hands[leader.side][row] @ places[leader]
        for grip in active:
            if grip not in places:
                places[grip] = np.linalg.inv(found.hands[grip.side][row]) @ found.prop[row]
                leader = grip if leader is None and grip.object_follows else leader
            elif grip is not leader:
                found.hands[grip.side][row] = found.prop[row] @ np.linalg.inv(places[grip])
                found.moved[grip.side][row] = True
                let_go[grip.side] = row
    return found


def _return(found: Held, hands: Mapping[int, Floats], side: int, row: int, last: int, blend: int) -> None:
    """The hand blending from where it was led on row `last` back to its own motion."""
    part = (row - last) / (blend + 1)
    if part >= 1:
        return
    share = 1 - part * part * (3 - 2 * part)
    own, led, was = hands[side][row], found.hands[side][last], hands[side][last]
    turn = quaternions.log(quaternions.from_matrix(led[:3, :3] @ was[:3, :3].T))
    found.hands[side][row, :3, :3] = quaternions.to_matrix(quaternions.exp(share * turn)) @ own[:3, :3]
    found.hands[side][row, :3, 3] = own[:3, 3] + share * (led[:3, 3] - was[:3, 3])
    found.moved[side][row] = True
