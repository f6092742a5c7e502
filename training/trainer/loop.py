# SPDX-License-Identifier: GPL-3.0-or-later
"""The training loop of every network: batches in, an averaged network out. An interrupted run
resumes from its last checkpoint.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, NoReturn, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from inference_core.shared.errors import DuohandError
from training.config import Plan, experiment_json
from training.distributed import (
    World,
    any_process,
    is_spread,
    mean_over_processes,
    with_shared_batch_norm,
)
from training.trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from training.trainer.learner import (
    AveragedNetwork,
    Batch,
    BatchKind,
    Learner,
    Network,
    compile_or_stay_eager,
    lay_out_channels_last,
    learning_rate,
    set_learning_rate,
)
from training.trainer.run_folder import RunFolder
from training.trainer.supervision import TOTAL

# On a GPU a loss is read this many steps late, so that the CPU need not wait for it.
_LOOK_BACK = 2

Given = TypeVar("Given", bound=Batch, covariant=True)
Evaluate = Callable[[Network, RunFolder, int], None]


class Source(Protocol[Given]):
    """Batches of this process, on the training device."""

    def batches(self, first_step: int) -> Iterator[Given]:
        """Batches number first_step, first_step + 1, ... without end."""
        ...


class TrainingError(DuohandError):
    """Training cannot continue."""


@dataclass(frozen=True)
class TrainingResult(Generic[Network]):
    """The averaged network, the run's progress, and whether it is complete or to be resumed."""

    average: Network
    steps: int
    samples: int
    elapsed_s: float
    complete: bool


def train(
    plan: Plan,
    learner: Learner[Network, BatchKind],
    source: Source[BatchKind],
    device: torch.device,
    world: World,
    evaluate: Evaluate[Network] | None = None,
    saved: Callable[[Network], None] | None = None,
) -> TrainingResult[Network]:
    """Train the learner's network in place until the plan's steps or time, or this session's time, are used up.

    evaluate is called with the average at intervals, saved with it after each checkpoint. Raises TrainingError if a
    loss is not finite; its batch is saved in the run folder.
    """
    stored = load_checkpoint(plan.folder, experiment_json(plan))
    trainer = _Trainer(plan, learner, device, world, saved)
    if stored is not None:
        trainer.restore(stored)
    folder = RunFolder.opened(plan, trainer.step) if world.leads else None
    try:
        return trainer.run(source, folder, evaluate)
    finally:
        if folder is not None:
            folder.close()


