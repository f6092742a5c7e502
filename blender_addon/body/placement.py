# SPDX-License-Identifier: GPL-3.0-or-later
"""Places captured hands relative to a moving body: with its chest, or by its own wrists. Does not import bpy.

K frames, S = 2 hands. Everything is in one world; things fixed to the chest follow its motion from rest.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..scene.axes import Floats, unscaled

_SIDES_COUNT: Final = 3.0


@dataclass(frozen=True)
class Moves:
    """Rigid motions with one scale, x -> scale * turns @ x + shifts; turns (K, 3, 3), shifts (K, 3)."""

    turns: Floats
    shifts: Floats
    scale: float = 1.0

    def points(self, points: Floats) -> Floats:
        """Moved points (K, S, 3)."""
        return self.scale * np.einsum("kab,ksb->ksa", self.turns, points) + self.shifts[:, None]

    def after(self, first: "Moves") -> "Moves":
        """The motions `first`, then these."""
        shifts = self.scale * np.einsum("kab,kb->ka", self.turns, first.shifts) + self.shifts
        return Moves(self.turns @ first.turns, shifts, self.scale * first.scale)


@dataclass(frozen=True)
class Hands:
    """wrists (K, S, 3), anatomical frames turns (K, S, 3, 3), and which are there (K, S)."""

    wrists: Floats
    turns: Floats
    there: NDArray[np.bool_]


def of_matrix(matrix: Floats, count: int) -> Moves:
    """The motion of a matrix (4, 4) of rotation, even scale and place, `count` times."""
    scale = float(np.cbrt(abs(np.linalg.det(matrix[:3, :3]))))
    turns = np.broadcast_to(matrix[:3, :3] / scale, (count, 3, 3))
    return Moves(turns, np.broadcast_to(matrix[:3, 3], (count, 3)), scale)


def riding(chest: Floats, rest: Floats) -> Moves:
    """The motion of things fixed to a chest, from its rest (4, 4) to its matrices (K, 4, 4)."""
    turns = unscaled(chest[..., :3, :3]) @ unscaled(rest[..., :3, :3]).T
    return Moves(turns, chest[:, :3, 3] - np.einsum("kab,b->ka", turns, rest[:3, 3]))


def by_the_wrists(hands: Hands, body: Hands, ride: Moves, scale: float) -> Moves:
    """The hands scaled, and rotated and moved by one rigid motion in the chest's axes, to where the body's own hands
    are on average; then following the chest.
    """
    there = hands.there & body.there
    if not there.any():
        return ride
    still = Moves(ride.turns.transpose(0, 2, 1), -np.einsum("kba,kb->ka", ride.turns, ride.shifts))
    places = still.points(body.wrists)
    turned = np.einsum("kab,ksbc->ksac", still.turns, body.turns)[there]
    likeness = np.einsum("nab,ncb->ac", turned, hands.turns[there]) / there.sum()
    turn = _nearest_rotation(likeness + _sides(places, hands.wrists, there))
    theirs, ours = places[there], scale * hands.wrists[there]
    shift = (theirs - ours @ turn.T).mean(0)
    count = len(hands.wrists)
    return ride.after(Moves(np.broadcast_to(turn, (count, 3, 3)), np.broadcast_to(shift, (count, 3)), scale))


def _sides(first: Floats, second: Floats, there: NDArray[np.bool_]) -> Floats:
    """Correlation (3, 3) of the vectors from the right wrist to the left one; 0 if no frame has both.

    It outweighs the hands' rotations, which are inaccurate in a body that was captured without its hands.
    """
    both = there.all(1)
    if there.shape[1] != 2 or not both.any():
        return np.zeros((3, 3))
    one, two = (points[both, 0] - points[both, 1] for points in (first, second))
    size = float(np.sqrt((one**2).sum() * (two**2).sum()))
    return _SIDES_COUNT * one.T @ two / max(size, 1e-12)


def _nearest_rotation(matrix: Floats) -> Floats:
    u, _, v = np.linalg.svd(matrix)
    handed = float(np.sign(np.linalg.det(u @ v)))
    return np.asarray(u @ np.diag([1.0, 1.0, handed]) @ v, np.float64)
