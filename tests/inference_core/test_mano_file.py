# SPDX-License-Identifier: GPL-3.0-or-later
"""MANO's files are read as distributed; hostile and broken ones are rejected, and nothing in them runs."""

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_core.hand_model.load import load_hand_model
from inference_core.hand_model.mano_file import read_mano, read_mano_arrays
from inference_core.hand_model.mano_pickle import read_inert
from inference_core.shared.errors import HandModelError
from tests.data.mano.official_layout import calling, official_pickle, random_hand
from tests.shared_files import reference_file

TIPS = np.array([1, 2, 3, 4, 5])
SMALL = official_pickle(random_hand(1, vertices=8, faces=4))


def write_both(folder: Path, left: dict | None = None, right: dict | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MANO_LEFT.pkl").write_bytes(official_pickle(left or random_hand(1)))
    (folder / "MANO_RIGHT.pkl").write_bytes(official_pickle(right or random_hand(2)))
    return folder


def test_every_array_is_read_as_it_was_written() -> None:
    wanted = random_hand(3)
    read = read_mano_arrays(official_pickle(wanted), "a file", TIPS)
    for field, key in (
        ("template_m", "v_template"),
        ("faces", "f"),
        ("shape_dirs", "shapedirs"),
        ("pose_dirs", "posedirs"),
        ("skin_weights", "weights"),
        ("hands_mean", "hands_mean"),
        ("hands_components", "hands_components"),
    ):
        assert np.array_equal(getattr(read, field), wanted[key]), field
    assert np.allclose(read.joint_regressor, wanted["J_regressor"], atol=0)
    assert read.parents.tolist() == [-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]


def test_arrays_in_fortran_order_are_read_correctly() -> None:
    wanted = random_hand(3)
    stored = {**wanted, "posedirs": np.asfortranarray(wanted["posedirs"])}
    assert np.array_equal(
        read_mano_arrays(official_pickle(stored), "a file", TIPS).pose_dirs, wanted["posedirs"]
    )


def test_the_toy_files_contain_the_toy_arrays() -> None:
    toy = np.load(reference_file("dir_release") / "toy_hand.npz")
    model = load_hand_model(reference_file("mano_format"))
    for side, name in enumerate(("left", "right")):
        assert np.abs(model.template_m[side] - toy[f"{name}/v_template"]).max() < 1e-6
        assert np.abs(model.shape_dirs[side] - toy[f"{name}/shapedirs"]).max() < 1e-6
        assert np.abs(model.joint_regressor[side] - toy[f"{name}/J_regressor"]).max() < 1e-6
        assert (model.faces[side] == toy[f"{name}/f"]).all()


@pytest.mark.parametrize("where", ["", "models", "mano_v1_2/models"])
def test_the_unpacked_folder_is_found(tmp_path: Path, where: str) -> None:
    write_both(tmp_path / "my hands é" / where)
    left, right = read_mano(tmp_path / "my hands é", TIPS.tolist())
    assert np.array_equal(left.template_m, random_hand(1)["v_template"])
    assert np.array_equal(right.template_m, random_hand(2)["v_template"])


def test_one_of_the_two_files_may_be_named(tmp_path: Path) -> None:
    write_both(tmp_path)
    assert len(read_mano(tmp_path / "MANO_RIGHT.pkl", TIPS.tolist())) == 2


def test_the_official_zip_is_read_without_unpacking(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mano_v1_2.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/mano_v1_2/models/MANO_LEFT.pkl", b"resource fork")
        archive.writestr("mano_v1_2/models/MANO_LEFT.pkl", official_pickle(random_hand(1)))
        archive.writestr("mano_v1_2/models/MANO_RIGHT.pkl", official_pickle(random_hand(2)))
    left, _ = read_mano(tmp_path / "mano_v1_2.zip", TIPS.tolist())
    assert np.array_equal(left.template_m, random_hand(1)["v_template"])


def test_files_saved_by_python_3_are_read(tmp_path: Path) -> None:
    wanted = random_hand(4)
    data = pickle.dumps(wanted, protocol=4)
    assert np.array_equal(read_mano_arrays(data, "a file", TIPS).pose_dirs, wanted["posedirs"])


def test_manos_left_shape_error_is_corrected_and_a_correct_hand_kept(tmp_path: Path) -> None:
    right = random_hand(2)
    slipped = {**random_hand(1), "shapedirs": right["shapedirs"] * np.array([1.0, 1.1, 0.9])[:, None]}
    left, _ = read_mano(write_both(tmp_path / "slipped", slipped, right), TIPS.tolist())
    assert np.array_equal(left.shape_dirs, slipped["shapedirs"] * np.array([-1.0, 1, 1])[:, None])
    true = {**slipped, "shapedirs": right["shapedirs"] * np.array([-1.0, 1, 1])[:, None]}
    left, _ = read_mano(write_both(tmp_path / "true", true, right), TIPS.tolist())
    assert np.array_equal(left.shape_dirs, true["shapedirs"])


def test_fingertips_may_differ_between_the_sides(tmp_path: Path) -> None:
    left, right = read_mano(write_both(tmp_path), [[1, 2, 3, 4, 5], [1, 2, 6, 4, 5]])
    assert left.tip_vertices.tolist() == [1, 2, 3, 4, 5]
    assert right.tip_vertices.tolist() == [1, 2, 6, 4, 5]
    with pytest.raises(HandModelError, match="five vertex numbers"):
        read_mano(tmp_path, [1, 2, 3])
    with pytest.raises(HandModelError, match="outside the mesh"):
        read_mano(tmp_path, [1, 2, 3, 4, 99])


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "exec"),
        ("numpy", "load"),
        ("subprocess", "call"),
        ("copyreg", "add_extension"),
    ],
)
def test_a_hostile_pickle_is_refused_by_name_and_runs_nothing(tmp_path: Path, module: str, name: str) -> None:
    marker = tmp_path / "ran"
    with pytest.raises(HandModelError, match=f"{module}.{name}"):
        read_inert(calling(module, name, f"touch {marker}"), "evil.pkl")
    assert not marker.exists()


