# SPDX-License-Identifier: GPL-3.0-or-later
"""The take on disk: round trips, damaged files, disk faults."""

import dataclasses
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inference_core.shared.errors import TakeError
from inference_core.shared.take import Take, check_take, load_take, save_take
from inference_core.shared.take_format import ARRAYS, TAKE_VERSION
from tests.full_disk import full_disk
from tests.sample_take import sample_take

ROOT = Path(__file__).parents[2]


def assert_same(left: Take, right: Take) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
    assert left.meta == right.meta


def write_members(path: Path, changes: dict[str, np.ndarray | bytes | None]) -> None:
    """A sample take at `path`, with members replaced (array or raw bytes), added, or (None) left out."""
    save_take(sample_take(), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name, value in changes.items():
        if value is None:
            del members[f"{name}.npy"]
        elif isinstance(value, bytes):
            members[f"{name}.npy"] = value
        else:
            with (path.parent / "member.npy").open("wb") as file:
                np.save(file, value, allow_pickle=True)
            members[f"{name}.npy"] = (path.parent / "member.npy").read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), frame_count=st.integers(1, 7))
def test_saving_and_loading_is_lossless(tmp_path: Path, data: st.DataObject, frame_count: int) -> None:
    present = data.draw(arrays(np.uint8, (frame_count, 2), elements=st.integers(0, 2)))
    take = sample_take(frame_count, present, seed=data.draw(st.integers(0, 99)))
    meta = data.draw(
        st.dictionaries(st.text(), st.text() | st.integers() | st.booleans() | st.none(), max_size=4)
    )
    take = dataclasses.replace(take, meta=meta)
    save_take(take, tmp_path / "take.npz")
    assert_same(take, load_take(tmp_path / "take.npz"))


def test_numpy_alone_reads_a_take(tmp_path: Path) -> None:
    take = sample_take()
    save_take(take, tmp_path / "take.npz")
    with np.load(tmp_path / "take.npz", allow_pickle=False) as file:
        left_out = {name for name, spec in ARRAYS.items() if spec.optional and getattr(take, name) is None}
        assert set(file.files) == {"format", "version", "meta", *ARRAYS} - left_out
        np.testing.assert_array_equal(file["pose_wxyz"], take.pose_wxyz)


def test_partly_known_arms_are_kept_and_arms_without_scores_are_refused(tmp_path: Path) -> None:
    take = sample_take()
    arms = np.full((take.frame_count, 2, 2, 3), np.nan, np.float32)
    arms[0] = 0.5
    score = np.where(np.isfinite(arms[..., 0]), 0.8, 0).astype(np.float32)
    take = dataclasses.replace(take, arms_cam_m=arms, arms_score=score)
    save_take(take, tmp_path / "take.npz")
    assert_same(take, load_take(tmp_path / "take.npz"))
    with pytest.raises(TakeError, match="belong together"):
        save_take(dataclasses.replace(take, arms_score=None), tmp_path / "half.npz")
    with pytest.raises(TakeError, match="no place"):
        save_take(dataclasses.replace(take, arms_score=np.ones_like(score)), tmp_path / "sure.npz")


def test_equal_takes_give_equal_files(tmp_path: Path) -> None:
    save_take(sample_take(), tmp_path / "a.npz")
    save_take(sample_take(), tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_names_with_spaces_and_other_alphabets_work(tmp_path: Path) -> None:
    path = tmp_path / "дубль № 3 手 ä" / "take один.npz"
    save_take(sample_take(), path)
    assert load_take(path).frame_count == 12


def test_the_light_modules_import_nothing_heavy() -> None:
    code = (
        "import sys, inference_core.shared.take, inference_core.shared.messages\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'torch', 'cv2', 'av', 'scipy', 'smplx'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_refused_or_read_completely(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "take.npz"
    save_take(sample_take(2), path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 8))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    try:
        check_take(load_take(path))
    except TakeError as error:
        assert "take.npz" in str(error)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=400))
