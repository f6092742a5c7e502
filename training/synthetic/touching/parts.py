# SPDX-License-Identifier: GPL-3.0-or-later
"""Which parts of two hands touch, from their meshes.

A hand has eight parts: the palm and the back between wrist and knuckles, the five fingers from their knuckles (the
thumb from its metacarpal), and the wrist with the first centimetres of the forearm.
"""

from functools import lru_cache

import torch
from torch import Tensor

from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_open_hand
from inference_core.shared.skeleton import FINGERS, LEFT, MANO_FINGERS, RIGHT
from training.synthetic.meshes import SceneMesh, load_scene_mesh, vertex_normals

PARTS = ("palm", "back", *FINGERS, "wrist")
NOTHING = 255
# Skins nearer than the first touch; vertices deeper than the second inside the other hand are beyond it.
TOUCHING_M = 0.004
_DEEPEST_M = 0.012
_WIDEST_M = 0.010
_ARM_M, _WRIST_M = 0.16, 0.012
_SAMPLES = 600
_AT_ONCE = 8  # pairs at once; more exceed the cache


def touched_parts(mesh: SceneMesh, arms_m: Tensor, near: Tensor) -> Tensor:
    """(B, S, P) uint8: the part of the other hand that each part touches, the nearest of several, or NOTHING.

    arms_m (B, S, A, 3): vertices of hands with forearms; near (B,): the pairs that can touch at all.
    """
    touched = torch.full((len(arms_m), 2, len(PARTS)), NOTHING, dtype=torch.uint8, device=arms_m.device)
    rows = near.nonzero()[:, 0]
    return (
        touched.index_copy(0, rows, nearest_parts(part_gaps_m(mesh, arms_m[rows]))) if len(rows) else touched
    )


def nearest_parts(gaps_m: Tensor) -> Tensor:
    """(B, S, P) uint8, as touched_parts, of gaps (B, P, P)."""
    both = torch.stack([gaps_m, gaps_m.mT], 1)
    nearest_m, part = both.min(-1)
    return torch.where(nearest_m < TOUCHING_M, part, NOTHING).to(torch.uint8)


def part_gaps_m(mesh: SceneMesh, arms_m: Tensor) -> Tensor:
    """(B, P, P) least distance between the skins of the left hand's parts (rows) and the right one's, +inf if far.

    Negative where one lies in the other. arms_m (B, S, A, 3): vertices of hands with forearms.
    """
    arms_m = arms_m.float()
    chosen, part = (table.to(arms_m.device) for table in _samples())
    skin_m, out = arms_m.index_select(2, chosen), arm_normals(mesh, arms_m).index_select(2, chosen)
    pieces = zip(skin_m.split(_AT_ONCE), out.split(_AT_ONCE), strict=True)
    return torch.cat([_gaps_m(piece_m, piece_out, part) for piece_m, piece_out in pieces])


def _gaps_m(skin_m: Tensor, out: Tensor, part: Tensor) -> Tensor:
    distance = torch.cdist(skin_m[:, LEFT], skin_m[:, RIGHT])
    gaps_m = skin_m.new_full((len(skin_m), len(PARTS) ** 2), torch.inf)
    for one, other, nearest in ((LEFT, RIGHT, distance.min(2)), (RIGHT, LEFT, distance.min(1))):
        number = nearest.indices[..., None].expand(-1, -1, 3)
        between = skin_m[:, one] - skin_m[:, other].gather(1, number)
        along_m = (between * out[:, other].gather(1, number)).sum(-1)
        near = (nearest.values < _WIDEST_M) & (along_m > -_DEEPEST_M)
        parts = torch.stack([part.expand_as(nearest.indices), part[nearest.indices]])
        cell = parts[one] * len(PARTS) + parts[other]
        gaps_m = gaps_m.scatter_reduce(1, cell, torch.where(near, along_m, torch.inf), "amin")
    return gaps_m.unflatten(1, (len(PARTS), len(PARTS)))


def arm_normals(mesh: SceneMesh, arms_m: Tensor) -> Tensor:
    """(B, S, A, 3) outward unit normals of hands with forearms."""
    arm_faces = mesh.faces[mesh.faces.amax(1) < 2 * mesh.arm_count]
    return vertex_normals(arms_m.flatten(1, 2), arm_faces).unflatten(1, arms_m.shape[1:3])


def vertex_parts(model: HandModel, mesh: SceneMesh) -> Tensor:
    """(A,) index of each vertex's part; -1 on the forearm beyond the wrist."""
    bone = model.skin_weights[RIGHT].argmax(-1)
    finger = torch.tensor([PARTS.index(name) for name in MANO_FINGERS])
    part = torch.where(bone > 0, finger[(bone - 1).clamp(min=0) // 3], PARTS.index("palm"))
    rest_m, normal = mesh.rest_m[: mesh.arm_count], mesh.rest_normal[: mesh.arm_count]
    beyond_m = rest_m[:, 0] - model.rest_joints_m[RIGHT, 0, 0]
    arm = torch.full((mesh.arm_count - mesh.hand_count,), PARTS.index("palm"))
    part = torch.cat([part, arm])
    part[(part == PARTS.index("palm")) & (normal[:, 1] > 0)] = PARTS.index("back")
    part[beyond_m > -_WRIST_M] = PARTS.index("wrist")
    part[beyond_m > _ARM_M] = -1
    return part


@lru_cache(maxsize=1)
def _samples() -> tuple[Tensor, Tensor]:
    """Vertices (N,) spread over hand and wrist, and their parts (N,)."""
    mesh = load_scene_mesh()
    part = vertex_parts(load_open_hand().tensors(), mesh)
    known = (part >= 0).nonzero()[:, 0]
    points_m = mesh.rest_m[known]
    distance = (points_m - points_m[:1]).norm(dim=-1)
    chosen = [0]
    while len(chosen) < min(_SAMPLES, len(known)):
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points_m - points_m[chosen[-1]]).norm(dim=-1))
    number = known[torch.tensor(chosen).sort().values]
    return number, part[number]
