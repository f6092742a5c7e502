# SPDX-License-Identifier: GPL-3.0-or-later
"""The time offset between hands and body by wrist motion, and the arm that reaches: laws on made-up motion."""

import numpy as np
import pytest

from blender_addon.body.offset import Wrists, find_offset
from blender_addon.body.reach import Joints, beyond, carried_turns, reached
from blender_addon.body.shares import shares
from inference_core.shared import quaternions
from inference_core.shared.errors import RequestError


def wandering(frames: np.ndarray, seed: int = 3, rate: float = 24.0) -> np.ndarray:
    """(K, 2, 3) wrists that never repeat, at frames of that rate."""
    rng = np.random.default_rng(seed)
    time_s = frames[:, None, None] / rate
    total = np.zeros((len(frames), 2, 3))
    for _ in range(6):
        speed, phase = rng.uniform(0.3, 3.0, (2, 3)), rng.uniform(0, 6.3, (2, 3))
        total += 0.05 * np.sin(speed * time_s + phase)
    return total + [[[0.2, 0, 0]], [[-0.2, 0, 0]]][0]


@pytest.mark.parametrize("spacing", [1.0, 0.8, 24 / 60])
@pytest.mark.parametrize("offset", [37.0, -5.25, 12.6])
def test_the_offset_does_not_depend_on_rate_scale_or_camera(spacing: float, offset: float) -> None:
    body_frames = np.arange(1.0, 241.0)
    take_frames = np.arange(1.0, 120.0, spacing)
    turn = quaternions.to_matrix(quaternions.exp(np.array([0.4, -1.1, 0.7])))
    taken = 1.7 * wandering(take_frames + offset) @ turn.T + [1.0, 2.0, -3.0]
    body = wandering(body_frames)
    found = find_offset(Wrists(take_frames, taken), Wrists(body_frames, body))
    assert found.frames == pytest.approx(offset, abs=0.3)
    assert found.sure > 0.6


def test_a_cut_of_the_footage_does_not_tell_the_offset() -> None:
    """Cut to a farther camera and back, with unknown places at the cuts: only motion in the pieces counts."""
    body_frames, frames = np.arange(1.0, 241.0), np.arange(1.0, 120.0)
    taken = wandering(frames + 37)
    taken[40:43] += [0.5, 0.0, 2.0]
    at = np.insert(frames, [40, 43], [40.5, 43.5])
    cut = np.insert(taken, [40, 43], np.nan, axis=0)
    found = find_offset(Wrists(at, cut), Wrists(body_frames, wandering(body_frames)))
    whole = find_offset(Wrists(frames, wandering(frames + 37)), Wrists(body_frames, wandering(body_frames)))
    assert found.frames == pytest.approx(whole.frames, abs=0.05)
    assert found.sure > 0.9 * whole.sure


def test_repetitive_and_unrelated_motion_is_reported_as_unsure() -> None:
    frames = np.arange(0.0, 200.0)
    swing = np.zeros((200, 2, 3))
    swing[:, 0, 1], swing[:, 1, 1] = np.sin(frames / 4), -0.7 * np.sin(frames / 4 + 0.4)
    swing += [[0.2, 0, 0], [-0.2, 0, 0]]
    assert find_offset(Wrists(frames[:100], swing[50:150]), Wrists(frames, swing)).sure < 0.3
    other = find_offset(
        Wrists(frames[:100], wandering(frames[:100], 8)), Wrists(frames, wandering(frames, 4))
    )
    assert other.sure < 0.6


def test_still_or_short_motion_has_no_offset() -> None:
    frames = np.arange(100.0)
    still = np.zeros((100, 2, 3))
    with pytest.raises(RequestError, match="by hand"):
        find_offset(Wrists(frames, still), Wrists(frames, wandering(frames)))
    with pytest.raises(RequestError, match="by hand"):
        find_offset(Wrists(frames[:1], wandering(frames[:1])), Wrists(frames, wandering(frames)))


def test_an_arm_keeps_its_lengths_and_reports_what_is_out_of_reach() -> None:
    rng = np.random.default_rng(5)
    shoulder = np.zeros((50, 3))
    elbow = np.tile([0.3, 0.02, 0.0], (50, 1))
    wrist = np.tile([0.55, 0.0, 0.05], (50, 1))
    body = Joints(shoulder, elbow, wrist)
    goal = rng.normal(0.05, 0.4, (50, 3))
    poles = np.tile([0.2, 1.0, 0.3], (50, 1))
    new = reached(body, goal, poles)
    far = beyond(body, goal)
    lengths = [np.linalg.norm(part, axis=-1) for part in (new.elbow - shoulder, new.wrist - new.elbow)]
    assert np.allclose(lengths[0], np.linalg.norm(elbow[0])) and np.allclose(
        lengths[1], np.linalg.norm(wrist[0] - elbow[0])
    )
    assert np.allclose(np.linalg.norm(new.wrist - goal, axis=-1)[far == 0], 0, atol=1e-5)
    assert np.allclose(np.linalg.norm(new.wrist - goal, axis=-1), far, atol=1e-5)
    same = np.tile(np.eye(3), (50, 1, 1))
    upper, fore = carried_turns((same, same), body, poles, new, poles)
    assert np.allclose(np.einsum("kab,kb->ka", upper, elbow), new.elbow, atol=1e-6)
    assert np.allclose(np.einsum("kab,kb->ka", fore, wrist - elbow), new.wrist - new.elbow, atol=1e-6)


def test_shares_fade_only_towards_existing_motion() -> None:
    inside = np.array([False] * 3 + [True] * 10 + [False] * 3)
    found = shares(inside, 3)
    assert (found[:3] == 0).all() and (found[6:10] == 1).all() and 0 < found[3] < found[4] < 1
    assert (shares(np.ones(5, bool), 3, (False, False)) == 1).all()