def test_garbage_in_a_member_is_refused_by_its_name(tmp_path: Path, content: bytes) -> None:
    write_members(tmp_path / "take.npz", {"pose_wxyz": content})
    with pytest.raises(TakeError, match="pose_wxyz"):
        load_take(tmp_path / "take.npz")


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("time_s", lambda take: take.time_s[::-1]),
        ("frame", lambda take: np.zeros(12, np.int64)),
        ("fps", lambda take: np.array(0.0)),
        ("size_px", lambda take: np.array([0, 360])),
        ("K", lambda take: np.zeros((3, 3))),
        ("T_world_cam", lambda take: take.T_world_cam * 2),
        ("present", lambda take: take.present + 7),
        ("confidence", lambda take: take.confidence + 1),
        ("root_wxyz", lambda take: take.root_wxyz * 1.1),
        ("raw_pose_wxyz", lambda take: take.raw_pose_wxyz * 1.1),
        ("wrist_cam_m", lambda take: take.wrist_cam_m[:-1]),
        ("wrist_cam_m", lambda take: np.where(np.arange(3) == 1, np.nan, take.wrist_cam_m)),
        ("joints_cam_m", lambda take: np.full_like(take.joints_cam_m, np.nan)),
        ("landmarks_px", lambda take: np.full_like(take.landmarks_px, np.inf)),
        ("betas", lambda take: np.full_like(take.betas, np.nan)),
        ("rest_vertices_m", lambda take: take.rest_vertices_m[..., :2]),
        ("faces", lambda take: take.faces + 48),
        ("faces", lambda take: take.faces.astype(np.float32)),
        ("tip_vertices", lambda take: take.tip_vertices - 48),
        ("skin_weights", lambda take: take.skin_weights * 2),
        ("parents", lambda take: take.parents[::-1]),
        ("pose_dirs", lambda take: take.pose_dirs[..., :12]),
    ],
)
def test_an_invalid_array_is_named(tmp_path: Path, name: str, spoil) -> None:
    take = dataclasses.replace(sample_take(), **{name: spoil(sample_take())})
    with pytest.raises(TakeError, match=name):
        save_take(take, tmp_path / "take.npz")
    assert list(tmp_path.iterdir()) == []
    write_members(tmp_path / "other.npz", {name: np.asarray(getattr(take, name))})
    with pytest.raises(TakeError, match=name):
        load_take(tmp_path / "other.npz")


def test_values_for_an_absent_hand_are_refused() -> None:
    take = sample_take()
    with pytest.raises(TakeError, match="absent"):
        check_take(dataclasses.replace(take, present=np.zeros_like(take.present)))


def test_present_hands_must_have_scores() -> None:
    there, absent = sample_take(), sample_take(present=np.zeros((12, 2), np.uint8))
    for take in (there, absent):
        scores = take.landmarks_px.copy()
        scores[..., 2] = np.nan
        changed = dataclasses.replace(take, landmarks_px=scores)
        if take is absent:  # as earlier versions wrote them
            check_take(changed)
            continue
        with pytest.raises(TakeError, match="landmarks_px"):
            check_take(changed)


def test_a_future_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    write_members(tmp_path / "take.npz", {"version": np.array(TAKE_VERSION + 1)})
    with pytest.raises(TakeError, match="Update Duohand"):
        load_take(tmp_path / "take.npz")


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    write_members(tmp_path / "take.npz", {"skin_weights": None})
    with pytest.raises(TakeError, match="skin_weights is missing"):
        load_take(tmp_path / "take.npz")


class _Trap:
    def __reduce__(self):
        return (os.mkdir, ("trap-was-sprung",))


def test_a_pickle_in_a_take_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_members(tmp_path / "take.npz", {"betas": np.array([_Trap()], dtype=object)})
    with pytest.raises(TakeError, match="betas"):
        load_take(tmp_path / "take.npz")
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(TakeError):
        load_take(tmp_path / "bare.npz")
    assert not (tmp_path / "trap-was-sprung").exists()


def test_a_header_that_exceeds_its_data_costs_no_memory(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000, 2, 10), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    write_members(
        tmp_path / "take.npz", {"betas": b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header}
    )
    with pytest.raises(TakeError, match="betas is cut short"):
        load_take(tmp_path / "take.npz")


@pytest.mark.parametrize("there", ["nothing", "folder", "text", "other archive"])
def test_files_that_are_not_takes_are_refused(tmp_path: Path, there: str) -> None:
    path = tmp_path / "take.npz"
    if there == "folder":
        path.mkdir()
    elif there == "text":
        path.write_text("not a take")
    elif there == "other archive":
        np.savez(path, a=np.zeros(3))
    with pytest.raises(TakeError, match=r"take\.npz"):
        load_take(path)


def test_a_full_disk_leaves_only_the_old_take(tmp_path: Path) -> None:
    path = tmp_path / "take.npz"
    save_take(sample_take(), path)
    before = path.read_bytes()
    with full_disk(len(before) // 2), pytest.raises(TakeError, match="could not be written"):
        save_take(sample_take(seed=1), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_folder_gives_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TakeError, match="could not be written"):
        save_take(sample_take(), tmp_path / "file" / "take.npz")


def test_meta_that_is_not_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TakeError, match="meta"):
        save_take(dataclasses.replace(sample_take(), meta={"a": float("nan")}), tmp_path / "take.npz")


def test_the_format_page_lists_every_array() -> None:
    page = (ROOT / "docs" / "take_format.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for name, spec in ARRAYS.items():
        row = next(line for line in rows if f"`{name}`" in line.split("|")[1])
        assert np.dtype(spec.dtype).name in row
        assert spec.optional == ("may be left out" in row)
