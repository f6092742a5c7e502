# SPDX-License-Identifier: GPL-3.0-or-later
"""Outputs appear whole or not at all, follow the umask, and never take the place of an input."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from inference_core.__main__ import main
from inference_core.resume_cache import ResumeCache
from inference_core.shared.errors import RequestError
from inference_core.shared.take import save_take
from inference_core.shared.whole_file import check_apart, unused_path, whole_file
from tests.inference_core.movies import write_empty_scene
from tests.sample_take import sample_take

ROOT = Path(__file__).parents[2]


def write(path: Path, text: str) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_unused_path_is_neither_there_nor_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.b.mp4"
    assert unused_path(path) == path
    path.symlink_to(tmp_path / "gone")
    (tmp_path / "a.b_2.mp4").mkdir()
    assert unused_path(path, {str(tmp_path / "a.b_3.mp4")}) == tmp_path / "a.b_4.mp4"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no umask")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_file_modes_follow_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write(tmp_path / "a.txt", "a")
        save_take(sample_take(), tmp_path / "t.npz")
    finally:
        os.umask(before)
    for name in ("a.txt", "t.npz"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~mask


def test_an_error_leaves_only_the_earlier_file(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "earlier")
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "earlier"


def test_a_name_of_255_bytes_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("手" * 84 + "abc")
    write(path, "a")
    assert names(tmp_path) == [path.name]


def test_leftovers_of_killed_runs_are_removed_but_not_files_of_live_ones(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom inference_core.shared.whole_file import whole_file\n"
        "with whole_file(Path(sys.argv[1])):\n    print('there', flush=True)\n    time.sleep(600)"
    )
    path = tmp_path / "p.mp4"
    other = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()
    write(path, "first")
    assert len(names(tmp_path)) == 2
    other.kill()
    other.wait()
    write(path, "second")
    assert names(tmp_path) == ["p.mp4"]


def test_leftovers_of_killed_writers_that_need_a_suffix_are_removed_too(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom inference_core.shared.whole_file import whole_file\n"
        "with whole_file(Path(sys.argv[1]), suffix='.fbx') as written:\n"
        "    written.write_text('half')\n    os._exit(1)"
    )
    path = tmp_path / "p.fbx"
    path.write_text("earlier")
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False)
    assert len(names(tmp_path)) == 3
    assert path.read_text() == "earlier"
    with whole_file(path, suffix=".fbx") as written:
        assert written.suffix == ".fbx" and names(tmp_path) == sorted(["p.fbx", written.with_suffix("").name])
        written.write_text("whole")
    assert names(tmp_path) == ["p.fbx"]
    assert path.read_text() == "whole"


@pytest.mark.parametrize(
    "way", ["same name", "symbolic link", "hard link", "link to a link", "another spelling"]
)
def test_an_output_never_overwrites_an_input(tmp_path: Path, way: str) -> None:
    source, output = tmp_path / "shot.mp4", tmp_path / "out.mp4"
    source.write_text("footage")
    if way == "same name":
        output = source
    elif way == "symbolic link":
        output.symlink_to(source)
    elif way == "hard link":
        output.hardlink_to(source)
    elif way == "link to a link":
        (tmp_path / "between").symlink_to(source)
        output.symlink_to(tmp_path / "between")
    else:
        (tmp_path / "folder").mkdir()
        output = tmp_path / "folder" / ".." / "shot.mp4"
    with pytest.raises(RequestError, match="would overwrite"):
        check_apart([tmp_path / "free.mp4", output], [source])


def test_no_command_overwrites_its_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    movie = write_empty_scene(tmp_path / "shot.mp4")
    named_like_a_take = tmp_path / "fo.npz"
    named_like_a_take.write_bytes(movie.read_bytes())
    take = tmp_path / "take.mp4"
    save_take(sample_take(), take)
    (tmp_path / "link.npz").hardlink_to(movie)
    (tmp_path / "link.mov").symlink_to(named_like_a_take)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    capture = ["reconstruct", str(named_like_a_take), "--network", "none", "--device", "cpu"]
    for command in (
        ["preview", str(take), str(movie), str(movie)],
        ["preview", str(take), str(movie), str(take)],
        [*capture, "--out", str(named_like_a_take)],
        [*capture, "--out", str(tmp_path / "t.npz"), "--preview", str(tmp_path / "link.mov")],
        ["reconstruct", str(movie), "--out", str(tmp_path / "link.npz"), "--network", "none"],
        ["inspect", str(take), "--plot", str(take)],
    ):
        assert main(command) == 2, command
        told = capsys.readouterr().err
        assert "would overwrite" in told
        assert len(told.splitlines()) == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_second_run_to_the_same_output_is_refused_unless_the_first_was_killed(tmp_path: Path) -> None:
    out = tmp_path / "t.npz"
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom inference_core.resume_cache import ResumeCache\n"
        "with ResumeCache(Path(sys.argv[1]), True):\n    print('there', flush=True)\n    time.sleep(600)"
    )
    first = subprocess.Popen([sys.executable, "-c", code, str(out)], cwd=ROOT, stdout=subprocess.PIPE)
    assert first.stdout is not None
    first.stdout.readline()
    with pytest.raises(RequestError, match="Another run"), ResumeCache(out, resume=False):
        pass
    first.send_signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
    first.wait()
    with ResumeCache(out, resume=True):
        pass
    assert names(tmp_path) == []


def test_the_users_own_files_in_the_resume_folder_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "t.npz.partial"
    folder.mkdir()
    (folder / "shot.mp4").write_text("footage")
    with ResumeCache(tmp_path / "t.npz", resume=False):
        pass
    assert names(folder) == ["shot.mp4"]


def test_a_failed_run_keeps_its_finished_pieces(tmp_path: Path) -> None:
    for error in (RequestError("x"), OSError(28, "No space left"), KeyboardInterrupt()):
        with pytest.raises(type(error)), ResumeCache(tmp_path / "t.npz", resume=True) as cache:
            cache.save("landmarks", {"a": 1}, {"time_s": np.arange(3.0)})
            raise error
        with pytest.raises(type(error)), ResumeCache(tmp_path / "t.npz", resume=True) as cache:
            assert cache.load("landmarks", {"a": 1}) is not None
            raise error


@pytest.mark.parametrize(
    "change", ["bytes", "an array less", "another shape", "another value", "not an archive"]
)
def test_a_modified_piece_is_not_used(tmp_path: Path, change: str) -> None:
    arrays = {"time_s": np.arange(3.0), "size_px": np.array([4, 5])}
    with pytest.raises(KeyboardInterrupt), ResumeCache(tmp_path / "t.npz", resume=True) as cache:
        cache.save("detect", {}, arrays)
        (piece,) = (tmp_path / "t.npz.partial").glob("*.npz")
        with np.load(piece) as file:
            held = dict(file)
        if change == "bytes":
            piece.write_bytes(piece.read_bytes()[:-9])
        elif change == "not an archive":
            piece.write_bytes(b"")
        else:
            if change == "an array less":
                del held["size_px"]
            elif change == "another shape":
                held["size_px"] = held["size_px"].reshape(2, 1)
            else:
                held["size_px"][0] = 9
            np.savez(piece, **held)
        assert cache.load("detect", {}) is None
        cache.save("detect", {}, arrays)
        assert cache.load("detect", {}) is not None
        raise KeyboardInterrupt
