# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of the shot solve: measures of perfect and of wrong solutions, clips that are the same each time."""

import dataclasses
from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.shot import solve_shot
from inference_core.fitting.solution import ShotSolution
from inference_core.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix
from inference_core.hand_model.load import load_hand_model
from inference_core.shared.skeleton import LEFT, MIDDLE_MCP_21, RIGHT
from training.evaluation.known_evidence import drawn_evidence
from training.evaluation.known_motion import CHOOSING, KEPT, KINDS, known_motion
from training.evaluation.solve import table
from training.evaluation.solve_measures import ROWS, Judged, summary

_HAND = load_hand_model()
_RUB, _STILL = KINDS.index("rub"), KINDS.index("still")

known = cache(known_motion)


@cache
def _true_solution(number: int) -> ShotSolution:
    """The clip's own motion in a record of the solve."""
    clip = known(number)
    evidence = drawn_evidence(clip)
    times = clip.time_s.double().numpy()
    base = solve_shot(evidence.tracks, clip.camera, times, _HAND, SolveSettings(0.0, contact=False))
    wxyz = matrix_to_quaternion(clip.posed.rotations.double()).numpy()
    return dataclasses.replace(
        base,
        betas=clip.posed.shaped.betas[0].numpy(),
        root_wxyz=wxyz[:, :, 0],
        pose_wxyz=wxyz[:, :, 1:],
        wrist_cam_m=clip.joints_m[:, :, 0],
        joints_cam_m=clip.joints_m,
    )


def _row(number: int, solution: ShotSolution) -> dict[str, float]:
    return summary([Judged.of(known(number), _HAND, solution, says_contact=False)])


def test_the_true_motion_is_judged_perfect():
    row = _row(_RUB, _true_solution(_RUB))
    assert row["joints"] < 0.01 and row["mrrpe"] < 0.01 and row["distance"] < 0.01 and row["fit"] < 0.01
    assert row["gap"] < 3 and row["recall"] == 1 and row["sides"] == 1 and row["overlap_largest"] < 5
    assert row["amplitude"] == pytest.approx(1, abs=1e-3) or np.isnan(row["amplitude"])
    assert _row(_STILL, _true_solution(_STILL))["drift"] < 0.01


def test_moving_a_hand_along_its_ray_affects_distance_and_contact_only():
    true = _true_solution(_RUB)
    farther = np.array([1.0, 1.2])[None, :, None]
    moved_m = (true.wrist_cam_m * farther)[:, :, None]
    joints_m = true.joints_cam_m - true.wrist_cam_m[:, :, None] + moved_m
    moved = dataclasses.replace(true, wrist_cam_m=moved_m[:, :, 0], joints_cam_m=joints_m)
    row = _row(_RUB, moved)
    assert row["distance_bias"] > 5 and row["gap"] > 40 and row["recall"] == 0
    assert row["joints"] < 0.01 and row["mrrpe_touching"] > 50


def test_a_hand_behind_the_open_wrist_of_the_other_is_not_inside_it():
    true = _true_solution(_RUB)
    arms_m = true.joints_cam_m - true.joints_cam_m[:, :, :1]
    turned_m, root, wrist_m = arms_m.copy(), true.root_wxyz.copy(), true.wrist_cam_m.copy()
    for t, (own, other) in enumerate(arms_m):
        along = other[MIDDLE_MCP_21] / np.linalg.norm(other[MIDDLE_MCP_21])
        turn = Rotation.align_vectors(along, own[MIDDLE_MCP_21])[0]
        turned_m[t, LEFT] = turn.apply(own)
        root[t, LEFT] = matrix_to_quaternion(turn.as_matrix() @ quaternion_to_matrix(root[t, LEFT]))
        tip_m = turned_m[t, LEFT][(turned_m[t, LEFT] @ along).argmax()]
        wrist_m[t, LEFT] = true.wrist_cam_m[t, RIGHT] - 0.03 * along - tip_m
    behind = dataclasses.replace(
        true, root_wxyz=root, wrist_cam_m=wrist_m, joints_cam_m=turned_m + wrist_m[:, :, None]
    )
    assert _row(_RUB, behind)["overlap_largest"] == 0


def test_swapped_hands_are_detected():
    true = _true_solution(_STILL)
    other = dataclasses.replace(true, joints_cam_m=true.joints_cam_m[:, ::-1].copy())
    assert _row(_STILL, other)["sides"] == 0


def test_clips_are_deterministic_with_two_of_each_kind():
    assert len(CHOOSING) + len(KEPT) >= 20 and not set(CHOOSING) & set(KEPT)
    assert {number % len(KINDS) for number in KEPT} == set(range(len(KINDS)))
    first, again = drawn_evidence(known(_RUB)), drawn_evidence(known_motion(_RUB))
    for part in ("tracks", "predictions"):
        for name, values in vars(getattr(first, part)).items():
            np.testing.assert_array_equal(values, getattr(getattr(again, part), name), err_msg=name)


def test_the_table_has_every_measure_for_each_method():
    judged = [Judged.of(known(_RUB), _HAND, _true_solution(_RUB), says_contact=True)]
    rows = table({"one": judged, "other": judged})
    assert list(rows) == list(ROWS.values()) and all(set(row) == {"one", "other"} for row in rows.values())
