# SPDX-License-Identifier: GPL-3.0-or-later
"""Validation during training: on pictures not trained on, with conditioning and with the picture alone."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch

from inference_core.hand_model.hand import HandModel
from inference_core.two_hand.dir import DirNetwork
from training.config import Experiment
from training.data.conditioning_noise import NO_CONDITIONING, with_degraded_conditioning
from training.data.sample import Sample
from training.data.sources import VALIDATION_STREAM, stream_seed
from training.evaluation.scoring import evaluating, groups, joined, measured, predicted_by_stage, summarised
from training.trainer.dir_learner import DirLearner
from training.trainer.run_folder import RunFolder, hands_picture

_CHUNK = 64


class ValidationSet:
    """A fixed validation set of an experiment, made on first use."""

    def __init__(self, experiment: Experiment, hand: HandModel, device: torch.device) -> None:
        self._experiment, self._hand, self._device = experiment, hand, device

    @cached_property
    def samples(self) -> Sample | None:
        """The set, on the training device; None for data sets, which `training.evaluation` reads instead."""
        data = self._experiment.data
        if data.source == "interhand" or data.validation == 0:
            return None
        if data.source == "feature-cache":
            from training.feature_cache.source import validation_set

            assert data.root is not None
            return validation_set(data.root, self._hand, data.validation, self._device)
        from training.data.synthetic_source import validation_samples

        return validation_samples(data.synthetic, self._hand, data.validation, self._device)

    def evaluate(self, network: DirNetwork, folder: RunFolder, step: int) -> None:
        """Write curves "validation_conditioning" (if the network takes any) and "validation_image", and pictures."""
        if self.samples is None:
            return
        kinds = {"image": NO_CONDITIONING}
        # Conditioning is never dropped here: that is what the first evaluation is for.
        if self._experiment.network.conditioning:
            kinds["conditioning"] = replace(self._experiment.conditioning, dropped=0.0)
        for kind, noise in kinds.items():
            generator = torch.Generator(self._device)
            generator.manual_seed(stream_seed(VALIDATION_STREAM, 0, 0))
            sample = with_degraded_conditioning(self.samples, noise, generator)
            learner = DirLearner(network, self._hand, self._experiment)
            folder.record(f"validation_{kind}", step, validation_errors(learner, sample))
            if self._experiment.run.pictures:
                shown = sample.rows(slice(0, 12))
                with evaluating(learner):
                    stages = predicted_by_stage(learner(shown.image, shown.conditioning, shown.levels))
                folder.picture(f"validation_{kind}", step, hands_picture(shown, stages[-1]))


def validation_errors(learner: DirLearner, sample: Sample) -> dict[str, float]:
    """Means over the set: the last stage's for everything, each stage's joint error, and both by group of samples."""
    parts, masks = [], []
    with evaluating(learner):
        for start in range(0, sample.batch, _CHUNK):
            rows = sample.rows(slice(start, start + _CHUNK))
            stages = predicted_by_stage(learner(rows.image, rows.conditioning, rows.levels))
            parts.append([measured(stage, rows) for stage in stages])
            masks.append(groups(rows))
    by_stage = [joined(part[k] for part in parts) for k in range(len(parts[0]))]
    values = summarised(by_stage[-1])
    for k, stage in enumerate(by_stage):
        values[f"stage{k}/mpjpe_wrist"] = summarised(stage)["mpjpe_wrist"]
    for name, mask in joined(masks).items():
        if bool(mask.any()):
            inside = summarised(by_stage[-1], mask)
            values |= {f"{name}/{key}": inside[key] for key in ("mpjpe_wrist", "mrrpe") if key in inside}
            for k, stage in enumerate(by_stage):
                values[f"{name}/stage{k}/mpjpe_wrist"] = summarised(stage, mask)["mpjpe_wrist"]
    return values
