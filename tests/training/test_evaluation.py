# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a set: perfect predictions are perfect, absent hands do not count, files of
predictions are checked.
"""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from inference_core.shared.errors import WeightsError
from inference_core.two_hand.card import WeightsCard
from inference_core.two_hand.configuration import DIR_S
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.weights import load_weights, save_weights
from tests.training.made_samples import made_sample
from training.convert import weight_parts
from training.data.sample import Sample
from training.evaluation import report
from training.evaluation.clips import clip_errors
from training.evaluation.curves import read_curves
from training.evaluation.evaluate import EvaluationError, load_predictions
from training.evaluation.scoring import Predicted, groups, joined, measured, summarised
from training.trainer.run_folder import hands_picture


def _truth_as_predicted(sample: Sample) -> Predicted:
    return Predicted(
        joints_m=sample.joints_rel_m,
        vertices_m=sample.vertices_rel_m,
        joints_uv=sample.joints_uv,
        vertices_uv=sample.vertices_uv,
        offset_m=sample.offset_m,
        presence=sample.present.float(),
    )


def test_the_truth_itself_has_no_error():
    sample = made_sample(4, absent=True)
    summary = summarised(measured(_truth_as_predicted(sample), sample))
    shares = {"side_correct", "presence_correct", "auc"}
    assert shares < set(summary)
    assert all(summary[name] == pytest.approx(1) for name in shares)
    assert all(value < 1e-2 for name, value in summary.items() if name not in shares)


def test_means_are_over_samples_and_absent_hands_do_not_count():
    sample = made_sample(6, seed=4, absent=True)
    noisy = replace(
        _truth_as_predicted(sample), joints_m=sample.joints_rel_m + 0.01 * torch.randn(6, 2, 21, 3)
    )
    whole = measured(noisy, sample)
    parts = [
        measured(Predicted(noisy.joints_m[rows]), sample.rows(rows)) for rows in (slice(0, 1), slice(1, 6))
    ]
    assert summarised(joined(parts))["mpjpe_wrist"] == pytest.approx(
        summarised(whole)["mpjpe_wrist"], rel=1e-5
    )
    assert whole["mpjpe_wrist"].isnan().equal(~sample.present)
    spoiled = torch.where(
        sample.present[..., None, None], noisy.joints_m, torch.full_like(noisy.joints_m, 9.0)
    )
    again = measured(replace(noisy, joints_m=spoiled), sample)
    assert summarised(again)["mpjpe_wrist"] == pytest.approx(summarised(whole)["mpjpe_wrist"])


def test_results_are_grouped_by_distance_and_number_of_hands():
    sample = made_sample(8, seed=2, absent=True)
    masks = groups(sample)
    both = sample.both_present
    assert torch.equal(sum(masks[name].int() for name in ("touching", "near", "apart")), both.int())
    assert torch.equal(masks["one hand"], sample.present.sum(1) == 1)


def test_predictions_of_other_methods_are_read_and_checked(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, joints_m=np.zeros((3, 2, 21, 3)), offset_m=np.zeros((3, 3)))
    assert set(load_predictions(path)) == {"joints_m", "offset_m"}
    for arrays, message in (
        ({"joints": np.zeros(3)}, "joints, unknown here"),
        ({"offset_m": np.zeros((3, 3))}, "lacks joints_m"),
        ({"joints_m": np.zeros((3, 2, 21, 3)), "presence": np.zeros((2, 2))}, r"presence has shape \(2, 2\)"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(EvaluationError, match=message):
            load_predictions(path)
    path.write_bytes(b"no file of arrays")
    with pytest.raises(EvaluationError, match=r"not an \.npz"):
        load_predictions(path)


def test_a_solved_clip_is_measured_only_where_it_has_hands():
    truth = torch.rand(5, 2, 21, 3, dtype=torch.float64) * 0.1 + torch.tensor([0.0, 0.0, 0.5])
    present = np.ones((5, 2), bool)
    solved = truth.numpy().copy()
    solved[2, 1] = np.nan
    solved[4, 1] += [0.0, 0.0, 0.03]
    errors = clip_errors(solved, truth, present)
    assert np.isnan(errors.mpjpe_mm[2, 1]) and np.isnan(errors.mrrpe_mm[2])
    assert errors.mpjpe_mm[4, 1] < 1e-6, "a hand's place is not its pose"
    assert errors.mrrpe_mm[4] == pytest.approx(30) and errors.placed_mm[4, 1] == pytest.approx(30)
    assert errors.mrrpe_mm[0] < 1e-6


def test_the_papers_tables_are_printed_beside_ours_and_results_are_saved(tmp_path):
    table = {"MPJPE (mm)": {"stage 0": 12.0, "stage 2": 10.5}, "MRRPE (mm)": {"stage 2": math.nan}}
    text = report.table_text(table, "ours")
    assert "12.000" in text and "stage 2" in text
    wide = {name: {f"column {k}": float(k) for k in range(20)} for name in ("one", "other")}
    lines = report.table_text(wide, "a title far longer than a line " * 9).splitlines()
    assert max(len(line) for line in lines) <= 120 and sum("19.000" in line for line in lines) == 2
    published = report.published_text()
    for number in ("16.480", "12.440", "7.830", "10.230"):
        assert number in published
    report.save_json({"table": table}, tmp_path / "made" / "result.json")
    assert (
        json.loads((tmp_path / "made" / "result.json").read_text())["table"]["MRRPE (mm)"]["stage 2"] is None
    )
    report.plot_bars(table, "ours", tmp_path / "bars.png")
    report.plot_curves(
        {"run": [{"samples": 1, "mpjpe": 3.0}, {"samples": 2, "mpjpe": 2.0}]}, "mpjpe", tmp_path / "c.png"
    )
    assert (tmp_path / "bars.png").stat().st_size > 1000 and (tmp_path / "c.png").stat().st_size > 1000


def test_weights_survive_splitting_and_joining(tmp_path):
    network = DirNetwork(DIR_S.with_stages(0))
    card = WeightsCard(network.configuration, "test", "CC0", "open hand")
    save_weights(network, tmp_path / "whole", card, half=True)
    files = weight_parts.split(tmp_path / "whole", tmp_path / "parts", shard_bytes=2**21)
    assert len(files) > 2 and all(path.stat().st_size < 2**22 for path in files)
    weight_parts.join(tmp_path / "parts", tmp_path / "again")
    joined_network, _ = load_weights(tmp_path / "again")
    for name, value in load_weights(tmp_path / "whole")[0].state_dict().items():
        assert torch.equal(value, joined_network.state_dict()[name]), name
    files[0].unlink()
    with pytest.raises(WeightsError, match=r"weights-1-of-\d+\.safetensors is missing"):
        weight_parts.join(tmp_path / "parts", tmp_path / "broken")


def test_plots_are_drawn_even_with_a_truncated_curve(tmp_path):
    sample = made_sample(7, absent=True)
    sheet = hands_picture(sample, _truth_as_predicted(sample))
    assert sheet.shape == (512, 6 * 256, 3)
    (tmp_path / "curves.jsonl").write_text('{"kind": "train", "step": 1}\n{"kind": "tra')
    assert read_curves(tmp_path) == [{"kind": "train", "step": 1}]
