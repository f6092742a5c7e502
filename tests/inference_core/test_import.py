# SPDX-License-Identifier: GPL-3.0-or-later
"""What other engines write becomes a take: the same hands with MANO's files, near ones on the open hand."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch

from inference_core.__main__ import main
from inference_core.exchange.result_file import read_result_file
from inference_core.shared.errors import RequestError
from inference_core.shared.presence import ABSENT, FILLED, SEEN
from inference_core.shared.take import Take, load_take
from tests.data.mano.official_layout import calling
from tests.inference_core import engine_results as made
from tests.inference_core.movies import write_empty_scene

ENGINES: dict[str, Callable[[made.EngineShot, Path], list[Path]]] = {
    "HaMeR": made.hamer_tracks,
    "HaMeR, a file a picture": made.hamer_pictures,
    "WiLoR": made.wilor_list,
    "HaWoR": made.hawor,
    "Dyn-HaMR": made.dyn_hamr,
}


@pytest.fixture(scope="module")
def mano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.write_mano(tmp_path_factory.mktemp("mano"))


@pytest.fixture(scope="module")
def shot(mano: Path) -> made.EngineShot:
    return made.engine_shot(mano)


def imported(files: list[Path], out: Path, *more: str) -> Take:
    assert main(["import", *map(str, files), "--out", str(out), *more]) == 0
    return load_take(out)


def off_mm(take: Take, shot: made.EngineShot, joints: slice = slice(0, 17)) -> float:
    """Largest distance of MANO's 16 joints (the fingertips are vertices) from the truth."""
    there = take.present == SEEN
    places = [0, 1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19]
    apart = np.linalg.norm(take.joints_cam_m[:, :, places] - shot.joints_m[:, :, places], axis=-1)
    return float(1000 * apart[there].max())


@pytest.mark.parametrize("engine", ENGINES)
def test_with_mano_files_the_hands_are_identical(
    tmp_path: Path, mano: Path, shot: made.EngineShot, engine: str
) -> None:
    files = ENGINES[engine](shot, tmp_path)
    take = imported(files, tmp_path / "t.npz", "--mano", str(mano), "--size", "640x480")
    assert off_mm(take, shot) < 0.02
    assert take.frame.tolist() == list(range(made.FRAMES))
    assert take.K[0, 0] == pytest.approx(made.FOCAL)
    assert take.meta["imported"]["engine"] == engine.split(",")[0]
    assert "exact" in take.meta["imported"]["rotations"]


@pytest.mark.parametrize("engine", ENGINES)
def test_on_the_open_hand_they_are_close_and_the_take_records_it(
    tmp_path: Path, shot: made.EngineShot, engine: str
) -> None:
    files = ENGINES[engine](shot, tmp_path)
    take = imported(files, tmp_path / "t.npz", "--size", "640x480")
    has_joints = engine in ("WiLoR", "HaMeR, a file a picture")
    assert off_mm(take, shot) < (3 if has_joints else 25)
    assert ("fitted to the joints" if has_joints else "people's mean") in take.meta["scale"]["source"]
    assert "open hand" in take.meta["imported"]["rotations"]
    assert np.isfinite(take.wrist_cam_m[take.present == SEEN]).all()


@pytest.mark.parametrize("engine", ["HaWoR", "Dyn-HaMR"])
def test_a_moving_camera_is_imported(tmp_path: Path, shot: made.EngineShot, engine: str) -> None:
    take = imported(ENGINES[engine](shot, tmp_path), tmp_path / "t.npz")
    wanted = np.stack([made.world_of(row) for row in range(made.FRAMES)])
    assert np.abs(take.T_world_cam - wanted).max() < 1e-5
    assert take.size_px.tolist() == list(made.SIZE)
    assert (take.present == ABSENT).sum() == (engine == "HaWoR")


