# SPDX-License-Identifier: GPL-3.0-or-later
"""The network as an ONNX file, in the exporter's environment (`make test-export`; pytest -m export)."""

import dataclasses
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from inference_core.hand_model.load import load_open_hand
from inference_core.shared.errors import WeightsError
from inference_core.two_hand.available_engines import chosen_engine, engine_offer
from inference_core.two_hand.configuration import DIR_S
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.engine import TorchEngine
from inference_core.two_hand.engine_choice import CHOICES_FILE, TOLERANCE_MM, best_of, measurements, probe
from inference_core.two_hand.onnx_engine import (
    OnnxRuntimeEngine,
    OpenVinoEngine,
    export_onnx,
    export_openvino,
)
from inference_core.two_hand.records import Conditioning
from inference_core.two_hand.release import network_from_release
from inference_core.two_hand.weights import StoredNetwork, WeightsCard, save_weights, stored_network
from tests.inference_core.released_network import filled_state, golden, golden_input, toy_hand

pytestmark = pytest.mark.export

TOY = dataclasses.replace(
    DIR_S, visual_channels=16, joint_channels=16, projected_channels=8, graph_layers=1, transformer_blocks=1
)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DirNetwork, Path]]:
    """The filled release, and its file for batches of two."""
    network, path = network_from_release(filled_state()), tmp_path_factory.mktemp("onnx") / "release.onnx"
    export_onnx(network, toy_hand(), path, batch=2)
    yield network, path
    path.unlink()


def test_the_exported_release_computes_the_golden_values(release: tuple[DirNetwork, Path]) -> None:
    expected = golden()
    for engine in (OnnxRuntimeEngine(release[1]), OpenVinoEngine(release[1], half=False)):
        found = engine(golden_input())
        assert found.vertices_m is not None
        for number, side in enumerate(("left", "right")):
            for name, values in (
                ("joint_uv", found.joints_uv),
                ("joint_xyz", found.joints_m),
                ("mesh_xyz", found.vertices_m),
            ):
                np.testing.assert_allclose(
                    values[:, number].numpy(), expected[f"stage2/{name}_{side}"], atol=1e-3
                )
        np.testing.assert_allclose(found.offset_m.numpy() / 0.15, expected["stage2/offset"], atol=1e-3)


def test_the_exported_compact_network_agrees_whatever_the_batch_and_evidence(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, hand, path = DirNetwork(DIR_S).eval(), load_open_hand(), tmp_path / "s.onnx"
    export_onnx(network, hand, path, batch=2)
    world = torch.randn(3, 2, 21, 3) * 0.04
    ones = torch.ones(3, 2)
    evidence = Conditioning(
        world[..., :2] * 5, torch.ones(3, 2, 21), world, ones, ones, torch.full((3,), 4.0)
    )
    image, engines = torch.randn(3, 3, 256, 256), (OnnxRuntimeEngine(path), OpenVinoEngine(path, half=False))
    reference = TorchEngine(network, hand, fold=False)
    for known in (evidence, Conditioning.none(3)):
        expected = reference(image, known)
        for engine in engines:
            found = engine(image, known)
            for name, value in vars(expected).items():
                torch.testing.assert_close(
                    getattr(found, name), value, atol=1e-3, rtol=1e-3, msg=f"{engine.name} {name}"
                )


@pytest.mark.parametrize("engine", [OnnxRuntimeEngine, OpenVinoEngine])
def test_a_truncated_onnx_file_is_refused(
    tmp_path: Path, engine: type[OnnxRuntimeEngine | OpenVinoEngine]
) -> None:
    (tmp_path / "cut.onnx").write_bytes(b"\x08\x08\x12\x07pytorch")
    with pytest.raises(WeightsError, match=r"cut\.onnx"):
        engine(tmp_path / "cut.onnx")


def test_an_engine_is_chosen_among_all_and_the_next_time_the_network_is_not_even_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    card = WeightsCard(TOY, "random numbers", "CC0-1.0", "open hand")
    save_weights(DirNetwork(TOY), tmp_path / "weights", card)
    hand, device, cache = load_open_hand(), torch.device("cpu"), tmp_path / "cache"
    offer = engine_offer(stored_network(tmp_path / "weights"), hand, device, cache)
    assert list(offer.factories) == ["torch float32", "OpenVINO", "OpenVINO bfloat16"]
    cache.mkdir()
    (cache / "dir-s-older-8.onnx").write_bytes(b"")
    choose = partial(chosen_engine, stored_network(tmp_path / "weights"), hand, device, cache)
    first = choose()
    files = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert {Path(name).suffix for name in files} == {".json", ".xml", ".bin"}, "older weights' files are gone"
    kept = json.loads((cache / CHOICES_FILE).read_text())
    (cache / CHOICES_FILE).write_text(json.dumps(dict.fromkeys(kept, "OpenVINO")))
    monkeypatch.setattr(StoredNetwork, "load", lambda self: pytest.fail("the network was loaded"))
    assert first.name in offer.factories or first.name.startswith("torch")
    assert choose().name == "OpenVINO"


def test_half_precision_constants_move_the_hands_by_less_than_a_third_of_a_millimetre(
    release: tuple[DirNetwork, Path], tmp_path: Path
) -> None:
    export_openvino(release[0], toy_hand(), tmp_path / "release.xml", batch=2)
    small = tmp_path / "release.bin"
    assert small.stat().st_size < 0.6 * release[1].stat().st_size
    exact = OpenVinoEngine(release[1], half=False)(golden_input()).vertices_m
    found = OpenVinoEngine(tmp_path / "release.xml", half=False)(golden_input()).vertices_m
    assert exact is not None and found is not None
    assert (found - exact).norm(dim=-1).mean() * 1000 < TOLERANCE_MM


def test_the_engine_chosen_for_the_release_holds_whatever_its_fastest_does(
    release: tuple[DirNetwork, Path],
) -> None:
    network, path = release
    found = measurements(
        {
            "torch float32": lambda: TorchEngine(network, toy_hand()),
            "OpenVINO": lambda: OpenVinoEngine(path, half=False),
            "OpenVINO bfloat16": lambda: OpenVinoEngine(path, half=True),
        },
        probe(2),
    )
    assert found[0].error_mm == 0 and found[1].error_mm < 0.01
    assert best_of(found).error_mm <= TOLERANCE_MM
