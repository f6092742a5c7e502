# SPDX-License-Identifier: GPL-3.0-or-later
"""A range of a take solved again: what stays, the effect of corrections, invalid requests."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference_core.__main__ import main
from inference_core.fitting.capsules import fit_capsules, nearest_points
from inference_core.fitting.contact import TIP_CAPSULES
from inference_core.fitting.parameterisation import make_parameterisation
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_hand_model
from inference_core.shared.corrections import Correction, corrections_from, corrections_text
from inference_core.shared.errors import RequestError, TakeError
from inference_core.shared.presence import ABSENT
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.shared.take import Take, load_take, part_of_take, save_take, timed_arrays
from inference_core.solve_again import solved_again
from inference_core.solve_request import span_of
from tests.inference_core.solve_scenes import Shot, make_shot, meeting_shot, take_of

COUNT = 110
ROWS = range(50, 80)
INDEX_TIP = 8


@pytest.fixture(scope="module")
def model() -> HandModel:
    return load_hand_model()


@pytest.fixture(scope="module")
def shot(model: HandModel) -> Shot:
    return meeting_shot(model, COUNT)


@pytest.fixture(scope="module")
def take(model: HandModel, shot: Shot) -> Take:
    return take_of(model, shot, shot.tracks)


def test_without_corrections_the_range_hardly_changes_and_the_rest_not_at_all(
    model: HandModel, take: Take
) -> None:
    again = solved_again(take, (), ROWS, model)
    assert apart_mm(again, take).max() < 0.1
    for name in (
        "root_wxyz",
        "pose_wxyz",
        "wrist_cam_m",
        "joints_cam_m",
        "confidence",
        "present",
        "landmarks_px",
    ):
        for outside in (slice(0, ROWS.start), slice(ROWS.stop, None)):
            np.testing.assert_array_equal(getattr(again, name)[outside], getattr(take, name)[outside])


def test_beside_a_cut_a_range_is_solved_as_if_its_piece_were_the_whole_take(
    model: HandModel, take: Take
) -> None:
    said = [Correction("touch", 61, 65, left="index", right="index")]
    cut = replace(take, meta={**take.meta, "cuts": [66]})
    rows = span_of(cut, None, None, said)
    again = solved_again(cut, said, rows, model)
    alone = solved_again(part_of_take(take, 0, 66), said, rows, model)
    assert rows == range(51, 66) and apart_mm(alone, part_of_take(take, 0, 66))[61:].min() > 5
    for name, values in timed_arrays(again).items():
        np.testing.assert_allclose(values[:66], getattr(alone, name), atol=1e-4, err_msg=name)
        np.testing.assert_array_equal(values[66:], getattr(take, name)[66:], err_msg=name)


def test_hands_taken_apart_stay_where_they_are(model: HandModel) -> None:
    shot = make_shot(model, 40, seed=4, apart_m=0.05)
    take = take_of(model, shot, shot.tracks)
    assert take.contact is not None and take.contact.max() > 0.5
    assert apart_mm(solved_again(take, (), range(10, 30), model), take).max() < 0.1


def test_a_correction_moves_nothing_far_from_it(model: HandModel, take: Take) -> None:
    said = Correction("touch", 40, 44, left="index", right="index")
    moved_mm = apart_mm(solved_again(take, [said], range(30, 90), model), take)
    assert moved_mm[40:45].min() > 5
    assert moved_mm[70:].max() < 0.1


def test_a_take_that_fits_its_evidence_badly_moves_by_its_corrections_only(
    model: HandModel, take: Take
) -> None:
    time = np.arange(COUNT)
    off_m = 0.005 * np.stack([np.sin(time / 9), np.cos(time / 7), np.sin(time / 11 + 1)], -1)[:, None]
    other = replace(
        take,
        wrist_cam_m=(take.wrist_cam_m + off_m).astype(np.float32),
        joints_cam_m=(take.joints_cam_m + off_m[:, :, None]).astype(np.float32),
    )
    assert apart_mm(solved_again(other, (), ROWS, model), other).max() < 0.1
    said = Correction("touch", 40, 44, left="index", right="index")
    again = solved_again(other, [said], range(30, 90), model)
    assert tips_apart_mm(again)[40:45].max() < 8
    assert apart_mm(again, other)[55:].max() < 20
    assert apart_mm(again, other)[70:].max() < 1


def test_corrected_fingertips_touch_and_the_projection_stays(model: HandModel, take: Take) -> None:
    said = [Correction("touch", 55, 70, left="index", right="index")]
    again = solved_again(take, said, span_of(take, None, None, said), model)
    assert np.median(tips_apart_mm(take)[55:71]) > 20
    assert tips_apart_mm(again)[55:71].max() < 8
    assert np.linalg.norm(in_picture(again) - in_picture(take), axis=-1)[55:71].mean() < 12


def test_a_kept_hand_stays_and_the_other_one_moves_to_it(model: HandModel, take: Take) -> None:
    said = [
        Correction("keep", 0, COUNT, hand="left"),
        Correction("touch", 55, 70, left="index", right="index"),
    ]
    again = solved_again(take, said, ROWS, model)
    np.testing.assert_array_equal(again.joints_cam_m[:, LEFT], take.joints_cam_m[:, LEFT])
    assert tips_apart_mm(again)[58:68].max() < 8


def test_an_edit_keeps_rotations_that_the_solve_cannot_represent(model: HandModel, take: Take) -> None:
    turned = take.pose_wxyz.copy()
    turned[60:66, LEFT, 1] = [np.cos(0.3), 0.0, np.sin(0.3), 0.0]  # an interphalangeal joint, sideways
    edited = replace(take, pose_wxyz=turned, wrist_cam_m=take.wrist_cam_m + np.float32(0.01))
    again = solved_again(edited, [Correction("follow", 40, 90)], ROWS, model)
    assert np.linalg.norm(again.wrist_cam_m - edited.wrist_cam_m, axis=-1).max() < 0.004
    assert np.abs((again.pose_wxyz[60:66, LEFT, 1] * turned[60:66, LEFT, 1]).sum(-1)).min() > 0.995


def test_a_pinned_pose_is_kept_and_its_neighbours_lead_to_it(model: HandModel, take: Take) -> None:
    wrist_m = (take.wrist_cam_m[65, RIGHT] + [0.02, 0, 0]).tolist()
    said = Correction(
        "pose",
        65,
        65,
        hand="right",
        root_wxyz=tuple(take.root_wxyz[65, RIGHT].tolist()),
        pose_wxyz=tuple(tuple(turn) for turn in take.pose_wxyz[65, RIGHT].tolist()),
        wrist_cam_m=tuple(wrist_m),
        falloff=8,
    )
    again = solved_again(take, [said], ROWS, model)
    np.testing.assert_allclose(again.wrist_cam_m[65, RIGHT], wrist_m, atol=1e-5)
    moved_mm = 1000 * (again.wrist_cam_m - take.wrist_cam_m)[:, RIGHT, 0]
    assert np.abs(np.diff(moved_mm)).max() < 8
    assert np.abs(moved_mm[: ROWS.start]).max() == 0


def test_swapped_sides_are_swapped_back(model: HandModel, shot: Shot, take: Take) -> None:
    wrong = shot.tracks
    arrays = {name: getattr(wrong, name).copy() for name in ("landmarks_px", "world_m")}
    for values in arrays.values():
        values[ROWS.start : ROWS.stop] = values[ROWS.start : ROWS.stop, ::-1]
    mistaken = take_of(model, shot, replace(wrong, **arrays))
    said = [Correction("sides", ROWS.start, ROWS.stop - 1)]
    again = solved_again(mistaken, said, range(ROWS.start - 10, ROWS.stop + 10), model)
    inner = slice(ROWS.start + 4, ROWS.stop - 4)
    assert apart_mm(mistaken, take)[inner].min() > 50
    assert apart_mm(again, take)[inner].max() < 20
    np.testing.assert_array_equal(again.landmarks_px[inner], take.landmarks_px[inner])
    twice = solved_again(again, (), range(ROWS.start - 10, ROWS.stop + 10), model)
    assert apart_mm(twice, again)[inner].max() < 10


def test_a_hand_can_be_removed_and_placed_in_a_box(model: HandModel, take: Take) -> None:
    away = solved_again(take, [Correction("absent", 50, 79, hand="right")], ROWS, model)
    assert (away.present[ROWS.start : ROWS.stop, RIGHT] == ABSENT).all()
    assert np.isnan(away.joints_cam_m[ROWS.start : ROWS.stop, RIGHT]).all()
    points = take.landmarks_px[60, RIGHT, :, :2]
    (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
    box = (left, top, right, bottom)
    back = solved_again(away, [Correction("box", 60, 62, hand="right", box_px=box)], range(55, 68), model)
    assert (back.present[60:63, RIGHT] != ABSENT).all()
    found = in_picture(back)[60, RIGHT]
    assert (found > np.array(box[:2]) - 25).all() and (found < np.array(box[2:]) + 25).all()


@pytest.mark.parametrize(("parts", "meet"), [("any", False), ("index", False), ("thumb", True)])
def test_of_a_touch_and_its_denial_the_later_one_counts(
    model: HandModel, take: Take, parts: str, meet: bool
) -> None:
    touched = solved_again(take, [Correction("touch", 55, 70, left="index", right="index")], ROWS, model)
    denied = solved_again(touched, [Correction("apart", 50, 75, left=parts, right=parts)], ROWS, model)
    assert (np.median(tips_apart_mm(denied)[57:69]) < 10) == meet
    if parts == "any":
        again = solved_again(denied, [Correction("touch", 55, 70, left="index", right="index")], ROWS, model)
        assert tips_apart_mm(again)[57:69].max() < 8


def test_ruling_out_contact_is_stored_in_the_take(model: HandModel, take: Take) -> None:
    touching = solved_again(take, [Correction("touch", 50, 79, left="index", right="index")], ROWS, model)
    assert [item["kind"] for item in touching.meta["corrections"]] == ["touch"]
    again = solved_again(touching, (), ROWS, model)
    assert tips_apart_mm(again)[58:72].max() < 8
    denied = solved_again(take, [Correction("apart", 50, 79, left="any", right="any")], ROWS, model)
    assert denied.contact is not None and denied.contact[58:72].max() < 1e-6


def test_the_command_solves_a_saved_take_again(tmp_path: Path, take: Take) -> None:
    source, out, file = tmp_path / "a.npz", tmp_path / "b.npz", tmp_path / "said.json"
    save_take(take, source)
    file.write_text(corrections_text([Correction("touch", 60, 64, left="index", right="index")]))
    assert main(["solve", str(source), "--corrections", str(file), "--out", str(out)]) == 0
    assert tips_apart_mm(load_take(out))[60:65].max() < 8
    assert main(["solve", str(source), "--range", "60-50", "--out", str(out)]) == 2
    assert main(["solve", str(source), "--out", str(out)]) == 2


def test_a_take_without_evidence_is_refused(model: HandModel, take: Take) -> None:
    old = replace(take, evidence_present=None, evidence_world_m=None, evidence_world_scale=None)
    with pytest.raises(RequestError, match="older Duohand"):
        solved_again(old, (), ROWS, model)


def test_damaged_evidence_is_refused(tmp_path: Path, take: Take) -> None:
    assert take.evidence_rotations_wxyz is not None
    with pytest.raises(TakeError, match="evidence_world_m"):
        save_take(replace(take, evidence_world_m=None), tmp_path / "t.npz")
    with pytest.raises(TakeError, match="unit length"):
        save_take(
            replace(take, evidence_rotations_wxyz=take.evidence_rotations_wxyz * np.float16(0.5)),
            tmp_path / "t.npz",
        )
    with pytest.raises(TakeError, match="evidence_present"):
        save_take(replace(take, evidence_present=np.full_like(take.present, 3)), tmp_path / "t.npz")


def test_stored_evidence_takes_less_than_a_kilobyte_per_frame(take: Take) -> None:
    assert 0 < take.evidence_bytes < 1000 * take.frame_count


@pytest.mark.parametrize(
    "said",
    [
        {"kind": "touch", "first": 5, "last": 2},
        {"kind": "box", "first": 1, "last": 2, "hand": "both", "box_px": [0, 0, 9, 9]},
        {"kind": "box", "first": 1, "last": 2, "hand": "left"},
        {"kind": "pose", "first": 1, "last": 2, "hand": "left"},
        {"kind": "fly", "first": 1, "last": 2},
        {"kind": "touch", "first": 1, "last": 2, "force": 3},
        {"kind": "touch", "first": 1, "last": 2, "left": "elbow"},
        {"kind": "touch", "first": 1, "last": 2, "falloff": -1},
        {"first": 1},
        7,
    ],
)
def test_invalid_corrections_are_refused_by_number(said: object) -> None:
    with pytest.raises(RequestError, match="Correction 1"):
        corrections_from(json.dumps({"corrections": [said]}))


def test_corrections_survive_json() -> None:
    said = (
        Correction("touch", 1, 9, left="thumb", right="palm", falloff=0),
        Correction("box", 3, 3, hand="left", box_px=(1.0, 2.0, 30.0, 40.0)),
        Correction("keep", 0, 5, hand="right"),
    )
    assert corrections_from(corrections_text(said)) == said


def apart_mm(one: Take, other: Take) -> np.ndarray:
    """(T,) largest distance of a joint."""
    return 1000 * np.linalg.norm(one.joints_cam_m - other.joints_cam_m, axis=-1).max((1, 2))


def tips_apart_mm(take: Take) -> np.ndarray:
    """(T,) gap between the skins of both index fingers' last phalanges."""
    parameterisation = make_parameterisation(load_hand_model(), take.betas.astype(np.float64))
    capsules = fit_capsules(load_hand_model(), parameterisation)
    tip = TIP_CAPSULES[1]
    left, right = (capsules.ends_m(take.joints_cam_m[:, side].astype(np.float64)) for side in (0, 1))
    return 1000 * nearest_points(left, right, capsules).gap_m[:, tip, tip]


def accelerations_mm(take: Take) -> np.ndarray:
    return 1000 * np.linalg.norm(np.diff(take.wrist_cam_m, 2, axis=0), axis=-1)


def in_picture(take: Take) -> np.ndarray:
    seen = np.einsum("ij,tskj->tski", take.K, take.joints_cam_m)
    return seen[..., :2] / seen[..., 2:]
