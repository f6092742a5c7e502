# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights and their card on disk: round trips and invalid files; `duohand network` and `import-weights`."""

import argparse
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from inference_core.cli import network_commands
from inference_core.shared.errors import RequestError, WeightsError
from inference_core.shared.json_record import record_from_json
from inference_core.two_hand.card import CARD_FILE, WEIGHTS_FILE, WeightsCard
from inference_core.two_hand.configuration import DIR_S, NetworkConfiguration
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.picture import check_picture
from inference_core.two_hand.weights import load_weights, save_weights

SHIPPED_CLIP = Path(__file__).parents[2] / "inference_core" / "demo" / "two_hands.mp4"
SMALL = dataclasses.replace(
    DIR_S,
    visual_channels=16,
    joint_channels=16,
    projected_channels=8,
    graph_layers=1,
    transformer_blocks=1,
    maps=True,
)


def card_of(configuration: NetworkConfiguration) -> WeightsCard:
    return WeightsCard(configuration, "a test", "none", "open hand", metrics={"mpjpe_mm": 12.5})


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_weights(DirNetwork(SMALL), tmp_path / "weights", card_of(SMALL))
    return tmp_path / "weights"


@pytest.mark.parametrize("half", [False, True])
def test_weights_and_card_survive_saving_and_loading(tmp_path: Path, half: bool) -> None:
    network = DirNetwork(SMALL)
    save_weights(network, tmp_path, card_of(SMALL), half=half)
    loaded, card = load_weights(tmp_path)
    assert card == card_of(SMALL) and not loaded.training
    assert {path.name for path in tmp_path.iterdir()} == {WEIGHTS_FILE, CARD_FILE}
    for (name, ours), theirs in zip(network.named_parameters(), loaded.parameters(), strict=True):
        torch.testing.assert_close(theirs, ours, atol=1e-3 if half else 0, rtol=1e-3 if half else 0, msg=name)


def test_the_compact_networks_half_precision_weights_fit_in_28_mb(tmp_path: Path) -> None:
    save_weights(DirNetwork(DIR_S), tmp_path, card_of(DIR_S), half=True)
    assert (tmp_path / WEIGHTS_FILE).stat().st_size <= 28e6


@pytest.mark.parametrize("name", [CARD_FILE, WEIGHTS_FILE, "landmark_head.safetensors"])
def test_damaged_weights_are_refused_before_torch_is_imported(
    stored: Path, tmp_path: Path, name: str
) -> None:
    (stored / name).write_bytes(b"\xff" * 40)
    request = {"footage": str(SHIPPED_CLIP), "out": str(tmp_path / "t.npz"), "network": str(stored)}
    script = (
        "import json, sys\nfrom inference_core.pipeline import reconstruct\n"
        "from inference_core.shared.errors import WeightsError\n"
        "from inference_core.shared.messages import CaptureRequest\n"
        "try:\n    reconstruct(CaptureRequest(**json.loads(sys.argv[1])))\n"
        "except WeightsError as error:\n    print('torch' in sys.modules, error)"
    )
    words = [sys.executable, "-c", script, json.dumps(request)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"False {stored / name} is ")


def test_truncated_weights_are_refused(stored: Path) -> None:
    whole = (stored / WEIGHTS_FILE).read_bytes()
    for size in (0, 7, 1000, len(whole) - 1):
        (stored / WEIGHTS_FILE).write_bytes(whole[:size])
        with pytest.raises(WeightsError, match="truncated"):
            load_weights(stored)


def test_weights_of_another_configuration_are_refused_by_name(stored: Path) -> None:
    card = json.loads((stored / CARD_FILE).read_text())
    card["configuration"]["stages"] = 1
    (stored / CARD_FILE).write_text(json.dumps(card))
    with pytest.raises(WeightsError, match=r"unexpected \(refinements\.1"):
        load_weights(stored)
    card["configuration"] |= {"stages": 2, "joint_channels": 32}
    (stored / CARD_FILE).write_text(json.dumps(card))
    with pytest.raises(WeightsError, match="of another shape"):
        load_weights(stored)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    network = DirNetwork(SMALL)
    next(network.parameters()).data[0] = torch.nan
    save_weights(network, tmp_path, card_of(SMALL))
    with pytest.raises(WeightsError, match="not finite"):
        load_weights(tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 99}, "update"),
        ({"version": "1"}, "version"),
        ({"tip_vertices": [[1.5] * 5] * 2}, "tip_vertices"),
        ({"tip_vertices": [["a"] * 5] * 2}, "tip_vertices"),
        ({"tip_vertices": [[1] * 5]}, "tip_vertices"),
        ({"by_default": "yes"}, "by_default"),
        ({"metrics": []}, "metrics"),
        ({"configuration": {"name": "dir-s", "evidence": True}}, "rename"),
        ({"colour": "red"}, "not a card"),
        ({"configuration": {"name": "x"}}, "backbone"),
        ({"configuration": {"name": "x", "backbone": "resnet50", "attention": "light", "wings": 2}}, "wings"),
        ({"configuration": {"name": "x", "backbone": "vgg", "attention": "light"}}, "backbone is 'vgg'"),
        *(
            ({"configuration": dataclasses.asdict(SMALL) | {field: value}}, field)
            for field, value in (
                ("stages", 1.5),
                ("visual_channels", 10_000_000),
                ("visual_channels", [1]),
                ("joint_channels", 0),
                ("projected_channels", -3),
                ("transformer_blocks", "x"),
                ("dropout", -1),
                ("maps", 1),
            )
        ),
    ],
)
def test_a_foreign_card_is_refused(stored: Path, change: dict[str, object], told: str) -> None:
    card = json.loads((stored / CARD_FILE).read_text())
    (stored / CARD_FILE).write_text(json.dumps(card | change))
    with pytest.raises(WeightsError, match=told):
        load_weights(stored)


