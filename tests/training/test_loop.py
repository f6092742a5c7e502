# SPDX-License-Identifier: GPL-3.0-or-later
"""The training loop: learns, resumes to the same curve whatever killed it, spreads over processes, stops at NaN."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from inference_core.hand_model.load import load_open_hand
from inference_core.landmarks.head_reader import stored_head
from inference_core.shared.errors import WeightsError
from inference_core.two_hand.card import SHIPPED_FOLDER
from inference_core.two_hand.pretrained_backbones import LandmarkBackbone, PalmBackbone
from inference_core.two_hand.weights import load_weights
from tests.training.made_samples import MemorySource, made_sample
from training.config import Experiment
from training.data.augment import NO_AUGMENTATION
from training.data.conditioning_noise import AS_FITTED, NO_CONDITIONING
from training.evaluation.curves import read_curves
from training.feature_cache.make import features
from training.presets import ABLATIONS, BASELINE, DIR_RELEASE_RUN, DIR_S_RUN, ONE_STAGE, PRESETS
from training.trainer.checkpoint import CHECKPOINT_FILE, CheckpointError, load_checkpoint
from training.trainer.dir_learner import DirLearner
from training.trainer.experiment import WEIGHTS_FOLDER, run_experiment, started_network
from training.trainer.loop import TrainingError
from training.trainer.run_folder import BAD_BATCH_FILE, CODE_FILE, SETTINGS_FILE

STEPS = 3


def small_experiment(
    out: Path, steps: int = STEPS, batch: int = 2, preset: Experiment = DIR_S_RUN
) -> Experiment:
    """dir-s without refinement stages, float32 on the processor, every step in the log."""
    run = replace(
        preset.run, out=out, steps=steps, batch=batch, device="cpu", precision="float32", compile=False
    )
    return replace(
        preset,
        # What dropout leaves out is another draw in every process.
        network=replace(preset.network.with_stages(0), dropout=0.0),
        augment=NO_AUGMENTATION,
        conditioning=NO_CONDITIONING,
        data=replace(preset.data, validation=0),
        optimiser=replace(preset.optimiser, warmup_steps=2),
        run=replace(run, log_every=1, evaluate_every=10**9, save_every_s=0.0, pictures=False),
    )


def totals(experiment: Experiment) -> list[float]:
    """The loss of every step."""
    return [line["total"] for line in read_curves(experiment.folder) if line["kind"] == "train"]


def trained(experiment: Experiment, count: int = 4) -> list[float]:
    """The losses of a run on made-up samples."""
    run_experiment(experiment, MemorySource(made_sample(count), experiment.run.batch, 0))
    return totals(experiment)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of an undisturbed run."""
    return trained(small_experiment(tmp_path_factory.mktemp("whole")))


def test_a_run_writes_settings_code_curves_checkpoint_and_weights(tmp_path):
    experiment = small_experiment(tmp_path, steps=2)
    losses = trained(experiment)
    assert len(losses) == 2
    assert json.loads((experiment.folder / SETTINGS_FILE).read_text())["network"]["stages"] == 0
    assert (experiment.folder / CODE_FILE).read_text().strip()
    network, card = load_weights(experiment.folder / WEIGHTS_FOLDER)
    assert card.configuration == experiment.network and "4 samples" in card.data
    assert str(tmp_path) not in card.notes, "a card is published: it tells nothing of the machine"
    assert all(value.isfinite().all() for value in network.state_dict().values())


def test_weights_trained_on_fitted_conditioning_include_its_head(tmp_path):
    experiment = small_experiment(tmp_path, steps=1, preset=PRESETS["dir-s-whole"])
    weights = experiment.folder / WEIGHTS_FOLDER
    trained(experiment)
    assert stored_head(weights) is None, "by the picture alone there is nothing to lift"
    trained(replace(experiment, conditioning=AS_FITTED, run=replace(experiment.run, out=tmp_path / "fitted")))
    assert stored_head(tmp_path / "fitted" / "dir-s-whole" / WEIGHTS_FOLDER) is not None