def dyn_hamr_run(shot: made.EngineShot, folder: Path, left: list[bool], begins: int) -> Path:
    """The folder of two steps' results, below a track_info.json."""
    steps = folder / "smooth_fit"
    steps.mkdir()
    (last,) = made.dyn_hamr(shot, steps)
    with np.load(last) as held:
        np.savez(
            steps / "shot_000010_world_results.npz", **{**held, "pose_body": np.zeros_like(held["pose_body"])}
        )
    masks = {"0": left, "1": [True] * made.FRAMES}
    tracks = {
        name: {"index": int(name), "vis_mask": [False] * begins + mask + [False]}
        for name, mask in masks.items()
    }
    meta = {"seq_interval": [begins, begins + made.FRAMES], "data_interval": [0, begins + made.FRAMES + 1]}
    (folder / "track_info.json").write_text(json.dumps({"tracks": tracks, "meta": meta}))
    return steps


def test_dyn_hamrs_last_step_is_read_with_presence_from_its_tracks(
    tmp_path: Path, mano: Path, shot: made.EngineShot
) -> None:
    steps = dyn_hamr_run(shot, tmp_path, [False, True, False, True, True, False], begins=2)
    take = imported([steps], tmp_path / "t.npz", "--mano", str(mano))
    assert take.frame.tolist() == list(range(2, 2 + made.FRAMES))
    assert take.present[:, 0].tolist() == [ABSENT, SEEN, FILLED, SEEN, SEEN, ABSENT]
    assert (take.present[:, 1] == SEEN).all() and off_mm(take, shot) < 0.02
    again = imported(exported(tmp_path / "t.npz", "mano-npz"), tmp_path / "again.npz", "--mano", str(mano))
    assert np.array_equal(again.present, take.present)


