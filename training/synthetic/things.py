# SPDX-License-Identifier: GPL-3.0-or-later
"""Things: one held by a hand, and one in front of or beside the hands that hides part of them."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inference_core.geometry.rotations import exp
from inference_core.hand_model.hand import PosedHands
from training.synthetic.meshes import THINGS, SceneMesh, shaped_things
from training.synthetic.randomness import Randomness

BALL, BOX, CUP, PEN, CARD = range(5)
# Half extents in metres, also of cards and phones; squareness across the axis and along it,
# from 1 (round) to 0.1 (square).
_HALF_M = torch.tensor(
    [
        [0.028, 0.028, 0.028],
        [0.030, 0.022, 0.040],
        [0.033, 0.033, 0.048],
        [0.0045, 0.0045, 0.070],
        [0.036, 0.006, 0.070],
    ]
)
_SQUARENESS = torch.tensor([[1.0, 1.0], [0.15, 0.15], [1.0, 0.12], [1.0, 0.3], [0.2, 0.12]])
_HELD, _LOOSE = 0, 1
_LOOSE_LARGER = 1.6


@dataclass(frozen=True)
class Things:
    """N superellipsoids in some frame.

    kind (N,); half_m (N, 3): half extents; squareness (N, 2); at_m (N, 3): centre; turn (N, 3, 3).
    """

    kind: Tensor
    half_m: Tensor
    squareness: Tensor
    at_m: Tensor
    turn: Tensor

    def rows(self, chosen: Tensor) -> "Things":
        """The things of the given indices."""
        return Things(*(value[chosen] for value in vars(self).values()))

    def with_rows(self, numbers: Tensor, others: "Things") -> "Things":
        """These things with those of indices (M,) replaced."""
        columns = zip(vars(self).values(), vars(others).values(), strict=True)
        return Things(*(value.index_put((numbers,), other) for value, other in columns))

    def to(self, device: torch.device | str) -> "Things":
        """The same things on another device."""
        return Things(*(value.to(device) for value in vars(self).values()))

    def moved(self, turn: Tensor, by_m: Tensor) -> "Things":
        """The things rotated about the origin by (N, 3, 3), then moved by (N, 3)."""
        return replace(self, at_m=(turn @ self.at_m[..., None])[..., 0] + by_m, turn=turn @ self.turn)

    def room_m(self, centres_m: Tensor, radius_m: Tensor) -> Tensor:
        """(N, K) distance between each thing and spheres with centres (N, K, 3) and radii (K,); negative inside.

        Exact for boxes and cylinders, nearly so for ellipsoids; the slight rounding of edges is ignored.
        """
        local = (centres_m - self.at_m[:, None]) @ self.turn
        half_m = self.half_m[:, None]
        round_across, round_along = (self.squareness > 0.5)[:, None].unbind(-1)
        beyond = local.abs() - half_m
        square = beyond[..., :2]
        flat = torch.where(round_across, _to_ellipsoid(local[..., :2], half_m[..., :2]), _to_box(square))
        extruded = _to_box(torch.stack([flat, beyond[..., 2]], -1))
        return torch.where(round_along, _to_ellipsoid(local, half_m), extruded) - radius_m


def draw_held(random: Randomness) -> Things:
    """Things to hold, of all kinds and sizes, at the origin; on the CPU."""
    return _drawn(random, _HELD)


def place_loose(random: Randomness, posed: PosedHands) -> Things:
    """Things near the line of sight to some joint of the hands, in front of or behind it."""
    device = posed.rotations.device
    joints_m = posed.joints21_m.flatten(1, 2)
    joint = random.integers("hidden joint", joints_m.shape[1]).to(device)
    at_m = joints_m[torch.arange(len(joint), device=device), joint]
    near = random.uniform("thing nearness", 1, low=0.55, high=0.9).to(device)
    centre = at_m * near + random.normal("thing aside", 3, std=0.03).to(device)
    turn = exp(random.normal("thing turn", 3, std=1.5).to(device))
    things = _drawn(random, _LOOSE).to(device)
    return replace(things, half_m=_LOOSE_LARGER * things.half_m).moved(turn, centre)


def things_vertices(mesh: SceneMesh, held: Things, loose: Things) -> Tensor:
    """Vertices (B, THINGS, G, 3) of each picture's held and loose thing."""
    half_m, squareness, turn, at_m = (
        torch.stack([getattr(held, name), getattr(loose, name)], 1)
        for name in ("half_m", "squareness", "turn", "at_m")
    )
    return shaped_things(mesh, half_m, squareness, turn, at_m)


def no_things(mesh: SceneMesh, batch: int) -> tuple[Tensor, Tensor]:
    """Vertices as in things_vertices, and a mask (B, THINGS) in which none exists."""
    vertices_m = mesh.thing_unit.expand(batch, THINGS, -1, -1)
    return vertices_m, torch.zeros(batch, THINGS, dtype=torch.bool, device=vertices_m.device)


def _to_ellipsoid(place_m: Tensor, half_m: Tensor) -> Tensor:
    """(...,) distance of positions (..., D) from an ellipsoid, exact for a sphere (to
    first order in its implicit form).
    """
    scaled = (place_m / half_m).norm(dim=-1)
    slope = (place_m / half_m.square()).norm(dim=-1)
    return scaled * (scaled - 1) / slope.clamp(min=1e-6)


def _to_box(beyond_m: Tensor) -> Tensor:
    """(...,) distance from a box, given how far positions are beyond its faces along each axis (..., D)."""
    return beyond_m.clamp(min=0).norm(dim=-1) + beyond_m.amax(-1).clamp(max=0)


def _drawn(random: Randomness, number: int) -> Things:
    kind = random.choice("thing kind", (1.0, 1.0, 1.0, 1.2, 1.0), 2)[:, number]
    half_m = _HALF_M[kind] * random.uniform("thing size", 2, 3, low=0.75, high=1.3)[:, number]
    turn = torch.eye(3).expand(random.batch, 3, 3)
    return Things(kind, half_m, _SQUARENESS[kind], torch.zeros(random.batch, 3), turn)
