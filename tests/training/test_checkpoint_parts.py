# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints in parts: what travels is enough to go on from, and a part that is missing is told of."""

from pathlib import Path

import pytest
import torch

from training.trainer.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from training.trainer.checkpoint_parts import join, split

EXPERIMENT = {"name": "small"}


def test_a_run_resumes_from_checkpoint_parts(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.BatchNorm1d(32), torch.nn.Linear(32, 4))
    optimiser = torch.optim.AdamW(network.parameters(), 1e-2)
    inputs = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))

    def step() -> float:
        loss = (network(inputs) - inputs[:, :4]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    for _ in range(40):
        step()
    (tmp_path / "run").mkdir()
    state = network.state_dict()
    save_checkpoint(
        Checkpoint(
            EXPERIMENT, 40, 1.0, 2560, state, state, optimiser.state_dict(), {"cpu": torch.get_rng_state()}
        ),
        tmp_path / "run",
    )
    undisturbed = [step() for _ in range(5)]
    parts = split(tmp_path / "run", tmp_path / "parts", part_bytes=4000)
    assert len(parts) > 2 and all(part.stat().st_size <= 4000 for part in parts)

    join(tmp_path / "parts", tmp_path / "joined")
    back = load_checkpoint(tmp_path / "joined", EXPERIMENT)
    assert back is not None and back.step == 40
    network.load_state_dict(back.network)
    optimiser.load_state_dict(back.optimiser)
    gone_on = [step() for _ in range(5)]
    # Momentum starts at nothing, but the steps are of the right size.
    assert gone_on[4] < gone_on[0] and gone_on[4] < 1.5 * undisturbed[4]
    assert abs(gone_on[0] - undisturbed[0]) < 1e-3

    parts[1].unlink()
    with pytest.raises(CheckpointError, match="missing or damaged"):
        join(tmp_path / "parts", tmp_path / "again")
    with pytest.raises(CheckpointError, match="no state"):
        join(tmp_path, tmp_path / "again")
    with pytest.raises(CheckpointError, match="cannot be read"):
        split(tmp_path / "parts", tmp_path / "again")