def test_a_track_info_of_another_run_is_refused(
    tmp_path: Path, shot: made.EngineShot, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = dyn_hamr_run(shot, tmp_path, [True] * (made.FRAMES - 2), begins=0)
    assert main(["import", str(steps), "--out", str(tmp_path / "t.npz")]) == 2
    assert "track_info.json belongs to other results" in capsys.readouterr().err


def exported(take: Path, kind: str) -> list[Path]:
    out = take.with_suffix(f".{kind}.npz")
    assert main(["export", str(take), "--as", kind, "--out", str(out)]) == 0
    return [out]


def test_left_hands_that_are_already_mirrored_are_kept(tmp_path: Path, shot: made.EngineShot) -> None:
    (file,) = made.wilor_list(shot, tmp_path)
    pictures = pickle.loads(file.read_bytes())
    for hand in (hand for picture in pictures for hand in picture if not hand["is_right"]):
        for name in ("global_orient", "hand_pose"):
            hand["wilor_preds"][name] = hand["wilor_preds"][name] * np.array([1, -1, -1])
    file.write_bytes(pickle.dumps(pictures))
    assert off_mm(imported([file], tmp_path / "t.npz", "--size", "640x480"), shot) < 3


def test_files_of_single_hands_are_grouped_by_picture(tmp_path: Path, shot: made.EngineShot) -> None:
    """As Dyn-HaMR's track_preds (a folder a hand), and as HaMeR's demo names its meshes (the hand's number last)."""
    for row in range(made.FRAMES):
        for side in (0, 1):
            hand = made.right_hand(shot, row, side)
            plain = {key: np.asarray(value).tolist() for key, value in hand.items() if key != "joints"}
            (tmp_path / f"{side:03d}").mkdir(exist_ok=True)
            (tmp_path / f"{side:03d}" / f"{row + 1:06d}_mano.json").write_text(json.dumps(plain))
            (tmp_path / "flat").mkdir(exist_ok=True)
            np.savez(tmp_path / "flat" / f"take2_{row:04d}_{side}.npz", **hand)
    for files in ([tmp_path / "000", tmp_path / "001"], [tmp_path / "flat"]):
        take = imported(files, tmp_path / "t.npz", "--size", "640x480")
        assert take.frame.tolist() == list(range(made.FRAMES))
        assert (take.present == SEEN).all() and off_mm(take, shot) < 25


def test_the_true_lens_moves_the_hands_closer_and_keeps_their_projection(
    tmp_path: Path, shot: made.EngineShot, capsys: pytest.CaptureFixture[str]
) -> None:
    files = made.hamer_pictures(shot, tmp_path)
    far = imported(files, tmp_path / "far.npz")
    assert "Give the true lens by --fov" in capsys.readouterr().err
    near = imported(files, tmp_path / "near.npz", "--fov", "60", "--size", "640x480")
    centres = [take.joints_cam_m.mean(-2)[..., 2] for take in (near, far)]
    assert centres[0] == pytest.approx(centres[1] * near.K[0, 0] / far.K[0, 0], rel=1e-4)
    apart = np.linalg.norm(near.landmarks_px[..., :2] - far.landmarks_px[..., :2], axis=-1)
    assert apart.max() < 30 and apart.mean() < 8  # of hands of 250 pixels: what perspective adds


def test_footage_determines_size_times_path_and_range(tmp_path: Path, shot: made.EngineShot) -> None:
    movie = tmp_path / "shot.mp4"
    write_empty_scene(movie)
    take = imported(
        made.hamer_tracks(shot, tmp_path), tmp_path / "t.npz", "--footage", str(movie), "--first", "3"
    )
    assert take.frame.tolist() == list(range(made.FRAMES - 2))  # the pictures count from 1
    assert take.meta["footage"]["path"] == str(movie)
    assert take.time_s == pytest.approx(take.frame / take.fps)


def test_an_imported_take_works_with_every_tool_but_solve(
    tmp_path: Path, shot: made.EngineShot, capsys: pytest.CaptureFixture[str]
) -> None:
    movie = tmp_path / "shot.mp4"
    write_empty_scene(movie)
    imported(made.hamer_tracks(shot, tmp_path), tmp_path / "t.npz", "--footage", str(movie))
    assert main(["inspect", str(tmp_path / "t.npz")]) == 0
    assert main(["preview", str(tmp_path / "t.npz"), str(movie), str(tmp_path / "p.mp4")]) == 0
    capsys.readouterr()
    assert main(["solve", str(tmp_path / "t.npz"), "--range", "0-3", "--out", str(tmp_path / "s.npz")]) == 2
    assert "HaMeR" in capsys.readouterr().err
    assert not (tmp_path / "s.npz").exists()


def test_a_given_length_sets_the_open_hands_size(tmp_path: Path, shot: made.EngineShot) -> None:
    files = made.hamer_tracks(shot, tmp_path)
    take = imported(files, tmp_path / "t.npz", "--size", "640x480", "--hand-length-mm", "171")
    assert take.meta["scale"]["hand_length_mm"] == pytest.approx([171, 171], abs=0.2)


def write_pickle(path: Path, data: object) -> None:
    path.write_bytes(pickle.dumps(data))


class _Runs:
    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("raise SystemExit('it ran')",)


HOSTILE: dict[str, Callable[[Path], object]] = {
    "a call": lambda path: path.write_bytes(calling("os", "system", "true")),
    "a call behind an array": lambda path: joblib.dump([np.ones(3), _Runs()], path),
    "a call in objects": lambda path: joblib.dump({"a": np.array([_Runs()], dtype=object)}, path),
    "hands without a place": lambda path: write_pickle(
        path, {"a.jpg": {"global_orient": np.eye(3)[None], "hand_pose": np.zeros((15, 3))}}
    ),
    "NaN": lambda path: write_pickle(
        path, {"global_orient": np.full(3, np.nan), "hand_pose": np.zeros(45), "cam_t": np.ones(3)}
    ),
    "too few fingers": lambda path: write_pickle(
        path, {"global_orient": np.zeros(3), "hand_pose": np.zeros(44), "cam_t": np.ones(3)}
    ),
    "behind the camera": lambda path: write_pickle(
        path, {"global_orient": np.zeros(3), "hand_pose": np.zeros(45), "cam_t": np.array([0, 0, -1.0])}
    ),
    "a bomb": lambda path: joblib.dump(np.zeros(1 << 24), path, compress=("gzip", 9)),
    "other things": lambda path: write_pickle(path, {"weights": np.ones(3)}),
    "nothing": lambda path: write_pickle(path, None),
    "lists in lists": lambda path: path.write_bytes(b"\x80\x02" + b"]" * 200 + b"a" * 199 + b"."),
    "HaWoR of unequal parts": lambda path: joblib.dump(
        [np.zeros((2, 5, 3)), *[np.zeros((2, 4, 3))] * 4], path
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_other_files_are_refused_in_one_line_without_running_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    HOSTILE[kind](tmp_path / "in.pkl")
    command = ["import", str(tmp_path / "in.pkl"), "--out", str(tmp_path / "t.npz"), "--size", "640x480"]
    assert main(command) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and "This is a bug" not in said[0]
    assert not (tmp_path / "t.npz").exists()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_damaged_file_is_refused_or_gives_a_valid_take(
    tmp_path: Path, shot: made.EngineShot, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ENGINES[engine](shot, tmp_path)
    whole, noise = files[0].read_bytes(), np.random.default_rng(1)
    for kept in (0.3, 0.97):
        files[0].write_bytes(whole[: int(kept * len(whole))])
        assert main(["import", *map(str, files), "--out", str(tmp_path / "t.npz"), "--size", "640x480"]) == 2
    for _ in range(25):
        data = bytearray(whole)
        for place in noise.integers(0, len(data), 3):
            data[place] = noise.integers(0, 256)
        files[0].write_bytes(data)
        code = main(["import", *map(str, files), "--out", str(tmp_path / "t.npz"), "--size", "640x480"])
        said = capsys.readouterr().err
        assert code in (0, 2) and "This is a bug" not in said, said
        if code == 0:
            load_take(tmp_path / "t.npz")


@pytest.mark.parametrize("packed", [0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3)])
def test_joblib_files_are_read_as_by_joblib(tmp_path: Path, packed: object) -> None:
    held = {
        "a": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "b": [torch.arange(6).reshape(2, 3).T, np.float32(2.5)],
        "c": np.array([{"d": 1}, None], dtype=object),
        "e": np.arange(3).astype(">i4"),
    }
    joblib.dump(held, tmp_path / "f", compress=packed)
    read = read_result_file(tmp_path / "f")
    assert np.array_equal(read["a"], held["a"]) and np.array_equal(read["b"][0], held["b"][0].numpy())
    assert read["b"][1] == 2.5 and read["c"] == [{"d": 1}, None] and read["e"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_every_protocol_are_read(tmp_path: Path, protocol: int) -> None:
    held = {"x": np.arange(6.0).reshape(2, 3), "y": torch.ones(2).half(), "z": [True, None, "text", 1 << 40]}
    (tmp_path / "f").write_bytes(pickle.dumps(held, protocol))
    read = read_result_file(tmp_path / "f")
    assert np.array_equal(read["x"], held["x"]) and read["y"].tolist() == [1, 1]
    assert read["z"] == held["z"]


def test_a_pickle_that_repeats_a_list_a_million_times_is_refused(tmp_path: Path) -> None:
    nested = b"]\x94" + b"".join(
        b"](" + b"h" + bytes([n]) + (b"h" + bytes([n])) * 9 + b"e\x94" for n in range(10)
    )
    (tmp_path / "f").write_bytes(b"\x80\x04" + nested + b".")
    with pytest.raises(RequestError, match="more than any"):
        read_result_file(tmp_path / "f")
