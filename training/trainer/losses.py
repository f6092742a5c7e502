# SPDX-License-Identifier: GPL-3.0-or-later
"""The terms of the training loss, each a pure function of predictions and truth.

Values equal the authors' release on its own inputs (tests/training/test_losses.py), with one difference: the release
passes raw scores to Lovasz-softmax, which is defined on probabilities; `lovasz_softmax` here takes probabilities.

Unlike in the release's data, hands may be absent. A masked mean divides by the number of all entries, present or not:
it is the plain mean if every hand is present, and the mean over two processes is the mean over the joined batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# The release's SmoothL1 turns from quadratic to linear here; it is scaled to this slope in the linear part.
SMOOTH_L1_BEND = 0.01
# Cross-entropy weights of background, left hand, right hand.
CLASS_WEIGHTS = (0.1, 0.45, 0.45)

_TINY = 1e-12


def smooth_l1(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """() mean of 0.5 z^2 for |z| < bend, else bend (|z| - bend / 2); bend is SMOOTH_L1_BEND.

    mask: over the leading axes; entries it excludes count as zero error.
    """
    bend = SMOOTH_L1_BEND
    return masked_mean(F.smooth_l1_loss(prediction, target, reduction="none", beta=bend) * bend, mask)


def l1(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """() mean of |z|, scaled so that its slope is SmoothL1's: the ablation without SmoothL1."""
    return masked_mean((prediction - target).abs() * SMOOTH_L1_BEND, mask)


def edge_length(vertices: Tensor, target: Tensor, faces: Tensor, mask: Tensor | None = None) -> Tensor:
    """() mean | |edge| - |true edge| | over the three edges of every face (the paper's supplement, section 2).

    vertices, target (..., V, 3); faces (F, 3) or (S, F, 3) against (..., S, V, 3). An edge shared by two
    faces counts twice.
    """
    lengths = [_norm(_edges(points, faces)) for points in (vertices, target)]
    return masked_mean((lengths[0] - lengths[1]).abs(), mask)


def normal_consistency(vertices: Tensor, target: Tensor, faces: Tensor, mask: Tensor | None = None) -> Tensor:
    """() mean |cos| of predicted edges to the true face's normal, over the three edges of every face.
    Shapes: see edge_length.
    """
    edges = F.normalize(_edges(vertices, faces), dim=-1, eps=_TINY)
    true_edges = _edges(target, faces)
    normals = F.normalize(torch.linalg.cross(true_edges[..., 0, :], true_edges[..., 1, :]), dim=-1, eps=_TINY)
    return masked_mean((edges * normals[..., None, :]).sum(-1).abs(), mask)


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """() class-weighted mean over pixels. scores (B, 3, H, W), labels (B, H, W)."""
    return F.cross_entropy(scores, labels, weight=scores.new_tensor(CLASS_WEIGHTS))


def lovasz_softmax(probabilities: Tensor, labels: Tensor) -> Tensor:
    """() Lovasz-softmax (Berman et al. 2018), classes that are present, the whole batch flattened together.

    probabilities (B, C, H, W) sum to one over C; labels (B, H, W).
    """
    classes = probabilities.shape[1]
    flat = probabilities.movedim(1, -1).reshape(-1, classes)
    truth = F.one_hot(labels.reshape(-1), classes).to(flat.dtype)
    errors, order = (truth - flat).abs().sort(dim=0, descending=True)
    losses = (errors * _jaccard_steps(truth.gather(0, order))).sum(dim=0)
    seen = (truth.sum(dim=0) > 0).to(flat.dtype)
    return (losses * seen).sum() / seen.sum()


def presence(logits: Tensor, present: Tensor) -> Tensor:
    """() binary cross-entropy of presence logits (B, S)."""
    return F.binary_cross_entropy_with_logits(logits, present.to(logits.dtype))


def uncertainty_nll(errors: Tensor, log_scale: Tensor, mask: Tensor | None = None) -> Tensor:
    """() negative log-likelihood of non-negative errors (B, S) under a Laplace
    scale exp(log_scale), without constants.

    The errors carry no gradient: the scale learns their size without reducing the incentive to lower them.
    """
    return masked_mean(errors.detach() * torch.exp(-log_scale) + log_scale, mask)


def rotation_distance(rotations: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """() mean chordal distance |R - R*|_F / sqrt(8), 0..1, of rotations (..., 3, 3)."""
    return masked_mean(
        (rotations - target).flatten(-2).square().sum(-1).clamp(min=_TINY).sqrt() / 8**0.5, mask
    )


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """() mean of values over all entries, those outside the mask counting as zero. mask covers the leading axes."""
    if mask is None:
        return values.mean()
    covering = mask.reshape(mask.shape + (1,) * (values.ndim - mask.ndim))
    return torch.where(covering.bool(), values, torch.zeros_like(values)).mean()


def _edges(points: Tensor, faces: Tensor) -> Tensor:
    """(..., F, 3, 3) the edges 0-1, 1-2, 2-0 of every face."""
    if faces.ndim == 2:
        corners = points[..., faces, :]
    else:
        corners = torch.stack(
            [points[..., side, :, :][..., faces[side], :] for side in range(faces.shape[0])], dim=-4
        )
    return corners.roll(-1, dims=-2) - corners


def _norm(vectors: Tensor) -> Tensor:
    return vectors.square().sum(-1).clamp(min=_TINY).sqrt()


def _jaccard_steps(sorted_truth: Tensor) -> Tensor:
    """(P, C) discrete gradient of the Jaccard loss along errors sorted in descending order."""
    total = sorted_truth.sum(dim=0, keepdim=True)
    intersection = total - sorted_truth.cumsum(dim=0)
    union = total + (1 - sorted_truth).cumsum(dim=0)
    jaccard = 1.0 - intersection / union
    return torch.diff(jaccard, dim=0, prepend=torch.zeros_like(jaccard[:1]))
