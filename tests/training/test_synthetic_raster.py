# SPDX-License-Identifier: GPL-3.0-or-later
"""The rasteriser compared with a naive one, and its laws: watertight, nearest wins, nothing from behind the camera."""

from collections.abc import Callable

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.synthetic.raster import face_of, inverse_depth_of, rasterise, rasterise_in_parallel

SIZE = 24


def naive(points: np.ndarray, faces: np.ndarray, cull: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Face, inverse depth and how clearly each pixel centre is inside or outside, by brute force."""
    face_at = np.full((SIZE, SIZE), -1)
    depth_at = np.zeros((SIZE, SIZE))
    doubt = np.full((SIZE, SIZE), np.inf)
    x, y = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    for number, (a, b, c) in enumerate(points[faces].astype(np.float64)):
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if min(a[2], b[2], c[2]) <= 0 or abs(area) < 1e-4 or (cull and area > 0):
            continue
        w_b = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
        w_c = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area
        least = np.minimum(np.minimum(w_b, w_c), 1 - w_b - w_c)
        doubt = np.minimum(doubt, np.abs(least))
        depth = (1 - w_b - w_c) * a[2] + w_b * b[2] + w_c * c[2]
        inside = least >= 0
        doubt = np.where(inside & (face_at >= 0), np.minimum(doubt, np.abs(depth - depth_at)), doubt)
        nearer = inside & (depth > depth_at)
        face_at, depth_at = np.where(nearer, number, face_at), np.where(nearer, depth, depth_at)
    return face_at, depth_at, doubt


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([rasterise, rasterise_in_parallel]))
def test_the_rasteriser_agrees_with_a_naive_one(
    seed: int, cull: bool, filled: Callable[..., torch.Tensor]
) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform([-6, -6, -0.2], [SIZE + 6, SIZE + 6, 2], (2, 14, 3)).astype(np.float32)
    faces = rng.permuted(np.tile(np.arange(14), (12, 1)), axis=1)[:, :3]
    keys = filled(torch.from_numpy(points), torch.from_numpy(faces), SIZE, SIZE, cull)
    for picture in range(2):
        face_at, depth_at, doubt = naive(points[picture], faces, cull)
        clear = doubt > 1e-4
        seen = (keys[picture] > 0).numpy()
        assert (seen == (face_at >= 0))[clear].all()
        both = seen & clear
        assert (face_of(keys[picture]).numpy() == face_at)[both].all()
        np.testing.assert_allclose(inverse_depth_of(keys[picture]).numpy()[both], depth_at[both], atol=1e-3)


def test_adjacent_faces_have_neither_gaps_nor_overlaps() -> None:
    rng = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(np.linspace(2, 60, 12), np.linspace(2, 60, 12)), -1)
    grid[1:-1, 1:-1] += rng.uniform(-1.5, 1.5, (10, 10, 2))
    points = np.concatenate([grid.reshape(-1, 2), np.ones((144, 1))], 1).astype(np.float32)
    corner = (np.arange(11)[:, None] * 12 + np.arange(11)).reshape(-1)
    faces = np.concatenate(
        [np.stack([corner, corner + 13, corner + 1], 1), np.stack([corner, corner + 12, corner + 13], 1)]
    )
    one = [
        rasterise(torch.from_numpy(points)[None], torch.from_numpy(faces[k : k + 1]), 62, 62, False) > 0
        for k in range(len(faces))
    ]
    hits = torch.cat(one).sum(0)
    assert (hits[2:60, 2:60] == 1).all()
    assert hits.sum() == 58 * 58


def test_pictures_of_a_batch_do_not_mix() -> None:
    points = torch.rand(3, 9, 3) * torch.tensor([SIZE, SIZE, 1.0]) + torch.tensor([0.0, 0.0, 0.1])
    faces = torch.arange(9).view(3, 3)
    together = rasterise(points, faces, SIZE, SIZE, cull=False)
    alone = torch.cat([rasterise(points[k : k + 1], faces, SIZE, SIZE, cull=False) for k in range(3)])
    assert torch.equal(together, alone)


def test_faces_behind_the_camera_are_not_drawn() -> None:
    points = torch.tensor([[[1.0, 1, 1], [20, 1, 1], [1, 20, 0]]])
    assert not rasterise(points, torch.tensor([[0, 1, 2]]), SIZE, SIZE, cull=False).any()
