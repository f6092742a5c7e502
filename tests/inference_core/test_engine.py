# SPDX-License-Identifier: GPL-3.0-or-later
"""The two-hand network's engines: invalid input, and agreement with torch."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inference_core.hand_model.load import load_open_hand
from inference_core.runtime.network_graph import NetworkGraph
from inference_core.runtime.network_run import ready_to_run, runs_in_openvino
from inference_core.shared.errors import RequestError
from inference_core.two_hand.card import SHIPPED_FOLDER, WeightsCard, stored_network
from inference_core.two_hand.configuration import DIR_S
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.engine import GraphEngine, output_names, stored_engine
from inference_core.two_hand.hand_graph import prepared
from inference_core.two_hand.records import Conditioning
from inference_core.two_hand.release import network_from_release
from inference_core.two_hand.torch_engine import torch_engine
from inference_core.two_hand.weights import load_network, save_weights
from tests.inference_core.released_network import filled_state, golden, golden_input, toy_hand

CPU = "cpu"
Array = NDArray[np.float32]
TOY = dataclasses.replace(
    DIR_S, visual_channels=16, joint_channels=16, projected_channels=8, graph_layers=1, transformer_blocks=1
)

needs_openvino = pytest.mark.skipif(not runs_in_openvino(CPU), reason="openvino has no wheel here")


def pictures(count: int) -> Array:
    """Normalised made-up pictures with structure of every size."""
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(count, 3, size, size, generator=generator) for size in (4, 32, 256)]
    return (
        torch.stack([torch.nn.functional.interpolate(n, 256, mode="bilinear") for n in noise]).sum(0).numpy()
    )


def landmarks(count: int) -> Conditioning:
    """Made-up landmarks of hands spread over the pictures."""
    world = np.random.default_rng(1).normal(0, 0.04, (count, 2, 21, 3)).astype(np.float32)
    ones, scores = np.ones((count, 2), np.float32), np.ones((count, 2, 21), np.float32)
    return Conditioning(world[..., :2] * 5, scores, world, ones, ones, np.full(count, 5.0, np.float32))


def test_an_engine_refuses_pictures_of_another_size() -> None:
    engine = torch_engine(DirNetwork(TOY), load_open_hand())
    for image in (
        np.zeros((0, 3, 256, 256), np.float32),
        np.full((1, 3, 256, 256), np.inf, np.float32),
        np.zeros((1, 3, 64, 64), np.float32),
    ):
        with pytest.raises(RequestError):
            engine(image)


@needs_openvino
def test_the_shipped_network_agrees_with_torch() -> None:
    network, hand = stored_network(SHIPPED_FOLDER), load_open_hand()
    engine, reference = stored_engine(network, hand, CPU), torch_engine(load_network(network), hand)
    image = pictures(3)
    for known in (landmarks(3), Conditioning.none(3)):
        found, expected = engine(image, known), reference(image, known)
        assert 1000 * np.linalg.norm(found.joints_m - expected.joints_m, axis=-1).mean() < 0.3
        for name, value in vars(expected).items():
            if value is not None:
                np.testing.assert_allclose(getattr(found, name), value, atol=1e-3, rtol=1e-3, err_msg=name)


@needs_openvino
def test_converted_weights_are_identified_by_their_content(tmp_path: Path) -> None:
    """The same configuration with other weights, then another hand: each has its own file and its own answer."""
    hand, image = load_open_hand(), pictures(1)
    for seed in (0, 1):
        torch.manual_seed(seed)
        card = WeightsCard(TOY, "random numbers", "CC0-1.0", "open hand")
        save_weights(DirNetwork(TOY), tmp_path / "weights", card)
        network = stored_network(tmp_path / "weights")
        found = stored_engine(network, hand, CPU, tmp_path / "cache")(image)
        expected = torch_engine(load_network(network), hand)(image)
        np.testing.assert_allclose(found.joints_m, expected.joints_m, atol=1e-4, rtol=1e-3)
    assert len(list((tmp_path / "cache").iterdir())) == 2


@needs_openvino
@pytest.mark.slow
def test_the_release_reproduces_its_golden_values(tmp_path: Path) -> None:
    network, expected, hand = network_from_release(filled_state()), golden(), toy_hand()
    graph = NetworkGraph(
        "release",
        "",
        lambda: prepared(network, hand, CPU, vertices=True),
        (np.zeros((len(golden_input()), 3, 256, 256), np.float32),),
    )
    engine = GraphEngine(
        ready_to_run(graph, CPU, tmp_path), output_names(network.configuration, vertices=True), False
    )
    found = engine(golden_input().numpy())
    assert found.vertices_m is not None
    for number, side in enumerate(("left", "right")):
        for name, values in (
            ("joint_uv", found.joints_uv),
            ("joint_xyz", found.joints_m),
            ("mesh_xyz", found.vertices_m),
        ):
            np.testing.assert_allclose(values[:, number], expected[f"stage2/{name}_{side}"], atol=1e-3)
    np.testing.assert_allclose(found.offset_m / 0.15, expected["stage2/offset"], atol=1e-3)
