# SPDX-License-Identifier: GPL-3.0-or-later
"""What an animator did to a skin, when its take is loaded again or another take of another size replaces it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from inference_core.shared.skeleton import RIGHT
from inference_core.shared.take import save_take
from tests.blender_addon.scenes import empty_scene, hand, load, made, skin_vertices


@pytest.fixture
def right() -> Any:
    empty_scene()
    return hand(load("two_hands"), RIGHT)


def load_larger(folder: Path, size: float = 1.1, **changed: Any) -> None:
    """Load the same footage's take in place, with hands of another size."""
    take = made("two_hands")
    rest = {"rest_joints_m": take.rest_joints_m * size, "rest_vertices_m": take.rest_vertices_m * size}
    save_take(replace(take, **rest, **changed), folder / "again.npz")
    assert bpy.ops.duohand.load_take(filepath=str(folder / "again.npz")) == {"FINISHED"}


def points(part: Any) -> np.ndarray:
    found = np.empty(3 * len(part), np.float32)
    part.foreach_get("co", found)
    return found.reshape(-1, 3)


def kept_meshes() -> list[Any]:
    return [mesh for mesh in bpy.data.meshes if mesh.use_fake_user]


def test_paint_seams_and_groups_of_the_animators_own_stay(right: Any, tmp_path: Path) -> None:
    skin = right.duohand.skin
    mesh = skin.data
    mesh.uv_layers[0].uv[7].vector = (0.25, 0.75)
    colours = mesh.color_attributes.new("dirt", "FLOAT_COLOR", "POINT")
    colours.data[5].color = (1, 0, 0, 1)
    mesh.edges[3].use_seam = True
    skin.vertex_groups.new(name="nails").add([1, 2], 0.5, "REPLACE")
    skin.modifiers["Armature"].use_deform_preserve_volume = True
    load_larger(tmp_path)
    mesh = skin.data
    assert tuple(mesh.uv_layers[0].uv[7].vector) == (0.25, 0.75)
    assert tuple(mesh.color_attributes["dirt"].data[5].color) == (1, 0, 0, 1)
    assert mesh.edges[3].use_seam
    assert [skin.vertex_groups["nails"].weight(index) for index in (1, 2)] == [0.5, 0.5]
    assert skin.modifiers["Armature"].use_deform_preserve_volume
    assert not kept_meshes()


def test_shape_keys_of_the_animators_own_move_along_with_a_hand_of_another_size(
    right: Any, tmp_path: Path
) -> None:
    skin = right.duohand.skin
    mine = skin.shape_key_add(name="bulge", from_mix=False)
    mine.data[5].co.z += 0.01
    mine.value = 0.5
    mine.keyframe_insert("value", frame=3)
    load_larger(tmp_path)
    keys = skin.data.shape_keys
    mine, rest = keys.key_blocks["bulge"], points(keys.key_blocks[0].data)
    offset = points(mine.data) - rest
    np.testing.assert_allclose(rest, points(skin.data.vertices), atol=1e-7)
    np.testing.assert_allclose(offset[5], (0, 0, 0.01), atol=1e-6)
    assert np.abs(np.delete(offset, 5, 0)).max() < 1e-6
    assert keys.animation_data.action is not None and mine.value == 0.5
    assert not kept_meshes()


def test_settings_of_correctives_and_their_drivers_stay(right: Any, tmp_path: Path) -> None:
    skin = right.duohand.skin
    keys = skin.data.shape_keys
    block, count = keys.key_blocks["index_02.R xx"], len(keys.key_blocks)
    block.mute, block.vertex_group = True, "index_02.R"
    driver = next(item for item in keys.animation_data.drivers if "middle_02.R xx" in item.data_path)
    driver.driver.expression, path = "0.5*x*x", driver.data_path
    load_larger(tmp_path)
    keys = skin.data.shape_keys
    block = keys.key_blocks["index_02.R xx"]
    assert block.mute and block.vertex_group == "index_02.R" and len(keys.key_blocks) == count
    assert keys.animation_data.drivers.find(path).driver.expression == "0.5*x*x"
    assert len(keys.animation_data.drivers) == count - 1


@pytest.mark.parametrize("correctives", [True, False])
def test_a_hand_of_another_size_is_as_if_loaded_new(right: Any, tmp_path: Path, correctives: bool) -> None:
    load_larger(tmp_path)
    bpy.ops.duohand.load_take(filepath=str(tmp_path / "again.npz"), correctives=correctives)
    again = right.duohand.skin.data
    bpy.ops.duohand.load_take(
        filepath=str(tmp_path / "again.npz"), correctives=correctives, existing="NEW", place="ORIGIN"
    )
    (fresh,) = [
        item
        for item in bpy.data.objects
        if item.type == "ARMATURE" and item.duohand.side == "RIGHT" and item != right
    ]
    new = fresh.duohand.skin.data
    np.testing.assert_allclose(points(again.vertices), points(new.vertices), atol=1e-7)
    assert (again.shape_keys is None) == (new.shape_keys is None) == (not correctives)
    if correctives:
        names = [key.name for key in again.shape_keys.key_blocks]
        assert sorted(names) == sorted(key.name for key in new.shape_keys.key_blocks)
        for name in names:
            both = [points(mesh.shape_keys.key_blocks[name].data) for mesh in (again, new)]
            np.testing.assert_allclose(*both, atol=1e-6)
    bpy.context.scene.frame_set(9)
    np.testing.assert_allclose(skin_vertices(right), skin_vertices(fresh), atol=1e-5)


def test_weights_in_locked_groups_stay_and_are_named(right: Any, tmp_path: Path) -> None:
    skin = right.duohand.skin
    groups = skin.vertex_groups

    def weights(name: str) -> list[float]:
        index = groups[name].index
        found = [
            [item.weight for item in skin.data.vertices[at].groups if item.group == index] for at in (3, 4)
        ]
        return [sum(item) for item in found]

    before = weights("index_02.R")
    for name, weight in (("index_01.R", 0.25), ("index_02.R", 0.75)):
        groups[name].add([3, 4], weight, "REPLACE")
    groups["index_01.R"].lock_weight = True
    load_larger(tmp_path)
    assert weights("index_01.R") == [0.25, 0.25] and groups["index_01.R"].lock_weight
    assert weights("index_02.R") == before
    assert len(kept_meshes()) == 1


def test_a_mesh_that_something_else_shows_too_does_not_change(right: Any, tmp_path: Path) -> None:
    skin = right.duohand.skin
    twin = bpy.data.objects.new("twin", skin.data)
    bpy.context.scene.collection.objects.link(twin)
    before = points(twin.data.vertices)
    load_larger(tmp_path)
    assert np.array_equal(points(twin.data.vertices), before) and skin.data != twin.data


@pytest.mark.parametrize("what", ["UVs", "colours", "shape key", None])
def test_a_skin_of_other_faces_gets_a_new_mesh_and_an_edited_one_is_kept(
    right: Any, tmp_path: Path, what: str | None
) -> None:
    skin = right.duohand.skin
    if what == "UVs":
        skin.data.uv_layers.new(name="mine")
    elif what == "colours":
        skin.data.color_attributes.new("mine", "FLOAT_COLOR", "POINT")
    elif what == "shape key":
        skin.shape_key_add(name="mine")
    load_larger(tmp_path)  # which keeps them on the hand
    old = skin.data
    load_larger(tmp_path, faces=made("two_hands").faces[:, :, ::-1].copy())
    assert skin.data != old or what is None
    assert kept_meshes() == ([] if what is None else [old])
