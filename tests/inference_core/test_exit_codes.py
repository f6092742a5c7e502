# SPDX-License-Identifier: GPL-3.0-or-later
"""Exit codes of every command: 0 done, 1 failed, 2 the input cannot be used, 130 stopped; no traceback."""

import gc
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import av  # noqa: F401 (footage needs it)
import numpy as np
import pytest
import torch  # noqa: F401 (solving and networks need it)

from inference_core.__main__ import main
from inference_core.resume_cache import ResumeCache
from inference_core.shared.errors import TakeError
from inference_core.shared.take import save_take
from tests.full_disk import full_disk
from tests.inference_core.movies import write_empty_scene
from tests.sample_take import sample_take

# Each command with an input IN and an output OUT in it.
COMMANDS = {
    "reconstruct": ["reconstruct", "IN.mp4", "--out", "OUT.npz", "--network", "none", "--device", "cpu"],
    "reconstruct: preview": [
        "reconstruct",
        "shot.mp4",
        "--out",
        "t.npz",
        "--preview",
        "OUT.mp4",
        "--mano",
        "IN",
    ],
    "reconstruct: proxy": [
        "reconstruct",
        "shot.mp4",
        "--out",
        "t.npz",
        "--proxy",
        "OUT.mp4",
        "--camera-path",
        "IN.json",
    ],
    "reconstruct: network": ["reconstruct", "shot.mp4", "--out", "OUT.npz", "--network", "IN/card.json"],
    "batch": ["batch", "IN.csv", "--out", "OUT"],
    "batch: JSON": ["batch", "IN.json", "--out", "OUT"],
    "solve": ["solve", "IN.npz", "--out", "OUT.npz", "--range", "0-1"],
    "solve: corrections": ["solve", "take.npz", "--out", "OUT.npz", "--corrections", "IN.json"],
    "preview: take": ["preview", "IN.npz", "shot.mp4", "OUT.mp4"],
    "preview: footage": ["preview", "take.npz", "IN.mp4", "OUT.mp4"],
    "inspect": ["inspect", "IN.npz"],
    "import": ["import", "IN.pkl", "--out", "OUT.npz"],
    "import: footage": ["import", "take.npz", "--out", "OUT.npz", "--footage", "IN.mp4"],
    "export": ["export", "IN.npz", "--as", "openxr", "--out", "OUT.json"],
    "live": ["live", "IN.mp4", "--no-browser", "--seconds", "1"],
    "network run": ["network", "run", "--weights", "w", "--input", "IN.npy", "--output", "OUT.npz"],
    "import-weights": ["import-weights", "IN.pth", "--out", "OUT"],
}

_watched: list[str] = []


