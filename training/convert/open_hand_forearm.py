# SPDX-License-Identifier: GPL-3.0-or-later
"""The open hand with a forearm, for synthetic pictures; its first vertices are the hand's own."""

from pathlib import Path

import numpy as np

from inference_core.hand_model.arrays import HandArrays
from training.convert.open_hand_shape import ShapeSpace
from training.convert.open_hand_source import Array, SourceHands


def save_open_arm(source: SourceHands, hand: HandArrays, shape: ShapeSpace, path: Path) -> None:
    """Writes v_template, f, shapedirs, weights (V, 17; the last column turns with the forearm), n_hand.

    The forearm bends about the hand's wrist joint (joint 0).
    """
    np.savez_compressed(
        path,
        v_template=np.concatenate([hand.template_m, shape.forearm_template_m]).astype(np.float32),
        f=source.faces.astype(np.uint16),
        shapedirs=np.concatenate([hand.shape_dirs, shape.forearm_dirs]).astype(np.float32),
        weights=_weights(source, hand).astype(np.float32),
        n_hand=np.array(source.hand_count),
    )


def _weights(source: SourceHands, hand: HandArrays) -> Array:
    """(V, 17) the hand's weights with the wrist's share handed over to the forearm as MakeHuman does."""
    count, total = source.hand_count, len(source.forearm_weights)
    weights = np.zeros((total, 17))
    weights[:count, :16] = hand.skin_weights
    weights[count:, 0] = 1
    weights[:, 16] = weights[:, 0] * source.forearm_weights
    weights[:, 0] -= weights[:, 16]
    return weights
