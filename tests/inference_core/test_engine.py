# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines: what they refuse, that they agree, and how one is chosen."""

import dataclasses
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from inference_core.hand_model.load import load_open_hand
from inference_core.shared.errors import RequestError, WeightsError
from inference_core.two_hand import available_engines
from inference_core.two_hand.available_engines import engine_offer
from inference_core.two_hand.configuration import DIR_S
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.engine import Engine, HandEstimates, TorchEngine
from inference_core.two_hand.engine_choice import (
    CHOICES_FILE,
    EngineFactory,
    fastest_engine,
    measurements,
    probe,
)
from inference_core.two_hand.records import Conditioning
from inference_core.two_hand.weights import WeightsCard, save_weights, stored_network

TOY = dataclasses.replace(
    DIR_S, visual_channels=16, joint_channels=16, projected_channels=8, graph_layers=1, transformer_blocks=1
)


def test_an_engine_refuses_pictures_it_cannot_take() -> None:
    engine = TorchEngine(DirNetwork(TOY), load_open_hand(), vertices=False)
    for image in (
        torch.zeros(0, 3, 256, 256),
        torch.full((1, 3, 256, 256), torch.inf),
        torch.zeros(1, 3, 64, 64),
    ):
        with pytest.raises(RequestError):
            engine(image)


class _MadeUpEngine:
    """As slow as its sleep, as wrong as its error."""

    def __init__(self, name: str, seconds: float, error_m: float, made: list[str]) -> None:
        made.append(name)
        self.name, self._seconds, self._error_m = name, seconds, error_m

    def __call__(self, image: Tensor, evidence: Conditioning | None = None) -> HandEstimates:
        time.sleep(self._seconds)
        nothing = torch.zeros(len(image), 2, 21, 3)
        return HandEstimates(nothing, nothing, nothing + self._error_m, nothing[..., :2], nothing[:, 0, 0])


def offered(made: list[str], **engines: tuple[float, float]) -> dict[str, EngineFactory]:
    """Factories of made-up engines: seconds a batch and error in metres of each."""
    return {
        name: lambda n=name, s=seconds, e=error_m: _MadeUpEngine(n, s, e, made)
        for name, (seconds, error_m) in engines.items()
    }


def test_the_fastest_engine_is_measured_once_and_remembered(tmp_path: Path) -> None:
    made: list[str] = []
    factories, probed = offered(made, slow=(0.02, 0), quick=(0, 0)), probe(1)
    assert fastest_engine(factories, "w", probed, tmp_path / "new").name == "quick"
    assert made == ["slow", "quick", "quick"]
    assert fastest_engine(factories, "w", probed, tmp_path / "new").name == "quick"
    assert made == ["slow", "quick", "quick", "quick"], "the second time nothing is measured"
    lone = offered(made, slow=(0.02, 0), middling=(0.01, 0))
    assert fastest_engine(lone, "w", probed, tmp_path / "new").name == "middling", (
        "a choice no longer on offer"
    )
    (tmp_path / "new" / CHOICES_FILE).write_text("not json")
    assert fastest_engine(factories, "w", probed, tmp_path / "new").name == "quick"


def test_an_engine_that_says_something_else_is_not_chosen_however_fast(tmp_path: Path) -> None:
    made: list[str] = []
    factories = offered(made, true=(0.02, 0), off=(0, 1.1e-3), lost=(0, float("nan")), fair=(0.01, 1e-4))
    assert fastest_engine(factories, "w", probe(1), tmp_path).name == "fair"
    found = {m.name: m for m in measurements(factories, probe(1))}
    assert not found["off"].holds and not found["lost"].holds and found["fair"].holds
    assert found["fair"].error_mm == pytest.approx(0.1 * 3**0.5, rel=1e-3)


def test_where_torch_alone_can_run_the_network_nothing_is_measured(tmp_path: Path) -> None:
    made: list[str] = []
    assert fastest_engine(offered(made, only=(0, 0)), "w", probe(1), tmp_path).name == "only"
    assert made == ["only"] and not list(tmp_path.iterdir())


def test_an_engine_that_cannot_be_made_is_left_out(tmp_path: Path) -> None:
    def broken() -> Engine:
        raise WeightsError("made up")

    made: list[str] = []
    factories = offered(made, slow=(0, 0)) | {"broken": broken}
    (tmp_path / CHOICES_FILE).write_text("{}")
    assert fastest_engine(factories, "w", probe(1), tmp_path).name == "slow"
    working = factories | offered(made, broken=(0, 0), slow=(0.02, 0))
    assert fastest_engine(working, "v", probe(1), tmp_path).name == "broken"
    assert fastest_engine(factories, "v", probe(1), tmp_path).name == "slow", (
        "remembered, and no longer works"
    )


@pytest.mark.parametrize("others", [False, True])
def test_torch_is_on_offer_whatever_else_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: bool
) -> None:
    monkeypatch.setattr(available_engines, "find_spec", lambda name: object() if others else None)
    save_weights(
        DirNetwork(TOY), tmp_path / "weights", WeightsCard(TOY, "random numbers", "CC0-1.0", "open hand")
    )
    network, cache = stored_network(tmp_path / "weights"), tmp_path / "cache"
    offer = engine_offer(network, load_open_hand(), torch.device("cpu"), cache)
    assert next(iter(offer.factories)) == "torch float32"
    assert len(offer.factories) == (3 if others else 1)
    assert not cache.exists(), "nothing is exported before it is needed"


def test_half_precision_of_the_right_kind_stays_within_the_tolerance() -> None:
    torch.manual_seed(0)
    network, hand, probed = DirNetwork(TOY), load_open_hand(), probe(1)
    exact = TorchEngine(network, hand, vertices=False)(probed.image, probed.evidence)
    for precision in ("float16", "bfloat16"):
        engine = TorchEngine(network, hand, precision=precision, vertices=False)
        found = engine(probed.image, probed.evidence)
        assert found.joints_m.dtype == torch.float32
        assert 0 < (found.joints_m - exact.joints_m).norm(dim=-1).mean() < 3e-4