def test_a_deeply_nested_card_is_refused(stored: Path) -> None:
    (stored / CARD_FILE).write_text("[" * 200_000)
    with pytest.raises(WeightsError, match="not a card"):
        load_weights(stored)


@pytest.mark.parametrize("sizes", [{"visual_channels": 61}, {"joint_channels": 97}, {"visual_channels": 512}])
def test_an_invalid_configuration_is_refused_before_the_network_is_built(
    stored: Path, sizes: dict[str, int]
) -> None:
    card = json.loads((stored / CARD_FILE).read_text())
    (stored / CARD_FILE).write_text(json.dumps(card | {"configuration": dataclasses.asdict(SMALL) | sizes}))
    with pytest.raises(WeightsError, match=r"cannot be|does not hold"):
        load_weights(stored)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "V9", "shape": [1], "data_offsets": [0, 9]},
        [],
    ],
)
def test_tensors_larger_than_their_file_are_refused(stored: Path, entry: object) -> None:
    header = json.dumps({"a": entry}).encode()
    (stored / WEIGHTS_FILE).write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    with pytest.raises(WeightsError, match=WEIGHTS_FILE):
        load_weights(stored)


def test_a_missing_file_is_named(tmp_path: Path, stored: Path) -> None:
    with pytest.raises(WeightsError, match=CARD_FILE):
        load_weights(tmp_path)
    (stored / WEIGHTS_FILE).unlink()
    with pytest.raises(WeightsError, match=WEIGHTS_FILE):
        load_weights(stored)


def test_a_configuration_survives_json() -> None:
    assert record_from_json(NetworkConfiguration, json.loads(json.dumps(dataclasses.asdict(DIR_S)))) == DIR_S


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.zeros((1, 3, 224, 224)), "shape"),
        (np.zeros((3, 256, 256)), "shape"),
        (np.zeros((0, 3, 256, 256)), "empty"),
        (np.zeros((1, 3, 256, 256), np.uint8), "uint8"),
        (np.full((2, 3, 256, 256), np.nan), "NaN"),
    ],
)
def test_a_picture_of_another_size_is_refused(image: np.ndarray, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        check_picture(image)


def arguments_of(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    network_commands.add_parser(parser.add_subparsers(dest="command"))
    return parser.parse_args(words)


def run_network(stored: Path, pictures: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    np.save(folder / "in.npy", pictures)
    paths = ("--weights", str(stored), "--input", str(folder / "in.npy"), "--output", str(folder / "out.npz"))
    assert network_commands.run(arguments_of("network", "run", *paths)) == 0
    with np.load(folder / "out.npz") as output:
        return dict(output)


def test_network_run_writes_every_stage(stored: Path, tmp_path: Path) -> None:
    arrays = run_network(stored, np.zeros((3, 3, 256, 256), np.float32), tmp_path)
    for stage in range(3):
        assert arrays[f"stage{stage}/offset"].shape == (3, 3)
        assert arrays[f"stage{stage}/parameters"].shape == (3, 2, 64)
        assert arrays[f"stage{stage}/joints_uv"].shape == (3, 2, 21, 2)
        assert arrays[f"stage{stage}/joints_m"].shape == (3, 2, 21, 3)
        assert arrays[f"stage{stage}/vertices_m"].shape[:2] == (3, 2)
    assert arrays["dense"].shape == arrays["side_scores"].shape == (3, 3, 32, 32)


@pytest.mark.parametrize(
    "pictures",
    [
        np.zeros((1, 3, 256, 256)),
        np.zeros((0, 3, 256, 256), np.float32),
        np.zeros((1, 3, 224, 224), np.float32),
        np.full((1, 3, 256, 256), np.nan, np.float32),
    ],
    ids=["float64", "empty", "small", "nan"],
)
def test_network_run_refuses_other_arrays_and_writes_nothing(
    stored: Path, tmp_path: Path, pictures: np.ndarray
) -> None:
    with pytest.raises(RequestError):
        run_network(stored, pictures, tmp_path)
    assert not (tmp_path / "out.npz").exists()


def test_network_run_refuses_pickled_arrays(stored: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    paths = (
        "--weights",
        str(stored),
        "--input",
        str(tmp_path / "in.npy"),
        "--output",
        str(tmp_path / "out.npz"),
    )
    with pytest.raises(RequestError, match=r"not a readable \.npy"):
        network_commands.run(arguments_of("network", "run", *paths))


def test_network_run_says_that_weights_need_mano(stored: Path, tmp_path: Path) -> None:
    card = json.loads((stored / CARD_FILE).read_text())
    (stored / CARD_FILE).write_text(json.dumps(card | {"hand_model": "MANO"}))
    with pytest.raises(RequestError, match="--mano"):
        run_network(stored, np.zeros((1, 3, 256, 256), np.float32), tmp_path)
