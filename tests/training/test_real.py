# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands against marks made by eye: what counts as found, exchanged, misplaced and not there."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.evaluation.real import Judgement, TruthError, failures, judged, read_truth, summarised

MARKS = {
    "clip": {
        "hand_px": 100,
        "frames": {"0": [[[100, 100]], [[180, 100]]], "2": [None, [[180, 100]]], "3": [None, "partly"]},
    }
}


def hands(*wrists: tuple[float, float] | None) -> np.ndarray:
    """(S, 2, 2) hands of two points, one beside the wrist."""
    return np.array(
        [[(np.nan, np.nan)] * 2 if at is None else [at, (at[0], at[1] - 50)] for at in wrists], float
    )


def judgement(tmp_path: Path, first: np.ndarray, second: np.ndarray, third: np.ndarray) -> Judgement:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(MARKS))
    return judged(np.stack([first, hands(None, None), second, third]), read_truth(path)["clip"])


def test_hands_at_their_marks_pass_and_cut_off_hands_are_optional(tmp_path: Path) -> None:
    found = judgement(
        tmp_path, hands((105, 100), (180, 110)), hands(None, (180, 100)), hands(None, (400, 300))
    )
    assert (found.both[0], found.side[0], found.ghosts.sum()) == (1, 1, 0)
    assert found.wrist[0].tolist() == [1, 1] and np.isnan(found.wrist[2]).all()


def test_swapped_hands_count_as_on_the_wrong_side(tmp_path: Path) -> None:
    found = judgement(tmp_path, hands((180, 100), (100, 100)), hands(None, (180, 100)), hands(None, None))
    assert (found.both[0], found.side[0]) == (1, 0)
    assert found.wrist[0].tolist() == [0, 0]


def test_one_hand_read_twice_does_not_count_as_both(tmp_path: Path) -> None:
    found = judgement(tmp_path, hands((140, 100), (142, 100)), hands(None, (180, 100)), hands(None, None))
    assert found.both[0] == 0


def test_a_hand_without_a_mark_is_reported_as_a_ghost(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(MARKS))
    clip = read_truth(path)["clip"]
    found = judged(
        np.stack(
            [hands((100, 100), None), hands(None, None), hands((500, 400), (180, 100)), hands(None, None)]
        ),
        clip,
    )
    assert found.ghosts.tolist() == [0, 1, 0]
    assert failures(found, clip) == ["row 0: not both, right wrist", "row 2: 1 ghosts"]


@pytest.mark.parametrize(
    "by, left_px, right_px",
    [
        ("agreed", [103, 100], [180, 108]),
        ("mean", [103, 100], [180, 105]),
        ("first", [100, 100], [180, 100]),
        ("second", [106, 100], [180, 110]),
    ],
)
def test_of_two_annotators_marks_the_chosen_ones_are_used(
    tmp_path: Path, by: str, left_px: list[float], right_px: list[float]
) -> None:
    frame = [[[100, 100], [106, 100]], [[180, 100], [180, 110], [180, 108]]]
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({"clip": {"hand_px": 100, "frames": {"0": frame}}}))
    assert read_truth(path, by)["clip"].wrists_px[0].tolist() == [left_px, right_px]


def test_marks_that_differ_by_over_half_of_the_limit_are_unsure_and_still_count(tmp_path: Path) -> None:
    frames = {"0": [[[100, 100], [107, 100]], [[180, 100], [180, 108]]], "1": [[[100, 100]], "partly"]}
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({"clip": {"hand_px": 100, "frames": frames}}))
    clip = read_truth(path)["clip"]
    found = judged(np.stack([hands((100, 100), (180, 130)), hands((100, 100), None)]), clip)
    assert found.unsure.tolist() == [[False, True], [False, False]]
    row = summarised([found])
    assert (row["wrists %"], row["sure %"], row["unsure"]) == (pytest.approx(200 / 3), 100, 1)


def test_the_marks_of_the_touching_clips_can_be_read() -> None:
    truth = read_truth(Path(__file__).parents[1] / "data/touching_truth.json")
    assert sum(len(clip.at) for clip in truth.values()) == 163
    assert sum(np.isfinite(clip.spread_px).sum() for clip in truth.values()) == 141


def test_invalid_marks_are_refused(tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_text('{"clip": [1, 2]}')
    with pytest.raises(TruthError, match="marked wrists"):
        read_truth(tmp_path / "truth.json")
    (tmp_path / "truth.json").write_text('{"clip": {"hand_px": 100, "frames": {"0": [[100, 100], null]}}}')
    with pytest.raises(TruthError, match="marked wrists"):
        read_truth(tmp_path / "truth.json")
