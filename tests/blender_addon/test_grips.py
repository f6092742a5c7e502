# SPDX-License-Identifier: GPL-3.0-or-later
"""Props in hands: nothing jumps when a grip begins, changes hands or ends, and a second hand keeps its place."""

import numpy as np
import pytest

from blender_addon.props.grips import Grip, held
from inference_core.shared import quaternions

FRAMES = range(1, 101)
LEFT, RIGHT = 0, 1


def wandering(seed: int) -> np.ndarray:
    """(F, 4, 4) a smooth rigid motion."""
    rng = np.random.default_rng(seed)
    time = np.arange(len(FRAMES))[:, None] / 24
    found = np.tile(np.eye(4), (len(FRAMES), 1, 1))
    found[:, :3, 3] = 0.2 * np.sin(rng.uniform(0.3, 1.5, 3) * time + rng.uniform(0, 6, 3))
    turns = 0.6 * np.sin(rng.uniform(0.3, 1.5, 3) * time + rng.uniform(0, 6, 3))
    found[:, :3, :3] = quaternions.to_matrix(quaternions.exp(turns))
    return found


HANDS = {LEFT: wandering(1), RIGHT: wandering(2)}
TABLE = np.tile(np.eye(4), (len(FRAMES), 1, 1))


def jumps_mm(matrices: np.ndarray) -> np.ndarray:
    """How far points 10 cm off the middle are from where the frames on both sides would have them."""
    points = matrices[:, :3, :3] @ (0.1 * np.eye(3)) + matrices[:, :3, 3:]
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1).max(-1)
    return 1000 * steps


@pytest.mark.parametrize("second", [(50, 80), (61, 80), (70, 80)])
def test_a_prop_is_passed_on_without_a_jump(second: tuple[int, int]) -> None:
    found = held(FRAMES, TABLE, HANDS, [Grip(LEFT, 20, 60), Grip(RIGHT, *second)], 8)
    fastest = max(jumps_mm(hand).max() for hand in found.hands.values())
    assert np.abs(found.prop[:19] - TABLE[:19]).max() == 0
    assert np.abs(found.prop[19] - TABLE[19]).max() < 1e-9
    assert jumps_mm(found.prop).max() < fastest * 3 + 1  # the prop lies off the wrist, and swings with it
    within = np.linalg.inv(found.hands[LEFT][19:60]) @ found.prop[19:60]
    assert np.abs(within - within[0]).max() < 1e-9
    within = np.linalg.inv(found.hands[RIGHT][second[0] - 1 : 80]) @ found.prop[second[0] - 1 : 80]
    assert np.abs(within - within[0]).max() < 1e-9
    assert np.abs(found.prop[80:] - found.prop[79]).max() < 1e-9


def test_the_second_hand_returns_to_its_own_motion_within_the_blend() -> None:
    found = held(FRAMES, TABLE, HANDS, [Grip(LEFT, 10, 90), Grip(RIGHT, 30, 60)], 8)
    assert found.moved[RIGHT][30:59].all() and not found.moved[LEFT].any()
    assert np.abs(found.hands[RIGHT][68:] - HANDS[RIGHT][68:]).max() < 1e-12
    off = np.linalg.norm(found.hands[RIGHT][:, :3, 3] - HANDS[RIGHT][:, :3, 3], axis=-1)
    assert off[29] < 1e-9 and off[59] > 0.01
    assert np.abs(np.diff(off[58:70])).max() < 0.25 * off[59] + 1e-3


def test_a_hand_follows_an_object_with_its_own_motion() -> None:
    moving = wandering(7)
    found = held(FRAMES, moving, HANDS, [Grip(RIGHT, 10, 40, object_follows=False)], 5)
    assert np.abs(found.prop - moving).max() < 1e-12
    within = np.linalg.inv(found.hands[RIGHT][9:40]) @ moving[9:40]
    assert np.abs(within - within[0]).max() < 1e-9
    assert np.abs(found.hands[RIGHT][:9] - HANDS[RIGHT][:9]).max() == 0


def test_a_hand_returns_to_its_own_motion_at_once_where_the_footage_is_cut() -> None:
    found = held(FRAMES, TABLE, HANDS, [Grip(LEFT, 10, 90), Grip(RIGHT, 30, 60)], 8, cuts=np.array([62.5]))
    own = np.abs(found.hands[RIGHT] - HANDS[RIGHT]).max((1, 2))
    assert own[61] > 0.01 and own[62:].max() == 0
