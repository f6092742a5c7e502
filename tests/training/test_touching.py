# SPDX-License-Identifier: GPL-3.0-or-later
"""Touching pairs: in every way, without intersecting, with the right sides and with labels that match the meshes."""

from functools import lru_cache

import pytest
import torch
from torch import Tensor

from inference_core.hand_model.load import load_open_hand
from inference_core.shared.skeleton import LEFT, RIGHT
from training.synthetic.generate import load_kit
from training.synthetic.meshes import load_scene_mesh, with_forearms
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.touching.body import OWN_EYES
from training.synthetic.touching.motion import touching_motion
from training.synthetic.touching.pairs import TouchingPairs, touching_pairs
from training.synthetic.touching.parts import (
    NOTHING,
    PARTS,
    TOUCHING_M,
    nearest_parts,
    part_gaps_m,
    touched_parts,
    vertex_parts,
)
from training.synthetic.touching.ways import WAYS, weights_of
from training.synthetic.two_hands import draw_betas

EACH = 4


@lru_cache(maxsize=1)
def made() -> tuple[TouchingPairs, Tensor, Tensor]:
    """EACH pairs of every way, their arms (B, S, A, 3) and the gaps of their parts (B, P, P)."""
    kit = load_kit(torch.device("cpu"))
    random = Randomness(3, torch.arange(EACH * len(WAYS)))
    betas = draw_betas(random)
    way = torch.arange(len(WAYS)).repeat_interleave(EACH)
    with torch.no_grad():
        pairs = touching_pairs(random, kit.model, kit.spheres, betas, way)
        posed = kit.model.with_shape(betas).with_pose(pairs.rotations(kit.model), pairs.wrist_m)
        arms_m = with_forearms(kit.mesh, posed, pairs.bend)
        return pairs, arms_m, part_gaps_m(kit.mesh, arms_m)


@pytest.mark.parametrize("number", range(len(WAYS)), ids=[way.name for way in WAYS])
def test_hands_touch_without_intersecting(number: int) -> None:
    pairs, _, gaps_m = made()
    rows = pairs.way == number
    nearest_m = gaps_m[rows].flatten(1).amin(1)
    # Forearms are bent after the hands have met: a wrist's skin may come to lie a few millimetres off.
    assert (nearest_m < TOUCHING_M).float().mean() >= (0.3 if "wrist" in WAYS[number].name else 0.8), (
        "they touch"
    )
    assert pairs.gap_m[rows].min() > -0.005, "and give way"


def test_nearly_all_pairs_touch() -> None:
    nearest_m = made()[2].flatten(1).amin(1)
    assert (nearest_m < TOUCHING_M).float().mean() > 0.94


def test_the_named_parts_touch() -> None:
    pairs, arms_m, _ = made()
    touched = touched_parts(
        load_kit(torch.device("cpu")).mesh, arms_m, torch.ones(len(arms_m), dtype=torch.bool)
    )
    for number, way in enumerate(WAYS):
        rows = touched[pairs.way == number]
        named = {PARTS.index(place.split()[0]) for place, _ in way.meets if place.split()[0] in PARTS}
        if named and "wrist" not in way.name:
            assert (rows[..., sorted(named)] != NOTHING).any(-1).any(1).float().mean() > 0.7, way.name


def test_labels_agree_with_the_distances_of_all_vertices() -> None:
    _, arms_m, gaps_m = made()
    part = vertex_parts(load_open_hand().tensors(), load_scene_mesh())
    for row in range(0, len(arms_m), 17):
        distance_m = torch.cdist(arms_m[row, LEFT], arms_m[row, RIGHT])
        for left, right in ((0, 0), (2, 3), (3, 3), (4, 4), (6, 6)):
            nearest_m = distance_m[part == left][:, part == right].min()
            told_m = gaps_m[row, left, right]
            # Told along the normal of some of the vertices: never nearer than it is, but for what lies inside.
            assert told_m < 0 or told_m > 0.010 or nearest_m < told_m + 0.006
            assert nearest_m > 0.002 or told_m < 0.006


def test_rotations_are_valid_and_angles_within_limits() -> None:
    pairs, _, _ = made()
    for turns in (pairs.turns, pairs.bend):
        torch.testing.assert_close(turns @ turns.mT, torch.eye(3).expand_as(turns), atol=1e-5, rtol=0)
        torch.testing.assert_close(torch.linalg.det(turns), torch.ones(turns.shape[:2]))
    low, high = load_kit(torch.device("cpu")).model.joint_limits_rad.unbind(-1)
    assert (pairs.angles_rad >= low - 1e-5).all() and (pairs.angles_rad <= high + 1e-5).all()


def test_a_pair_does_not_depend_on_its_batch() -> None:
    kit = load_kit(torch.device("cpu"))

    def pairs(index: Tensor) -> TouchingPairs:
        return touching_pairs(Randomness(5, index), kit.model, kit.spheres, torch.zeros(len(index), 2, 10))

    with torch.no_grad():
        many, one = pairs(torch.arange(9)), pairs(torch.tensor([4]))
    torch.testing.assert_close(one.wrist_m[0], many.wrist_m[4], atol=1e-4, rtol=0)
    torch.testing.assert_close(one.angles_rad[0], many.angles_rad[4], atol=1e-3, rtol=0)


def test_settings_choose_the_ways_and_views() -> None:
    kit = load_kit(torch.device("cpu"))
    others = [way.name for way in WAYS if way.name != "clasp"]
    settings = Settings(ways=tuple((name, 0.0) for name in others), own_eyes=1.0)
    with torch.no_grad():
        pairs = touching_pairs(
            Randomness(5, torch.arange(6)), kit.model, kit.spheres, torch.zeros(6, 2, 10), settings=settings
        )
    assert {WAYS[number].name for number in pairs.way.tolist()} == {"clasp"}
    assert (pairs.view == OWN_EYES).all()
    with pytest.raises(KeyError, match="no such way"):
        weights_of([("no such way", 1.0)])


def test_touched_parts_name_the_nearest_part_of_the_other_hand() -> None:
    gaps_m = torch.full((1, len(PARTS), len(PARTS)), torch.inf)
    thumb, palm, index = (PARTS.index(name) for name in ("thumb", "palm", "index"))
    gaps_m[0, thumb, palm], gaps_m[0, thumb, index], gaps_m[0, index, index] = 0.001, 0.002, 0.004
    touched = nearest_parts(gaps_m)[0]
    assert touched[LEFT, thumb] == palm and touched[RIGHT, palm] == thumb and touched[RIGHT, index] == thumb
    assert touched[LEFT, index] == NOTHING and (touched[LEFT] != NOTHING).sum() == 1


@pytest.mark.parametrize("name", ["palms rubbed", "fingers laced", "clasp"])
def test_moving_hands_keep_touching(name: str) -> None:
    kit = load_kit(torch.device("cpu"))
    way = torch.tensor([[one.name for one in WAYS].index(name)])
    time_s = torch.arange(40) / 25
    with torch.no_grad():
        moving = touching_motion(
            Randomness(1, torch.tensor([5])), kit.model, kit.spheres, torch.zeros(1, 2, 10), time_s, way
        )
    assert moving.gap_m.max() < 0.003 and moving.gap_m.min() > -0.006
    place_m = (moving.turns[:, RIGHT].mT @ (moving.wrist_m[:, LEFT])[..., None])[..., 0]
    assert (place_m - place_m[0]).norm(dim=-1).max() > 0.004, "and move on each other"
    assert (place_m[1:] - place_m[:-1]).norm(dim=-1).max() < 0.012, "without leaps"
