# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of the two-hand network: its samples, its initial weights, and its resulting weights."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_hand_model
from inference_core.landmarks.formats import HEAD_FILE
from inference_core.shared.errors import RequestError, WeightsError
from inference_core.two_hand.card import SHIPPED_FOLDER, WeightsCard
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.pretrained_backbones import PretrainedBackbone
from inference_core.two_hand.weights import load_weights, save_weights
from training.config import Experiment, experiment_json
from training.convert.backbone import load_pretrained
from training.data.sources import AheadSource, PreparedSource, SampleSource
from training.distributed import World, join_world, leave_world
from training.evaluation.curves import read_curves
from training.feature_cache.store import REFINED
from training.trainer.dir_learner import DirLearner
from training.trainer.loop import TrainingResult, train
from training.trainer.validation_set import ValidationSet

WEIGHTS_FOLDER = "weights"


def run_experiment(experiment: Experiment, source: SampleSource | None = None) -> TrainingResult[DirNetwork]:
    """Train the experiment from its current state and write its averaged weights into its folder.

    source: samples to use instead of those named by experiment.data.
    """
    device = chosen_device(experiment.run.device)
    world = join_world(device.type)
    if device.type == "cuda":
        device = torch.device("cuda", world.local_rank)
        torch.cuda.set_device(device)
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    torch.manual_seed(experiment.run.seed)
    hand = load_hand_model(experiment.data.mano).tensors(device=device)
    network = started_network(experiment)
    source = source or data_source(experiment, hand, device, world)
    prepared = PreparedSource(source, experiment.augment, experiment.conditioning, experiment.run.seed, world)
    validation = ValidationSet(experiment, hand, device)
    try:
        result = train(
            experiment,
            DirLearner(network, hand, experiment),
            AheadSource(prepared, device),
            device,
            world,
            validation.evaluate,
        )
        if world.leads:
            write_weights(experiment, result, hand)
    finally:
        leave_world()
    return result


def chosen_device(name: str) -> torch.device:
    """The device of a name; "auto" is the first GPU, else the processor. Raises RequestError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise RequestError(
            f"--run.device {name}: torch sees no GPU here. Leave it out, or install a CUDA build."
        )
    return torch.device(name)


def started_network(experiment: Experiment) -> DirNetwork:
    """The experiment's network, with weights from another run, from a pretrained backbone, or random."""
    network = DirNetwork(experiment.network)
    still, given = experiment.data.source == "feature-cache", experiment.run.backbone
    if still or given is not None or isinstance(network.backbone, PretrainedBackbone):
        load_pretrained(network.backbone, experiment.network.backbone, given)
    if still:
        network.backbone.requires_grad_(False)
    if experiment.run.init_from is not None:
        other, _ = load_weights(experiment.run.init_from)
        wanted = experiment.network
        if replace(other.configuration, stages=wanted.stages, backbone=wanted.backbone) != wanted:
            raise WeightsError(
                f"{experiment.run.init_from} holds {other.configuration}, not {wanted}. "
                "Start from weights of the same network; only its stages and its backbone may differ."
            )
        network.load_state_dict(_fitting(other, network), strict=False)
    return network


def _fitting(other: DirNetwork, network: DirNetwork) -> dict[str, Tensor]:
    """The other network's weights, without a backbone that differs and the layers that read its features."""
    own, same = network.state_dict(), other.configuration.backbone == network.configuration.backbone
    return {
        name: value
        for name, value in other.state_dict().items()
        if same or (not name.startswith("backbone.") and name in own and own[name].shape == value.shape)
    }


def data_source(experiment: Experiment, hand: HandModel, device: torch.device, world: World) -> SampleSource:
    """The source named by experiment.data; see DataSettings. Modules that need more packages are imported here."""
    data, run = experiment.data, experiment.run
    size = run.batch * world.size
    if data.source == "synthetic":
        from training.data.synthetic_source import SyntheticSource

        return SyntheticSource(data.synthetic, hand, size, run.seed, device, world)
    if data.root is None:
        raise RequestError(f"--data.source {data.source} needs --data.root, the folder that holds it.")
    if data.source == "shards":
        from training.data.shard_source import ShardSource

        return ShardSource(data.root, hand, size, run.seed, data.workers, device, world)
    if data.source == "feature-cache":
        from training.feature_cache.source import FeatureCacheSource

        fine = experiment.network.stages == 2
        return FeatureCacheSource(
            data.root, experiment.network.backbone, size, run.seed, device, world, fine=fine
        )
    from training.data.stored import StoredSource, open_data_set

    return StoredSource(open_data_set(data.root, hand), size, run.seed, data.workers, device, world)


def write_weights(experiment: Experiment, result: TrainingResult[DirNetwork], hand: HandModel) -> None:
    """The averaged weights in half precision, with a card of their training data and duration."""
    evaluations = [line for line in read_curves(experiment.folder) if line["kind"].startswith("validation")]
    latest = {line["kind"]: line for line in evaluations}
    card = WeightsCard(
        configuration=experiment.network,
        source="trained by Duohand's training package",
        licence="GPL-3.0-or-later",
        hand_model=hand.name,
        data=_data_description(experiment, result),
        metrics={kind: {k: v for k, v in line.items() if k != "kind"} for kind, line in latest.items()},
        notes=f"experiment {experiment_json(_without_places(experiment))}",
    )
    folder = experiment.folder / WEIGHTS_FOLDER
    save_weights(result.average, folder, card, half=True)
    if experiment.data.source == "feature-cache" and experiment.data.root is not None:
        shutil.copyfile(experiment.data.root / REFINED / HEAD_FILE, folder / HEAD_FILE)
    elif experiment.conditioning.fitted:
        # Drawn conditioning imitates the readings of the bundled head.
        shutil.copyfile(SHIPPED_FOLDER / HEAD_FILE, folder / HEAD_FILE)


def _without_places(experiment: Experiment) -> Experiment:
    """The experiment without paths of this machine."""
    run = replace(experiment.run, out=Path("runs"), backbone=None, init_from=None)
    return replace(experiment, data=replace(experiment.data, root=None, mano=None), run=run)


def _data_description(experiment: Experiment, result: TrainingResult[DirNetwork]) -> str:
    kind = {
        "synthetic": "synthetic pictures of the open hand, made while training",
        "shards": "synthetic pictures of the open hand, from shards",
        "feature-cache": "synthetic clips and stills of the open hand with landmarks found in them, backbone frozen",
        "interhand": "InterHand2.6M, two-hand frames",
    }[experiment.data.source]
    spent = f"{result.steps} steps, {result.elapsed_s / 60:.1f} minutes of training"
    return f"{kind}: {result.samples} samples in {spent}"