def test_hostile_names_assembled_on_the_stack_are_refused(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    for protocol in range(6):
        with pytest.raises(HandModelError, match=r"system|instruction"):
            read_inert(pickle.dumps({"v_template": Evil()}, protocol), "evil.pkl")
    assert not marker.exists()


def test_unneeded_pickle_instructions_are_refused() -> None:
    with pytest.raises(HandModelError, match="INST"):
        read_inert(b"(ios\nsystem\n.", "evil.pkl")
    with pytest.raises(HandModelError, match="PERSID"):
        read_inert(b"Pname\n.", "evil.pkl")


def test_a_memo_number_cannot_claim_all_memory() -> None:
    with pytest.raises(HandModelError, match="memo"):
        read_inert(b"\x80\x02}r\xff\xff\xff\x7f.", "evil.pkl")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "damaged"),
        (b"hello, this is a text", "instruction|damaged"),
        (SMALL[: len(SMALL) // 2], "damaged"),
        (pickle.dumps([1, 2, 3], 2), "not of a hand model"),
        (pickle.dumps({}, 2), "'kintree_table'"),
    ],
)
def test_other_files_are_rejected_as_not_a_hand_model(data: bytes, message: str) -> None:
    with pytest.raises(HandModelError, match=message):
        read_mano_arrays(data, "hand.pkl", TIPS)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("v_template", np.zeros((40, 2))),
        ("v_template", np.full((40, 3), np.nan)),
        ("f", np.full((60, 3), 40, np.uint32)),
        ("posedirs", np.zeros((40, 3, 90))),
        ("weights", np.zeros((40, 15))),
        ("kintree_table", np.zeros((2, 16), np.int64)),
        ("kintree_table", np.zeros(16, np.int64)),
        ("hands_mean", np.zeros(30)),
    ],
)
def test_wrong_arrays_are_named(key: str, value: np.ndarray) -> None:
    with pytest.raises(HandModelError, match=r"hand\.pkl"):
        read_mano_arrays(official_pickle({**random_hand(1), key: value}), "hand.pkl", TIPS)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(HandModelError, match="no such file"):
        read_mano(tmp_path / "nowhere")
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(SMALL)
    with pytest.raises(HandModelError, match=r"MANO_LEFT\.pkl"):
        read_mano(tmp_path)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(HandModelError, match=r"MANO_LEFT\.pkl"):
        read_mano(tmp_path / "other.zip")


def test_a_truncated_zip_gives_a_readable_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mano.zip", "w") as archive:
        archive.writestr("MANO_LEFT.pkl", SMALL)
        archive.writestr("MANO_RIGHT.pkl", SMALL)
    data = bytearray((tmp_path / "mano.zip").read_bytes())
    data[100] ^= 0xFF
    (tmp_path / "mano.zip").write_bytes(data)
    with pytest.raises(HandModelError, match="cannot be read"):
        read_mano(tmp_path / "mano.zip")


def test_hands_of_different_models_are_refused_as_a_pair(tmp_path: Path) -> None:
    write_both(tmp_path, random_hand(1, vertices=700), random_hand(2, vertices=778))
    with pytest.raises(HandModelError, match="vertices"):
        load_hand_model(tmp_path, [1, 2, 3, 4, 5])


def attempt(data: bytes) -> None:
    """Reads bytes that may be anything; only the error for people may come out."""
    try:
        read_mano_arrays(data, "hand.pkl", TIPS)
    except HandModelError as error:
        assert "hand.pkl" in str(error)


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_random_bytes_never_crash_the_reader(data: bytes) -> None:
    attempt(data)
    attempt(b"\x80\x02" + data + b".")


@settings(max_examples=250)
@given(
    st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 1 << 30),
)
def test_mutated_hand_files_never_crash_the_reader(changes: list[tuple[int, int]], cut: int) -> None:
    head = SMALL.find(b"posedirs")
    data = bytearray(SMALL)
    for place, value in changes:
        # Half of the changes go where the structure is, not into the long runs of numbers.
        data[place % len(data) if place % 2 else place % head] = value
    attempt(bytes(data))
    attempt(bytes(data[: cut % len(data)]))


@settings(max_examples=150)
@given(
    st.lists(
        st.sampled_from(
            [
                b"c",
                b"R",
                b"b",
                b"\x81",
                b"}",
                b"(",
                b"t",
                b")",
                b"u",
                b"s",
                b"N",
                b"0",
                b"\x85",
                b"\x87",
                b"q\x00",
                b"h\x00",
                b"cnumpy\nndarray\n",
                b"cnumpy\ndtype\n",
                b"c__builtin__\nset\n",
                b"cchumpy.ch\nCh\n",
                b"K\x01",
                b"U\x02f8",
            ]
        ),
        max_size=30,
    )
)
def test_any_sequence_of_known_instructions_stays_harmless(parts: list[bytes]) -> None:
    attempt(b"\x80\x02" + b"".join(parts) + b".")