class _Trainer(Generic[Network, BatchKind]):
    """The mutable state of a run."""

    def __init__(
        self,
        plan: Plan,
        learner: Learner[Network, BatchKind],
        device: torch.device,
        world: World,
        saved: Callable[[Network], None] | None,
    ) -> None:
        run = plan.run
        self.plan, self.device, self.world, self.saved = plan, device, world, saved
        self.learner, self.network = learner, learner.network.to(device).train()
        if run.channels_last:
            lay_out_channels_last(self.network)
        self.average = AveragedNetwork(self.network, plan.optimiser.ema_decay)
        self.optimiser = learner.optimiser(plan.optimiser)
        self.step, self.elapsed_s, self.samples = 0, 0.0, 0
        self.log = _Log(device)
        if run.compile:
            compile_or_stay_eager(self.network)
        self.parallel: torch.nn.Module = self.learner
        if is_spread():
            with_shared_batch_norm(self.learner)
            ids = [device.index] if device.type == "cuda" else None
            self.parallel = DistributedDataParallel(self.learner, device_ids=ids, find_unused_parameters=True)

    def restore(self, stored: Checkpoint) -> None:
        """Restore the checkpoint's state."""
        self.network.load_state_dict(stored.network)
        self.average.network.load_state_dict(stored.average)
        self.optimiser.load_state_dict(stored.optimiser)
        self.step, self.elapsed_s, self.samples = stored.step, stored.elapsed_s, stored.samples
        torch.set_rng_state(stored.rng["cpu"])
        if "cuda" in stored.rng and self.device.type == "cuda":
            torch.cuda.set_rng_state(stored.rng["cuda"], self.device)

    def run(
        self, source: Source[BatchKind], folder: RunFolder | None, evaluate: Evaluate[Network] | None
    ) -> TrainingResult[Network]:
        settings = self.plan.run
        pending: deque[tuple[int, BatchKind, Tensor]] = deque()
        batches = source.batches(self.step)
        bar = tqdm(total=None if settings.time_limit_s else settings.steps, initial=self.step, unit="step")
        bar.disable = folder is None
        began = last_save = time.monotonic()
        before_s = self.elapsed_s
        complete = self._complete()
        while not complete:
            sample = next(batches)
            total = self._step(sample)
            pending.append((self.step, sample, total))
            if len(pending) > (_LOOK_BACK if self.device.type == "cuda" else 0):
                self._check(pending.popleft(), folder)
            self.elapsed_s = before_s + time.monotonic() - began
            complete = self._complete()
            bar.update()
            if self.step % settings.log_every == 0 or complete:
                self._report(folder, bar)
            if evaluate is not None and folder is not None and self.step % settings.evaluate_every == 0:
                evaluate(self.average.network, folder, self.step)
            stops = self._stops(time.monotonic() - began)
            if stops or complete or time.monotonic() - last_save > settings.save_every_s:
                while pending:
                    self._check(pending.popleft(), folder)
                self._save(folder)
                last_save = time.monotonic()
            if stops:
                break
        bar.close()
        if evaluate is not None and folder is not None and self.step % settings.evaluate_every:
            evaluate(self.average.network, folder, self.step)
        return TrainingResult(self.average.network, self.step, self.samples, self.elapsed_s, complete)

    def _step(self, sample: BatchKind) -> Tensor:
        """The detached total loss of one optimiser step."""
        settings = self.plan.optimiser
        set_learning_rate(self.optimiser, learning_rate(settings, self.step, self._progress()))
        output = self.parallel(*self.learner.inputs(sample))
        terms = self.learner.terms(output, sample)
        self.optimiser.zero_grad(set_to_none=True)
        terms[TOTAL].backward()
        if settings.clip_norm:
            norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip_norm)
            terms["gradient_norm"] = norm
        self.optimiser.step()
        self.average.update(self.step)
        self.step += 1
        self.samples += sample.batch * self.world.size
        self.log.add(terms, sample.batch * self.world.size)
        return terms[TOTAL].detach()

    def _check(self, looked_at: tuple[int, Batch, Tensor], folder: RunFolder | None) -> None:
        step, sample, total = looked_at
        if not any_process(not bool(total.isfinite()), self.device):
            return
        where = "" if folder is None else f" The batch is saved in {folder.save_bad_batch(sample)}."
        raise TrainingError(
            f"The loss of step {step} is not finite ({total.item()}).{where} The last checkpoint is from "
            "before it: look at the batch, or resume in float32 (--run.precision) or with a lower rate."
        )

    def _report(self, folder: RunFolder | None, bar: tqdm[NoReturn]) -> None:
        values = self.log.taken()
        if folder is None:
            return
        rate = learning_rate(self.plan.optimiser, self.step, self._progress())
        values |= {"learning_rate": rate, "elapsed_s": self.elapsed_s, "samples": float(self.samples)}
        folder.record("train", self.step, values)
        bar.set_postfix_str(f"loss {values[TOTAL]:.4f}, {values['images_per_s']:.0f} images/s", refresh=False)

    def _progress(self) -> float:
        run = self.plan.run
        return self.elapsed_s / run.time_limit_s if run.time_limit_s else self.step / run.steps

    def _complete(self) -> bool:
        return any_process(self._progress() >= 1, self.device) if self._by_time() else self._progress() >= 1

    def _by_time(self) -> bool:
        return self.plan.run.time_limit_s is not None

    def _stops(self, piece_s: float) -> bool:
        limit = self.plan.run.stop_after_s
        return limit is not None and any_process(piece_s >= limit, self.device)

    def _save(self, folder: RunFolder | None) -> None:
        if folder is None:
            return
        rng = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        checkpoint = Checkpoint(
            experiment=experiment_json(self.plan),
            step=self.step,
            elapsed_s=self.elapsed_s,
            samples=self.samples,
            network=self.network.state_dict(),
            average=self.average.network.state_dict(),
            optimiser=self.optimiser.state_dict(),
            rng=rng,
        )
        save_checkpoint(checkpoint, folder.path)
        if self.saved is not None:
            self.saved(self.average.network)


class _Log:
    """Sums of the loss terms since the last report, on the device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sums: dict[str, Tensor] = {}
        self._count, self._samples, self._since = 0, 0, time.monotonic()

    def add(self, terms: dict[str, Tensor], samples: int) -> None:
        """Counts one step."""
        for name, value in terms.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._count += 1
        self._samples += samples

    def taken(self) -> dict[str, float]:
        """Means per step and images per second since the last call; starts over."""
        means = {name: value / max(self._count, 1) for name, value in self._sums.items()}
        shared = mean_over_processes(means)
        values = dict(zip(shared, torch.stack(list(shared.values())).tolist(), strict=True))
        now = time.monotonic()
        values["images_per_s"] = self._samples / max(now - self._since, 1e-9)
        self._sums, self._count, self._samples, self._since = {}, 0, 0, now
        return values
