# SPDX-License-Identifier: GPL-3.0-or-later
"""The released checkpoint: golden values, every key, and files that must be rejected."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from inference_core.shared.errors import WeightsError
from inference_core.shared.skeleton import SIDES
from inference_core.two_hand.checkpoint import read_checkpoint
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.release import (
    import_release,
    network_from_release,
    release_keys,
)
from inference_core.two_hand.weights import load_weights
from tests.inference_core.released_network import FOLDER, filled_state, golden, golden_input, toy_hand


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> DirNetwork:
    folder = tmp_path_factory.mktemp("release")
    torch.save({"net": filled_state(), "epoch": 50, "lr": 5e-4}, folder / "checkpoint.pth")
    import_release(folder / "checkpoint.pth", folder / "imported")
    (folder / "checkpoint.pth").unlink()
    network, card = load_weights(folder / "imported")
    (folder / "imported" / "weights.safetensors").unlink()
    assert card.hand_model == "MANO" and "MIT" in card.licence
    return network


def test_an_imported_checkpoint_computes_what_the_release_computes(imported: DirNetwork) -> None:
    image, expected = golden_input(), golden()
    with torch.no_grad():
        levels = imported.backbone(image)
        output = imported(image, toy_hand().tensors())
    found = {f"backbone/c{index + 1}_mean": level.mean((2, 3)) for index, level in enumerate(levels)}
    for index, stage in enumerate(output.stages):
        found[f"stage{index}/offset"] = stage.offset_m / 0.15
        for number, side in enumerate(SIDES):
            assert stage.vertices_m is not None
            found[f"stage{index}/mano_para_{side}"] = stage.parameters[:, number]
            found[f"stage{index}/joint_uv_{side}"] = stage.joints_uv[:, number]
            found[f"stage{index}/joint_xyz_{side}"] = stage.joints_m[:, number]
            found[f"stage{index}/mesh_xyz_{side}"] = stage.vertices_m[:, number]
    assert output.dense is not None and output.side_scores is not None
    found |= {"dense": output.dense, "seg": output.side_scores}
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name].numpy(), values, atol=1e-4, rtol=1e-4, err_msg=name)


def test_every_parameter_of_ours_has_its_own_keys_in_the_release(imported: DirNetwork) -> None:
    own = [key for key in imported.state_dict() if not key.endswith("num_batches_tracked")]
    sources = [source for key in own for source in release_keys(key)]
    assert len(set(sources)) == len(sources)
    assert set(sources) <= set(filled_state())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("missing", "1 missing: decoder.dense.3.bias"),
        ("unexpected", "1 unexpected: decoder.new.weight"),
        ("reshaped", "of another shape: decoder.dense.3.bias"),
        ("resnet18", "missing"),
    ],
)
def test_a_checkpoint_of_another_architecture_is_refused_with_the_differences(change: str, told: str) -> None:
    state = filled_state()
    if change == "missing":
        del state["decoder.dense.3.bias"]
    elif change == "unexpected":
        state["decoder.new.weight"] = torch.zeros(3)
    elif change == "reshaped":
        state["decoder.dense.3.bias"] = torch.zeros(4)
    else:
        state = {key: value for key, value in state.items() if key.startswith("backbone.layer1")}
    with pytest.raises(WeightsError, match=told):
        network_from_release(state)


class _Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_a_checkpoint_with_code_is_refused_without_running_it(tmp_path: Path) -> None:
    torch.save(
        {"net": {"weight": torch.zeros(1)}, "extra": _Hostile(tmp_path / "ran")}, tmp_path / "evil.pth"
    )
    with pytest.raises(WeightsError, match="more than weights"):
        read_checkpoint(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"no pickle at all", (FOLDER / "golden.npz").read_bytes()[:5000]])
def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"bad\.pth"):
        read_checkpoint(tmp_path / "bad.pth")


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"net": {"weight": torch.zeros(1000)}}, tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:2000])
    with pytest.raises(WeightsError, match=r"cut\.pth"):
        read_checkpoint(tmp_path / "cut.pth")


def test_a_checkpoint_without_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"net": {"epoch": 3}}, tmp_path / "empty.pth")
    with pytest.raises(WeightsError, match="no state dict"):
        read_checkpoint(tmp_path / "empty.pth")
