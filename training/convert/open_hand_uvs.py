# SPDX-License-Identifier: GPL-3.0-or-later
"""Texture coordinates of the open hand: MakeHuman's islands for it, packed into the unit square."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from training.convert.open_hand_source import Array

_GAP = 0.02


def packed_uvs(uvs: Array) -> Array:
    """(F, 3, 2) face corners within 0..1, the islands side by side, scaled equally and without distortion.

    MakeHuman maps the whole body to one square: the hand fills a twentieth of it, and the wrist
    stub belongs to an island far away.
    """
    points, corners = np.unique(uvs.reshape(-1, 2).round(7), axis=0, return_inverse=True)
    corners = corners.reshape(-1, 3)
    links = (np.concatenate([corners[:, 0], corners[:, 1]]), np.concatenate([corners[:, 1], corners[:, 2]]))
    graph = coo_matrix((np.ones(len(links[0])), links), (len(points), len(points)))
    count, island = connected_components(graph, directed=False)
    right = 0.0
    for number in np.argsort(-np.bincount(island))[:count]:
        mine = island == number
        points[mine] += np.array([right, 0]) - points[mine].min(0)
        right = points[mine, 0].max() + _GAP * np.ptp(points[mine], axis=0).max()
    return (points / points.max())[corners]