def _interrupt(event: str, arguments: tuple[object, ...]) -> None:
    """Ctrl-C at the moment in which a watched file is opened."""
    if event == "open" and _watched and str(arguments[0]).endswith(_watched[0]):
        _watched.clear()
        signal.raise_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def interrupts() -> Generator[list[str]]:
    """Names of files whose opening is interrupted."""
    sys.addaudithook(_interrupt)
    # A test run that was started in the background ignores Ctrl-C.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield _watched
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a movie and a take of it in it."""
    monkeypatch.chdir(tmp_path)
    write_empty_scene(tmp_path / "shot.mp4")
    save_take(sample_take(), tmp_path / "take.npz")
    return tmp_path


def words(name: str, source: str = "in", target: str = "out") -> list[str]:
    return [word.replace("IN", source).replace("OUT", target) for word in COMMANDS[name]]


def make_pipe(path: Path) -> None:
    if os.name == "nt":
        pytest.skip("Windows has no pipes among its files")
    os.mkfifo(path)


def make_device(path: Path, name: str) -> None:
    if not Path("/dev", name).exists():
        pytest.skip(f"this system has no device {name}")
    path.symlink_to(f"/dev/{name}")


def error_lines(text: str) -> list[str]:
    """What was said beside warnings."""
    return [line for line in text.splitlines() if not line.startswith("warning: ")]


def said(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert "Traceback" not in text and "This is a bug" not in text
    assert "[Errno" not in text and ".tmp" not in text  # names that nobody chose
    return text


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("fault", ["not there", "rubbish", "empty", "a folder", "a pipe", "a device"])
def test_unusable_input_gives_exit_code_2_and_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, fault: str
) -> None:
    source = next(word for word in COMMANDS[name] if "IN" in word).replace("IN", "in")
    path = folder / source
    path.parent.mkdir(exist_ok=True)
    if fault == "rubbish":
        path.write_bytes(bytes(range(256)) * 20)
    elif fault == "empty":
        path.write_bytes(b"")
    elif fault == "a folder":
        path.mkdir()
    elif fault == "a pipe":
        make_pipe(path)
    elif fault == "a device":
        make_device(path, "zero")
    before = sorted(folder.rglob("*"))
    assert main(words(name)) == 2
    assert len(error_lines(said(capsys))) == 1
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    "name",
    [
        "reconstruct",
        "batch",
        "solve",
        "preview: take",
        "inspect",
        "import",
        "export",
        "network run",
        "import-weights",
    ],
)
def test_unknown_arguments_give_exit_code_2(capsys: pytest.CaptureFixture[str], name: str) -> None:
    command = words(name)[: 2 if name == "network run" else 1]
    for more in ([], ["--no-such-option"]):
        with pytest.raises(SystemExit) as ended:
            main([*command, *more])
        assert ended.value.code == 2
    assert "usage:" in said(capsys)


WRITERS = {
    "reconstruct": ["reconstruct", "shot.mp4", "--out", "OUT.npz", "--network", "none", "--device", "cpu"],
    "preview": ["preview", "take.npz", "shot.mp4", "OUT.mp4"],
    "inspect": ["inspect", "take.npz", "--plot", "OUT.png"],
    "export": ["export", "take.npz", "--as", "mano-npz", "--out", "OUT.npz"],
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("fault", ["under a file", "a folder", "a device", "a pipe"])
def test_an_unwritable_output_gives_exit_code_2_and_loses_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, fault: str
) -> None:
    suffix = WRITERS[name][-1 if name != "reconstruct" else 3].removeprefix("OUT")
    target = "shot.mp4/x" if fault == "under a file" else "x"
    path = folder / f"{target}{suffix}"
    if fault == "a folder":
        path.mkdir()
    elif fault == "a device":
        make_device(path, "full")
    elif fault == "a pipe":
        make_pipe(path)
    before = {file: file.lstat().st_size for file in folder.rglob("*")}
    assert main([word.replace("OUT", target) for word in WRITERS[name]]) == 2
    assert len(error_lines(said(capsys))) == 1
    assert {file: file.lstat().st_size for file in folder.rglob("*")} == before


@pytest.mark.parametrize("name", ["inspect", "export"])
def test_a_full_disk_gives_exit_code_1_and_leaves_no_partial_files(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    before = sorted(folder.iterdir())
    with full_disk(100):
        assert main([word.replace("OUT", "x") for word in WRITERS[name]]) == 1
    said(capsys)
    assert sorted(folder.iterdir()) == before


def test_a_piece_that_does_not_fit_on_the_disk_gives_a_single_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    afterwards: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", afterwards.append)
    with ResumeCache(tmp_path / "t.npz", resume=True) as cache:
        with full_disk(1000), pytest.raises(TakeError, match="could not be written"):
            cache.save("detect", {}, {"time_s": np.arange(10_000.0)})
        gc.collect()
        assert afterwards == []
        assert not list(cache.folder.glob("*.npz")) and not list(cache.folder.glob(".*.tmp"))


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "network run"])
def test_ctrl_c_gives_exit_code_130(
    folder: Path, capsys: pytest.CaptureFixture[str], interrupts: list[str], name: str
) -> None:
    source = next(word for word in COMMANDS[name] if "IN" in word).replace("IN", "in")
    path = folder / source
    path.parent.mkdir(exist_ok=True)
    if source == "in":  # the folder of a hand model
        path.mkdir()
        for side in ("LEFT", "RIGHT"):
            (path / f"MANO_{side}.pkl").write_bytes(b"x")
        source = "MANO_LEFT.pkl"
    else:
        path.write_bytes(b"x" * 100)
    interrupts[:] = [source]
    try:
        assert main(words(name)) == 130
    finally:
        interrupts.clear()
    assert "The run was stopped" in said(capsys)


def test_success_gives_exit_code_0(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "take.npz"]) == 0
    assert main(["batch", "shot.mp4", "--out", "takes", "--list"]) == 0
    assert said(capsys) is not None
