# SPDX-License-Identifier: GPL-3.0-or-later
"""Predictions compared with the truth of samples, one value per sample and side, and summaries of whole sets.

B batch, S side. An undefined value (an absent hand, an offset with one hand) is NaN and is left out of means.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inference_core.two_hand.records import DirOutput, HandStage
from training.data.sample import Sample, overlap
from training.evaluation import metrics

# Bins of the distance between the nearest joints of the two hands, metres.
DISTANCE_BINS_M = {"touching": (0.0, 0.015), "near": (0.015, 0.06), "apart": (0.06, float("inf"))}
# Hands overlap in the picture if their boxes share at least this much of the smaller one.
OVERLAPPING = 0.1

Measurements = dict[str, Tensor]


@dataclass(frozen=True)
class Predicted:
    """A method's predictions for a batch; None for those it does not make.

    joints_m (B, S, 21, 3) and vertices_m (B, S, V, 3): metres, any origin per hand, camera axes. joints_uv (B, S, 21,
    2). offset_m (B, 3): right minus left wrist. presence (B, S): probabilities.
    """

    joints_m: Tensor
    vertices_m: Tensor | None = None
    joints_uv: Tensor | None = None
    vertices_uv: Tensor | None = None
    offset_m: Tensor | None = None
    presence: Tensor | None = None


def predicted_by_stage(output: DirOutput) -> list[Predicted]:
    """The predictions of each stage of the network."""
    return [_predicted(stage) for stage in output.stages]


def measured(predicted: Predicted, truth: Sample) -> Measurements:
    """Errors by name, (B, S), or (B,) for those of a sample; CPU, float32. Lengths in mm."""
    present, both = truth.present, truth.both_present
    values: Measurements = {}
    for root in metrics.ROOTS:
        errors = metrics.hand_errors(
            predicted.joints_m, truth.joints_rel_m, predicted.vertices_m, truth.vertices_rel_m, root
        )
        values[f"mpjpe_{root}"], values[f"raw_mpjpe_{root}"] = errors.mpjpe, errors.raw_mpjpe
        if errors.mpvpe is not None:
            values[f"mpvpe_{root}"] = errors.mpvpe
        if root == "wrist":
            values["pa_mpjpe"] = errors.pa_mpjpe
    if predicted.joints_uv is not None:
        values["miaa_px"] = metrics.alignment_px(predicted.joints_uv, truth.joints_uv)
        values["side_correct"] = metrics.side_correct(predicted.joints_uv, truth.joints_uv, present).float()
    if predicted.vertices_uv is not None:
        values["mesh_alignment_px"] = metrics.alignment_px(predicted.vertices_uv, truth.vertices_uv)
    if predicted.offset_m is not None:
        error = metrics.root_error_mm(predicted.offset_m, truth.offset_m)
        values["mrrpe"] = torch.where(both, error, torch.full_like(error, float("nan")))
    values = {name: _where_present(value, present) for name, value in values.items()}
    if predicted.presence is not None:
        values["presence_correct"] = metrics.presence_correct(predicted.presence, present).float()
    return {name: value.detach().float().cpu() for name, value in values.items()}


def groups(truth: Sample) -> Measurements:
    """Masks (B,) bool of the groups that errors are also reported for."""
    distance = metrics.hand_distance_m(truth.joints_rel_m + truth.wrist_cam_m[:, :, None])
    both = truth.both_present
    masks = {
        name: both & (distance >= low) & (distance < high) for name, (low, high) in DISTANCE_BINS_M.items()
    }
    masks["overlapping"] = overlap(truth.joints_uv, truth.present) >= OVERLAPPING
    masks["one hand"] = truth.present.sum(dim=1) == 1
    return {name: mask.cpu() for name, mask in masks.items()}


def joined(parts: Iterable[Measurements]) -> Measurements:
    """Measurements of several batches as one set: means are then over samples, not over batches."""
    parts = list(parts)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def summarised(values: Mapping[str, Tensor], mask: Tensor | None = None) -> dict[str, float]:
    """Mean of each measurement over samples and sides; "auc" is of the scaled joint error."""
    chosen = {name: value if mask is None else value[mask] for name, value in values.items()}
    summary = {name: value.nanmean().item() for name, value in chosen.items() if (~value.isnan()).any()}
    errors = chosen.get("mpjpe_wrist")
    if errors is not None and "mpjpe_wrist" in summary:
        summary["auc"] = metrics.area_under_curve(errors[~errors.isnan()]).item()
    return summary


def _predicted(stage: HandStage) -> Predicted:
    presence = None if stage.presence_logit is None else stage.presence_logit.sigmoid()
    return Predicted(
        joints_m=stage.joints_m,
        vertices_m=stage.vertices_m,
        joints_uv=stage.joints_uv,
        vertices_uv=stage.vertices_uv,
        offset_m=stage.offset_m,
        presence=presence,
    )


def _where_present(value: Tensor, present: Tensor) -> Tensor:
    if value.ndim == 1:
        return value
    return torch.where(present, value, torch.full_like(value, float("nan")))


@contextmanager
def evaluating(module: nn.Module) -> Generator[None]:
    """A context with the network in eval mode and without gradients; its mode is restored afterwards."""
    before = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(before)
