# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines: what they refuse, that they agree, and how one is chosen."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from inference_core.errors import RequestError
from inference_core.hand_model.load import load_open_hand
from inference_core.network.configuration import DIR_S
from inference_core.network.dir import DirNetwork
from inference_core.network.engine import HandEstimates, TorchEngine
from inference_core.network.engine_choice import fastest_engine
from inference_core.network.records import CropEvidence


def test_an_engine_refuses_pictures_it_cannot_take() -> None:
    engine = TorchEngine(DirNetwork(DIR_S), load_open_hand(), vertices=False)
    for image in (
        torch.zeros(0, 3, 256, 256),
        torch.full((1, 3, 256, 256), torch.inf),
        torch.zeros(1, 3, 64, 64),
    ):
        with pytest.raises(RequestError):
            engine(image)


class _SlowEngine:
    def __init__(self, name: str, work: int, made: list[str]) -> None:
        made.append(name)
        self.name, self._work = name, work

    def __call__(self, image: Tensor, evidence: CropEvidence | None = None) -> HandEstimates:
        total = sum(float(torch.ones(10_000).sum()) for _ in range(self._work))
        empty = torch.full((1,), total)
        return HandEstimates(empty, empty, empty, empty, empty)


def test_the_fastest_engine_is_measured_once_and_remembered(tmp_path: Path) -> None:
    made: list[str] = []
    factories = {
        name: lambda n=name, w=work: _SlowEngine(n, w, made) for name, work in (("a", 3000), ("b", 1))
    }
    file = tmp_path / "cache" / "engines.json"
    assert fastest_engine(factories, "w", 1, file).name == "b"
    assert made == ["a", "b"]
    assert fastest_engine(factories, "w", 1, file).name == "b"
    assert made == ["a", "b", "b"], "the second time nothing is measured"
    assert fastest_engine({"a": factories["a"]}, "w", 1, file).name == "a", "a choice no longer on offer"
    file.write_text("not json")
    assert fastest_engine(factories, "w", 1, file).name == "b"