def test_a_resumed_run_has_the_curve_of_an_uninterrupted_one(tmp_path, whole_run):
    experiment = small_experiment(tmp_path)
    first = replace(experiment, run=replace(experiment.run, stop_after_s=0.0))
    trained(first)
    assert len(totals(experiment)) == 1, "a piece that has no time left still makes one step"
    assert trained(experiment) == pytest.approx(whole_run, rel=1e-6)


def test_a_killed_run_resumes_to_the_same_curve(tmp_path, whole_run):
    command = [sys.executable, "-m", "tests.training.test_loop", str(tmp_path)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)
    experiment = small_experiment(tmp_path)
    deadline = time.monotonic() + 240
    while len(totals(experiment)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    process.wait()
    assert (experiment.folder / CHECKPOINT_FILE).exists()
    assert trained(experiment) == pytest.approx(whole_run, rel=1e-6)


def test_a_non_finite_loss_stops_the_run_and_saves_the_batch(tmp_path):
    experiment = small_experiment(tmp_path)
    sample = made_sample(2)
    offset = torch.full_like(sample.offset_m, float("nan"))
    with pytest.raises(TrainingError, match=r"step 1 is not finite.*bad_batch\.pt"):
        run_experiment(experiment, MemorySource(replace(sample, offset_m=offset), 2, 0))
    kept = torch.load(experiment.folder / BAD_BATCH_FILE, weights_only=True)
    assert kept["offset_m"].isnan().all() and kept["image"].shape == (2, 3, 256, 256)
    assert not (experiment.folder / CHECKPOINT_FILE).exists()


def test_a_checkpoint_of_another_experiment_is_refused_with_the_differences(tmp_path):
    experiment = small_experiment(tmp_path, steps=1)
    trained(experiment)
    other = replace(experiment, optimiser=replace(experiment.optimiser, weight_decay=0.5))
    with pytest.raises(CheckpointError, match=r"optimiser\.weight_decay: 0\.02 / 0\.5"):
        trained(other)


def test_a_truncated_checkpoint_is_refused(tmp_path):
    experiment = small_experiment(tmp_path, steps=1)
    trained(experiment)
    path = experiment.folder / CHECKPOINT_FILE
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="not a whole checkpoint"):
        trained(experiment)


def test_a_checkpoint_with_a_function_is_refused_without_running_it(tmp_path):
    torch.save({"experiment": print}, tmp_path / CHECKPOINT_FILE)
    with pytest.raises(CheckpointError, match="print"):
        load_checkpoint(tmp_path, {})


def test_two_processes_match_one_with_twice_the_batch(tmp_path):
    steps = 2
    alone = trained(small_experiment(tmp_path / "alone", steps, batch=4), count=8)
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
        *("-m", "tests.training.test_loop", str(tmp_path / "together"), str(steps), "2"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=Path(__file__).parents[2], env=environment, check=True, capture_output=True)
    together = totals(small_experiment(tmp_path / "together", steps, batch=2))
    # Sums over two processes are rounded in another order than over one.
    assert together[0] == pytest.approx(alone[0], rel=5e-5)
    # Adam divides by the gradients' size: where that is next to nothing, rounding decides how a weight moves.
    assert together == pytest.approx(alone, rel=2e-3)


