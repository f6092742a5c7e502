# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports the authors' released checkpoint: reads it without running code, and maps every key to this network's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from inference_core.shared.errors import WeightsError
from inference_core.shared.skeleton import SIDES
from inference_core.shared.whole_file import check_apart
from inference_core.two_hand.card import CARD_FILE, WEIGHTS_FILE, WeightsCard
from inference_core.two_hand.checkpoint import read_checkpoint
from inference_core.two_hand.configuration import DIR_RELEASE

if TYPE_CHECKING:  # a damaged checkpoint is rejected before torch is loaded
    from torch import Tensor

    from inference_core.two_hand.dir import DirNetwork

SOURCE = "the authors' released DIR checkpoint (ICCV 2023), imported from {file}"
LICENCE = "MIT (the released DIR weights); the hand model is the user's own, under its own licence"
# MANO's vertices that the release uses as fingertips, thumb to pinky, for the left and the right hand.
TIP_VERTICES = ((745, 317, 445, 556, 673), (745, 317, 444, 556, 673))

# Stored in the release, but without effect on its results.
_UNUSED = re.compile(
    r"mano_layer|img_gird$|num_batches_tracked$|^seg_loss\.|^backbone\.fc\.|STEblocks\.0\.|gconv\.e_0$"
)

# Our names, in order, and the release's. {side} marks a pair; \1 is a stage, which
# the release numbers 4, then 3.
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"^baseline\.pooling\.scores\.", r"init_regressor.attention_{side}."),
    (r"^baseline\.parameters_head\.", r"init_regressor.mano_{side}."),
    (r"^baseline\.offset_head\.", r"init_regressor.offset."),
    (r"^final\.", r"decoder.conv_final."),
    (r"^side_head\.", r"decoder.seg."),
    (r"^dense_head\.", r"decoder.dense."),
    (r"^refinements\.0\.", r"stage4."),
    (r"^refinements\.1\.", r"stage3."),
    (r"^stage(\d)\.(skip|fusion|enhancement)\.norm(\d)\.", r"stage\1.\2.bn\3."),
    (r"^stage(\d)\.(skip|fusion|enhancement)\.conv(\d)\.", r"stage\1.\2.conv\3.conv."),
    (r"^stage(\d)\.(skip|fusion|enhancement)\.skip\.", r"stage\1.\2.skip_layer.conv."),
    (r"^stage(\d)\.skip\.", r"decoder.skip_layer\1."),
    (r"^stage(\d)\.fusion\.", r"decoder.fusion_layer\1."),
    (r"^stage(\d)\.enhancement\.", r"decoder.enhance_layer\1."),
    (r"^stage(\d)\.", r"decoder.projecter_\1."),
    (r"\.image_embedding\.", r".img2joint_{side}.filters."),
    (r"\.joint_embedding\.", r".pos_emb_{side}."),
    (r"\.common_embedding\.", r".global_pos_emb."),
    (r"\.projection\.embedding\.", r".proj_feat_emb."),
    (r"\.projection\.conv\.", r".fusion.0."),
    (r"\.projection\.norm\.", r".fusion.1."),
    (r"\.projection\.head\.", r".fusion.3."),
    (r"\.linear1\.", r".0."),
    (r"\.linear2\.", r".3."),
    (r"(img2joint_\{side\}\.filters|pos_emb_\{side\}|global_pos_emb|proj_feat_emb)\.norm\.", r"\1.1."),
    (r"\.graph\.convolutions\.(\d)\.weight$", r".gcn_{side}.gconv_layers.\1.gconv.W"),
    (r"\.graph\.convolutions\.(\d)\.edges$", r".gcn_{side}.gconv_layers.\1.gconv.e_1"),
    (r"\.graph\.convolutions\.(\d)\.bias$", r".gcn_{side}.gconv_layers.\1.gconv.bias"),
    (r"\.graph\.norms\.(\d)\.", r".gcn_{side}.gconv_layers.\1.bn."),
    (r"\.transformer\.positions$", r".interaction.spatial_pos_embed"),
    (r"\.transformer\.blocks\.0\.", r".interaction.STEblocks.1."),
    (r"\.transformer\.blocks\.1\.", r".interaction.STEblocks.2."),
    (r"\.transformer\.blocks\.2\.", r".interaction.STEblocks.3."),
    (r"(STEblocks\.\d)\.(qkv|proj)\.", r"\1.attn.\2."),
    (r"(STEblocks\.\d)\.(fc1|fc2)\.", r"\1.mlp.\2."),
    (r"\.transformer\.norm\.", r".interaction.spatial_norm."),
    (r"\.transformer\.head_norm\.", r".interaction.head.0."),
    (r"\.transformer\.head\.", r".interaction.head.1."),
    (r"\.regressor\.parameters_head\.", r".regressor.mano_{side}."),
    (r"\.regressor\.offset_head\.", r".regressor.offset."),
)


