# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of an experiment: nested frozen records; the command line can override every field."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from inference_core.two_hand.configuration import NetworkConfiguration
from training.data.augment import AugmentSettings
from training.data.conditioning_noise import ConditioningNoise
from training.synthetic.settings import Settings as SceneSettings


@dataclass(frozen=True)
class DataSettings:
    """Where samples come from.

    source: "synthetic" renders them on the training device; "shards" reads what training.synthetic wrote
    under `root`; "feature-cache" what training.feature_cache wrote there, with the backbone frozen; "interhand"
    reads prepared InterHand2.6M in the layout of docs/datasets.md under `root`. workers: processes that read files
    (not used by "synthetic"). synthetic: what the generator makes. mano: the user's MANO folder, which "interhand"
    needs; the open hand otherwise. validation: samples of the validation set scored during training; its seeds
    never occur in training.
    """

    source: Literal["synthetic", "shards", "feature-cache", "interhand"] = "synthetic"
    root: Path | None = None
    mano: Path | None = None
    synthetic: SceneSettings = field(default_factory=SceneSettings)
    workers: int = 4
    validation: int = 512


@dataclass(frozen=True)
class LossWeights:
    """The weight of each term. The release's terms by default; the last five are ours and 0 in the paper's presets.

    plain_l1: L1 in place of SmoothL1 (ablation). earlier_stages: the weight of each stage before the last.
    """

    joints: float = 10.0
    vertices: float = 10.0
    joints_uv: float = 10.0
    vertices_uv: float = 10.0
    offset: float = 10.0
    edge: float = 1.0
    normal: float = 0.1
    dense: float = 1.0
    side_mask: float = 0.1
    lovasz: float = 0.1
    plain_l1: bool = False
    earlier_stages: float = 1.0
    presence: float = 0.0
    uncertainty: float = 0.0
    rotations: float = 0.0
    betas: float = 0.0

    @property
    def need_vertices(self) -> bool:
        """Whether any term uses the skin."""
        return any((self.vertices, self.vertices_uv, self.edge, self.normal))


@dataclass(frozen=True)
class OptimiserSettings:
    """AdamW with warm-up and a cosine to `final_share` of the learning rate.

    backbone_share: the pretrained backbone's learning rate as a share of the rest's. clip_norm: 0 clips nothing.
    """

    learning_rate: float = 3e-4
    backbone_share: float = 1.0
    weight_decay: float = 0.01
    warmup_steps: int = 500
    final_share: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.999


@dataclass(frozen=True)
class RunSettings:
    """One run and its machine. batch is per process.

    steps ends the run, unless time_limit_s is given: then the schedule follows the share of that time that has been
    spent training, summed over all sessions. stop_after_s ends this session, to be resumed by the same command.
    init_from: weights to start from, of the same network or of one with fewer stages, which learns faster, or another
    backbone. precision "bf16" is autocast with float32 weights. compile: torch.compile, eager where it fails.
    """

    out: Path = Path("runs")
    steps: int = 100_000
    batch: int = 64
    time_limit_s: float | None = None
    stop_after_s: float | None = None
    seed: int = 0
    device: str = "auto"
    precision: Literal["bf16", "float32"] = "bf16"
    channels_last: bool = True
    compile: bool = False
    backbone: Path | None = None
    init_from: Path | None = None
    log_every: int = 50
    evaluate_every: int = 2000
    save_every_s: float = 120.0
    pictures: bool = True


@dataclass(frozen=True)
class Experiment:
    """Everything a training run depends on."""

    name: str
    network: NetworkConfiguration
    data: DataSettings = field(default_factory=DataSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    conditioning: ConditioningNoise = field(default_factory=ConditioningNoise)
    losses: LossWeights = field(default_factory=LossWeights)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    run: RunSettings = field(default_factory=RunSettings)

    @property
    def folder(self) -> Path:
        """The run's output folder."""
        return self.run.out / self.name


class Plan(Protocol):
    """An experiment as the training loop sees it, whatever network it trains."""

    @property
    def folder(self) -> Path:
        """The run's output folder."""
        ...

    @property
    def optimiser(self) -> OptimiserSettings:
        """The optimiser's settings."""
        ...

    @property
    def run(self) -> RunSettings:
        """The run's length and machine."""
        ...


@dataclass(frozen=True)
class HeadExperiment:
    """Everything a run of the landmark head depends on. crops: the folder that `generate crops` writes."""

    name: str
    crops: Path | None = None
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    run: RunSettings = field(default_factory=RunSettings)

    @property
    def folder(self) -> Path:
        """The run's output folder."""
        return self.run.out / self.name


# Fields of RunSettings that may differ between the sessions of one run.
_PASSING = frozenset(
    [
        *("out", "steps", "time_limit_s", "stop_after_s", "save_every_s", "log_every", "evaluate_every"),
        *("pictures", "device", "compile", "precision", "channels_last", "backbone", "init_from"),
    ]
)


def experiment_json(experiment: Plan) -> dict[str, Any]:
    """The experiment as plain JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(cast(Any, experiment)), default=str))


def differences(first: dict[str, Any], second: dict[str, Any], prefix: str = "") -> list[str]:
    """The differences in two experiments' JSON that make them different runs: "network.stages: 2 / 0". Settings
    that may change between sessions do not count.
    """
    lines: list[str] = []
    for key in sorted(first.keys() | second.keys()):
        name, one, two = f"{prefix}{key}", first.get(key), second.get(key)
        if isinstance(one, dict) and isinstance(two, dict):
            lines += differences(one, two, f"{name}.")
        elif one != two and not (prefix == "run." and key in _PASSING):
            lines.append(f"{name}: {one} / {two}")
    return lines