@pytest.mark.parametrize("preset", [DIR_S_RUN], ids=lambda preset: preset.name)
def test_the_compact_preset_trains_with_its_own_settings(tmp_path, preset):
    assert len(trained(_a_few_steps(preset, tmp_path, 2))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("preset", [*ABLATIONS, DIR_RELEASE_RUN], ids=lambda preset: preset.name)
def test_the_ablations_train_with_their_own_settings(tmp_path, preset):
    losses = trained(_a_few_steps(preset, tmp_path, 2))
    assert len(losses) == 2 and all(0 < loss < 100 for loss in losses)


@pytest.mark.slow
def test_eight_samples_are_overfitted_to_under_two_millimetres(tmp_path):
    """By the picture alone, on the frozen backbone's features, with all stages."""
    experiment = small_experiment(tmp_path, steps=500, batch=8)
    rate = replace(experiment.optimiser, learning_rate=2e-3, warmup_steps=20, weight_decay=0.0, ema_decay=0.9)
    run = replace(experiment.run, save_every_s=1e9, log_every=20)
    data = replace(experiment.data, source="feature-cache")
    experiment = replace(
        experiment, network=replace(DIR_S_RUN.network, dropout=0.0), optimiser=rate, run=run, data=data
    )
    backbone = PalmBackbone().eval()
    backbone.load_pretrained()
    samples = made_sample(8)
    samples = replace(samples, levels=features(backbone, samples.image))
    result = run_experiment(experiment, MemorySource(samples, 8, 0))
    # Normalised by their own batch, as in training: eight samples say nothing of running statistics.
    result.average.train()
    with torch.no_grad():
        learner = DirLearner(result.average, load_open_hand().tensors(), experiment)
        answer = learner(samples.image, None, samples.levels).answer
    error_mm = (answer.joints_m - samples.joints_rel_m).norm(dim=-1).mean().item() * 1000
    assert error_mm < 2.0


def test_other_backbones_refuse_imagenet_weights(tmp_path):
    experiment = small_experiment(tmp_path)
    experiment = replace(experiment, run=replace(experiment.run, backbone=tmp_path / "imagenet.safetensors"))
    with pytest.raises(WeightsError, match="the network's backbone is palm"):
        started_network(experiment)


def test_a_run_may_start_from_weights_of_another_backbone(tmp_path: Path) -> None:
    """All that does not read the picture's features stays; another network is refused."""
    base = small_experiment(tmp_path)
    given = replace(
        base,
        network=replace(DIR_S_RUN.network, stages=0, backbone="landmark"),
        run=replace(base.run, init_from=SHIPPED_FOLDER),
    )
    torch.manual_seed(0)
    started, (shipped, _) = started_network(given), load_weights(SHIPPED_FOLDER)
    pretrained = LandmarkBackbone()
    pretrained.load_pretrained()
    assert_same(started.backbone.state_dict(), pretrained.state_dict())
    assert_same(started.baseline.trunk.blocks.state_dict(), shipped.baseline.trunk.blocks.state_dict())
    assert_same(started.baseline.offset_head.state_dict(), shipped.baseline.offset_head.state_dict())
    other = replace(given, network=replace(given.network, joint_channels=64))
    with pytest.raises(WeightsError, match="only its stages and its backbone may differ"):
        started_network(other)


def assert_same(values: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert values.keys() == wanted.keys()
    for name, value in values.items():
        assert torch.equal(value, wanted[name]), name


def test_every_ablation_differs_from_the_baseline_as_its_name_says():
    for preset in ABLATIONS:
        assert PRESETS[preset.name] is preset
    changed = {
        preset.name: {
            field
            for field in ("network", "losses", "augment", "optimiser")
            if getattr(preset, field) != getattr(BASELINE, field)
        }
        for preset in ABLATIONS
    }
    assert changed == {
        "baseline": set(),
        "without-attention": {"network"},
        "without-smooth-l1": {"losses"},
        "without-motion-blur": {"augment"},
        "without-large-rate": {"optimiser"},
        "without-all": {"network", "losses", "augment", "optimiser"},
        ONE_STAGE.name: {"network"},
    }


def _a_few_steps(preset: Experiment, out: Path, steps: int) -> Experiment:
    run = replace(preset.run, out=out, steps=steps, batch=2, device="cpu", compile=False, log_every=1)
    return replace(preset, data=replace(preset.data, validation=0), run=replace(run, pictures=False))


if __name__ == "__main__":
    arguments = sys.argv[2:]
    steps, batch = (int(value) for value in arguments) if arguments else (STEPS, 2)
    from training.distributed import join_world

    chosen = small_experiment(Path(sys.argv[1]), steps, batch)
    world = join_world("cpu")
    samples = made_sample(8 if arguments else 4)
    run_experiment(chosen, MemorySource(samples, batch * world.size, 0, world))
