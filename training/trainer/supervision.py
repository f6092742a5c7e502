# SPDX-License-Identifier: GPL-3.0-or-later
"""Every stage of the network compared with the truth: named and weighted loss terms, and their sum.

Lengths are in units of 0.15 m, everything relative to the wrist. The release's data set subtracts the middle MCP and
its network the wrist, which is consistent only if one root is chosen; ours is the wrist throughout.
"""

import torch.nn.functional as F
from torch import Tensor

from inference_core.two_hand.records import OFFSET_UNIT_M, DirOutput, HandStage
from training.config import LossWeights
from training.data.sample import Sample
from training.distributed import gathered
from training.trainer import losses

TOTAL = "total"


def supervise(output: DirOutput, truth: Sample, faces: Tensor, weights: LossWeights) -> dict[str, Tensor]:
    """Weighted terms by name, "stage<k>/<term>", "maps/<term>", and "total", their sum. faces (S, F, 3)."""
    terms: dict[str, Tensor] = {}
    last = len(output.stages) - 1
    for k, stage in enumerate(output.stages):
        share = 1.0 if k == last else weights.earlier_stages
        terms |= {
            f"stage{k}/{name}": value * share for name, value in _stage(stage, truth, faces, weights).items()
        }
    terms |= {f"maps/{name}": value for name, value in _maps(output, truth, weights).items()}
    terms[TOTAL] = sum(terms.values(), truth.image.new_zeros(()))
    return terms


def _stage(stage: HandStage, truth: Sample, faces: Tensor, weights: LossWeights) -> dict[str, Tensor]:
    distance = losses.l1 if weights.plain_l1 else losses.smooth_l1
    present, both = truth.present, truth.both_present
    joints, true_joints = stage.joints_m / OFFSET_UNIT_M, truth.joints_rel_m / OFFSET_UNIT_M
    terms = {
        "joints": weights.joints * distance(joints, true_joints, present),
        "joints_uv": weights.joints_uv * distance(stage.joints_uv, truth.joints_uv, present),
        "offset": weights.offset
        * distance(stage.offset_m / OFFSET_UNIT_M, truth.offset_m / OFFSET_UNIT_M, both),
    }
    if stage.vertices_m is not None and stage.vertices_uv is not None:
        vertices, true_vertices = stage.vertices_m / OFFSET_UNIT_M, truth.vertices_rel_m / OFFSET_UNIT_M
        terms |= {
            "vertices": weights.vertices * distance(vertices, true_vertices, present),
            "vertices_uv": weights.vertices_uv * distance(stage.vertices_uv, truth.vertices_uv, present),
            "edge": weights.edge * losses.edge_length(vertices, true_vertices, faces, present),
            "normal": weights.normal * losses.normal_consistency(vertices, true_vertices, faces, present),
        }
    return terms | _own_terms(stage, truth, weights)


def _own_terms(stage: HandStage, truth: Sample, weights: LossWeights) -> dict[str, Tensor]:
    """The terms that the paper lacks: presence, uncertainty, and the hand's parameters themselves."""
    terms: dict[str, Tensor] = {}
    present = truth.present
    if weights.rotations:
        distance = losses.rotation_distance(stage.rotations, truth.rotations, present)
        terms["rotations"] = weights.rotations * distance
    if weights.betas:
        terms["betas"] = weights.betas * losses.smooth_l1(stage.betas, truth.betas, present)
    if weights.presence and stage.presence_logit is not None:
        terms["presence"] = weights.presence * losses.presence(stage.presence_logit, present)
    if weights.uncertainty and stage.log_sigma is not None:
        uv_error = (stage.joints_uv - truth.joints_uv).norm(dim=-1).mean(dim=-1)
        joint_error = (stage.joints_m - truth.joints_rel_m).norm(dim=-1).mean(dim=-1) / OFFSET_UNIT_M
        nll = losses.uncertainty_nll(uv_error, stage.log_sigma[..., 0], present)
        nll = nll + losses.uncertainty_nll(joint_error, stage.log_sigma[..., 1], present)
        terms["uncertainty"] = weights.uncertainty * nll
    return terms


def _maps(output: DirOutput, truth: Sample, weights: LossWeights) -> dict[str, Tensor]:
    terms: dict[str, Tensor] = {}
    if output.side_scores is not None:
        # Both are means over the whole batch, not sums over its parts, so they are
        # gathered in distributed training.
        scores, labels = (
            gathered(output.side_scores),
            gathered(_resized_labels(truth.side_mask, output.side_scores)),
        )
        terms["side_mask"] = weights.side_mask * losses.cross_entropy(scores, labels)
        terms["lovasz"] = weights.lovasz * losses.lovasz_softmax(scores.softmax(dim=1), labels)
    if output.dense is not None and truth.dense is not None:
        target = F.interpolate(truth.dense, output.dense.shape[-2:], mode="area")
        terms["dense"] = weights.dense * losses.smooth_l1(output.dense, target)
    return terms


def _resized_labels(labels: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(labels[:, None].float(), like.shape[-2:], mode="nearest-exact")[:, 0].long()