def import_release(checkpoint: Path, out: Path) -> DirNetwork:
    """The network of a checkpoint; its weights and their card are written to the folder `out`.

    Raises WeightsError if the file is not a checkpoint, holds code, or belongs to another graph.
    """
    check_apart([out / WEIGHTS_FILE, out / CARD_FILE], [checkpoint])
    arrays = read_checkpoint(checkpoint)
    import torch  # once the file is known to be whole

    from inference_core.two_hand.weights import save_weights

    network = network_from_release({key: torch.as_tensor(array) for key, array in arrays.items()})
    card = WeightsCard(
        configuration=DIR_RELEASE,
        source=SOURCE.format(file=checkpoint.name),
        licence=LICENCE,
        hand_model="MANO",
        tip_vertices=TIP_VERTICES,
    )
    save_weights(network, out, card)
    return network


def network_from_release(state: Mapping[str, Tensor]) -> DirNetwork:
    """dir-release in eval mode with the weights of a released state dict.

    Raises WeightsError naming every key that is missing, unexpected or of another shape.
    """
    import torch

    from inference_core.two_hand.dir import DirNetwork

    network = DirNetwork(DIR_RELEASE)
    own = {
        key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")
    }
    sources = {key: release_keys(key) for key in own}
    wanted = {source for keys in sources.values() for source in keys}
    missing = sorted(wanted - set(state))
    unexpected = sorted(key for key in set(state) - wanted if not _UNUSED.search(key))
    reshaped = [] if missing else _differing_shapes(own, sources, state)
    if missing or unexpected or reshaped:
        raise WeightsError(_difference(missing, unexpected, reshaped))
    filled = {
        key: torch.stack([state[source] for source in sources[key]]).float().reshape(value.shape)
        for key, value in own.items()
    }
    network.load_state_dict(filled, strict=False)
    return network.eval()


def release_keys(key: str) -> tuple[str, ...]:
    """The release's key for one of ours, or both keys, left and right, if ours is stacked."""
    for pattern, replacement in _RENAMES:
        key = re.sub(pattern, replacement, key)
    if "{side}" not in key:
        return (key,)
    return tuple(key.replace("{side}", side) for side in SIDES)


def _differing_shapes(
    own: Mapping[str, Tensor], sources: Mapping[str, tuple[str, ...]], state: Mapping[str, Tensor]
) -> list[str]:
    """Differences in size or in the inner axis; axes of length one and stacked axes may differ."""
    return [
        f"{source} is {tuple(state[source].shape)}, ours {tuple(value.shape)}"
        for key, value in own.items()
        for source in sources[key]
        if state[source].numel() * len(sources[key]) != value.numel()
        or (value.ndim > 1 and _inner(state[source]) != _inner(value))
    ]


def _inner(values: Tensor) -> int:
    """The last axis longer than one."""
    return next((size for size in reversed(values.shape) if size > 1), 1)


def _difference(missing: list[str], unexpected: list[str], reshaped: list[str]) -> str:
    parts = [
        f"{len(names)} {what}: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        if names
    ]
    return (
        f"The checkpoint is not the released DIR graph. Keys {'; '.join(parts)}. Give DIR's own checkpoint."
    )
