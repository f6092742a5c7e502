# SPDX-License-Identifier: GPL-3.0-or-later
"""The presets, each an Experiment; an ablation differs from its base by one line."""

import dataclasses
from dataclasses import replace

from inference_core.two_hand.configuration import DIR_PAPER, DIR_RELEASE, DIR_S
from training.config import (
    DataSettings,
    Experiment,
    HeadExperiment,
    LossWeights,
    OptimiserSettings,
    RunSettings,
)
from training.data.augment import LIGHT_AUGMENTATION, AugmentSettings
from training.data.conditioning_noise import AS_FITTED, NO_CONDITIONING, ConditioningNoise

_INTERHAND = DataSettings(source="interhand")
_PAPER_RUN = RunSettings(steps=286_000, batch=64)

# The paper: 3e-4, batch 64, 50 epochs of InterHand2.6M's 366k two-hand crops.
DIR_PAPER_RUN = Experiment(
    name="dir-paper",
    network=DIR_PAPER,
    data=_INTERHAND,
    conditioning=NO_CONDITIONING,
    losses=LossWeights(presence=0.05, uncertainty=0.01),
    run=_PAPER_RUN,
)
# The released settings: its graph, learning rate 5e-4.
DIR_RELEASE_RUN = replace(
    DIR_PAPER_RUN,
    name="dir-release",
    network=DIR_RELEASE,
    losses=LossWeights(),
    optimiser=OptimiserSettings(learning_rate=5e-4),
)

# The compact network, on a frozen backbone, with landmarks and sides as conditioning; its baseline ships.
DIR_S_RUN = Experiment(
    name="dir-s",
    network=DIR_S,
    data=DataSettings(source="feature-cache", validation=1024),
    # Landmarks are detected: only further losses are drawn.
    conditioning=ConditioningNoise(
        dropped=0.05,
        lost=0.03,
        lost_overlap=0.1,
        lost_hidden=0.1,
        tilt_rad=0.1,
        world_joint_m=0.005,
        flatten=0.1,
        collapsed_overlap=0.03,
        swapped=0.01,
        swapped_overlap=0.02,
    ),
    losses=LossWeights(
        joints=40.0,
        joints_uv=20.0,
        vertices=0.0,
        vertices_uv=0.0,
        edge=0.0,
        normal=0.0,
        dense=0.0,
        side_mask=0.0,
        lovasz=0.0,
        presence=0.05,
        uncertainty=0.01,
        rotations=0.1,
        betas=0.3,
        earlier_stages=0.5,
    ),
    optimiser=OptimiserSettings(learning_rate=1e-3, weight_decay=0.02, clip_norm=2.0),
    run=RunSettings(steps=20_000, batch=64, precision="float32"),
)
DIR_S_IMAGE = replace(DIR_S_RUN, name="dir-s-image", conditioning=NO_CONDITIONING)
DIR_S_BASELINE = replace(DIR_S_RUN, name="dir-s-stages0", network=DIR_S.with_stages(0))
DIR_S_ONE_STAGE = replace(DIR_S_RUN, name="dir-s-stages1", network=DIR_S.with_stages(1))
# The same with a trained backbone, on pictures rendered during training: for a GPU.
DIR_S_WHOLE = replace(
    DIR_S_RUN,
    name="dir-s-whole",
    data=DataSettings(),
    augment=LIGHT_AUGMENTATION,
    conditioning=AS_FITTED,
    losses=replace(DIR_S_RUN.losses, vertices=10.0, vertices_uv=10.0, edge=1.0, normal=0.05),
    optimiser=replace(DIR_S_RUN.optimiser, backbone_share=0.5),
    run=RunSettings(steps=20_000, batch=256, compile=True),
)

# The landmark head, on hand crops; training of an existing one continues with --run.init-from. Starting from
# the landmark network, whose layers are the "backbone" here, those learn more slowly than the new ones.
LANDMARK_HEAD = HeadExperiment(
    name="landmark-head",
    optimiser=OptimiserSettings(
        learning_rate=5e-4, backbone_share=0.4, weight_decay=0.02, warmup_steps=200, final_share=1e-3
    ),
    run=RunSettings(steps=4000, batch=64, save_every_s=60.0),
)

# The paper's table 2: its basic model (no refinement) and the contribution of each part.
BASELINE = replace(DIR_PAPER_RUN, name="baseline", network=DIR_PAPER.with_stages(0))
WITHOUT_ATTENTION = replace(
    BASELINE, name="without-attention", network=replace(BASELINE.network, attention="none")
)
WITHOUT_SMOOTH_L1 = replace(
    BASELINE, name="without-smooth-l1", losses=replace(BASELINE.losses, plain_l1=True)
)
WITHOUT_BLUR = replace(BASELINE, name="without-motion-blur", augment=AugmentSettings(blur=0.0))
WITHOUT_LARGE_RATE = replace(
    BASELINE, name="without-large-rate", optimiser=OptimiserSettings(learning_rate=1e-4)
)
WITHOUT_ALL = dataclasses.replace(
    BASELINE,
    name="without-all",
    network=WITHOUT_ATTENTION.network,
    losses=WITHOUT_SMOOTH_L1.losses,
    augment=WITHOUT_BLUR.augment,
    optimiser=WITHOUT_LARGE_RATE.optimiser,
)
ONE_STAGE = replace(DIR_PAPER_RUN, name="stages-1", network=DIR_PAPER.with_stages(1))

ABLATIONS = (
    BASELINE,
    WITHOUT_ATTENTION,
    WITHOUT_SMOOTH_L1,
    WITHOUT_BLUR,
    WITHOUT_LARGE_RATE,
    WITHOUT_ALL,
    ONE_STAGE,
)
PRESETS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        DIR_PAPER_RUN,
        DIR_RELEASE_RUN,
        DIR_S_RUN,
        DIR_S_IMAGE,
        DIR_S_BASELINE,
        DIR_S_ONE_STAGE,
        DIR_S_WHOLE,
        *ABLATIONS,
    )
}
DESCRIPTIONS = {
    "dir-paper": "the paper's network on prepared InterHand2.6M",
    "dir-release": "the released graph and learning rate on prepared InterHand2.6M",
    "dir-s": "the compact network, on a feature cache, with conditioning",
    "dir-s-image": "the same without conditioning",
    "dir-s-stages0": "the same without refinement stages, as it ships",
    "dir-s-stages1": "the same with one refinement stage",
    "dir-s-whole": "the same with its backbone learning too, on pictures made while it trains",
    "baseline": "table 2: the basic model",
    "without-attention": "table 2: one pooled feature for both hands",
    "without-smooth-l1": "table 2: plain L1",
    "without-motion-blur": "table 2: no motion blur",
    "without-large-rate": "table 2: learning rate 1e-4",
    "without-all": "table 2: without all of these",
    "stages-1": "the paper's network with one refinement stage",
}
