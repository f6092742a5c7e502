# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: what it prints, its exit codes, and bad input of every kind."""

import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference_core.__main__ import main
from inference_core.shared.take import save_take
from tests.full_disk import full_disk
from tests.inference_core.movies import write_empty_scene
from tests.inference_core.test_take import write_members
from tests.sample_take import sample_take

ROOT = Path(__file__).parents[2]


def write_picture(path: Path, width: int, height: int) -> None:
    path.write_bytes(cv2.imencode(".png", np.full((height, width, 3), 90, np.uint8))[1].tobytes())


class _Trap:
    def __reduce__(self):
        return (print, ("the trap was sprung",))


def prepare(case: str, folder: Path) -> list[str]:
    """The command line of a case of bad input, its files laid out in `folder`."""
    movie, out = folder / "in" / "clip.mp4", folder / "out" / "take.npz"
    movie.parent.mkdir()
    out.parent.mkdir()
    extra: list[str] = []
    if case == "no such file":
        pass
    elif case == "not a movie":
        movie.write_bytes(bytes(range(256)) * 40)
    elif case == "cut before its index":
        write_empty_scene(movie)
        movie.write_bytes(movie.read_bytes()[:-700])
    elif case == "no frames":
        write_empty_scene(movie, 0)
    elif case == "folder without pictures":
        movie = movie.parent
    elif case == "two sizes":
        write_picture(movie.parent / "shot_0001.png", 96, 64)
        write_picture(movie.parent / "shot_0002.png", 64, 96)
        movie = movie.parent
    elif case == "one pixel":
        movie = movie.with_name("dot.png")
        write_picture(movie, 1, 1)
    else:
        write_empty_scene(movie)
    if case == "range without frames":
        extra = ["--frames", "90:95"]
    elif case == "range that is none":
        extra = ["--frames", "5:2"]
    elif case == "two lenses":
        extra = ["--fov", "60", "--focal-mm", "35", "--sensor-mm", "36"]
    elif case == "no such device":
        extra = ["--device", "mps" if sys.platform != "darwin" else "cuda"]
    elif case == "folder under a file":
        out = movie / "take.npz"
    elif case == "take over the footage":
        out = movie
    elif case == "preview over the footage":
        extra = ["--preview", str(movie)]
    elif case == "preview without a folder":
        extra = ["--preview", str(folder / "nowhere" / "p.mp4")]
    elif case == "too smooth":
        extra = ["--smooth", "7"]
    elif case == "hostile hand model":
        extra = ["--mano", str(movie.parent)]
        for side in ("LEFT", "RIGHT"):
            (movie.parent / f"MANO_{side}.pkl").write_bytes(pickle.dumps(_Trap()))
    return ["reconstruct", str(movie), "--out", str(out), "--device", "cpu", "--network", "none", *extra]


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("no such file", "no footage"),
        ("not a movie", "neither a movie"),
        ("cut before its index", "no picture that can be read"),
        ("no frames", "no "),
        ("folder without pictures", "holds no pictures"),
        ("two sizes", "differ in size"),
        ("one pixel", "1x1"),
        ("range without frames", "leaves none"),
        ("range that is none", "empty"),
        ("two lenses", "once"),
        ("no such device", "no device"),
        ("folder under a file", "cannot be written"),
        ("take over the footage", "ends in .npz"),
        ("preview over the footage", "would overwrite"),
        ("preview without a folder", "no folder"),
        ("too smooth", "smooth"),
        ("hostile hand model", "print"),
    ],
)
def test_bad_input_gives_exit_code_2_a_clear_error_and_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str, says: str
) -> None:
    arguments = prepare(case, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert "duohand: " in told.err
    assert says in told.err
    assert "Traceback" not in told.err
    assert told.out == ""
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_leaves_finished_pieces_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    movie = write_empty_scene(tmp_path / "clip.mp4")
    with full_disk(100_000):
        code = main(
            [
                "reconstruct",
                str(movie),
                "--out",
                str(tmp_path / "t.npz"),
                "--device",
                "cpu",
                "--network",
                "none",
            ]
        )
    assert code == 1
    assert "could not be written" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "t.npz.partial"]
    assert [path.name.partition("-")[0] for path in (tmp_path / "t.npz.partial").iterdir()] == ["detect"]


@pytest.mark.parametrize("command", ["inspect", "preview"])
@pytest.mark.parametrize(
    ("case", "says"),
    [("nan", "not finite"), ("future", "Update Duohand"), ("cut", "take.npz"), ("none", "no take")],
)
def test_a_bad_take_gives_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, case: str, says: str
) -> None:
    take = tmp_path / "take.npz"
    if case == "nan":
        write_members(take, {"rest_vertices_m": np.full((2, 48, 3), np.nan, np.float32)})
    elif case == "future":
        write_members(take, {"version": np.array(99)})
    elif case == "cut":
        save_take(sample_take(), take)
        take.write_bytes(take.read_bytes()[:-200])
    rest = [str(tmp_path / "clip.mp4"), str(tmp_path / "p.mp4")] if command == "preview" else []
    assert main([command, str(take), *rest]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "p.mp4").exists()


def test_names_with_spaces_and_other_alphabets_work_throughout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "снято 手 ä b"
    folder.mkdir()
    movie = write_empty_scene(folder / "дубль №1.mp4", 3)
    monkeypatch.chdir(folder)
    preview = folder / "вид 1.mp4"
    assert (
        main(["reconstruct", str(movie), "--preview", str(preview), "--device", "cpu", "--network", "none"])
        == 0
    )
    take = folder / "дубль №1.npz"
    assert {path.name for path in folder.iterdir()} == {movie.name, take.name, preview.name}
    assert main(["inspect", str(take), "--plot", str(folder / "кривые.png")]) == 0
    assert main(["preview", str(take), str(movie), str(folder / "ещё.mp4")]) == 0
    told = capsys.readouterr()
    assert "not in the footage" in told.out
    assert "No hands were found" in told.err


def test_help_and_version_load_nothing_heavy() -> None:
    code = (
        "import sys\nfrom inference_core.__main__ import main\n"
        "try:\n    main(['reconstruct', '--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'torch', 'cv2', 'av', 'scipy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for option in (
        "--frames",
        "--fov",
        "--focal-mm",
        "--sensor-mm",
        "--mano",
        "--smooth",
        "--resume",
        "--json",
    ):
        assert option in done.stdout
