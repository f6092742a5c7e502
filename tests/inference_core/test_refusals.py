# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command refuses what cannot be used in one line, with exit code 2, before torch is loaded, in little memory."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference_core.exchange.mano_file import mano_arrays
from inference_core.exchange.result_file import read_result_file
from inference_core.geometry.camera import default_camera
from inference_core.geometry.camera_path import with_camera_path
from inference_core.shared.corrections import read_corrections
from inference_core.shared.take import load_take, save_take
from inference_core.two_hand.card import SHIPPED_FOLDER
from tests.data.mano.official_layout import official_pickle, random_hand
from tests.inference_core.movies import write_empty_scene
from tests.sample_take import sample_take
from tests.shared_files import case_files

T = 12  # frames of the sample take
# What another program may have put into a MANO file of ours, and into a camera path: all that no take can hold.
MANO_FAULTS: dict[str, dict[str, Any]] = {
    "fps_0": {"fps": 0.0},
    "fps_nan": {"fps": np.nan},
    "fps_two": {"fps": [25.0, 25.0]},
    "times_equal": {"time_s": np.zeros(T)},
    "times_short": {"time_s": np.zeros(1)},
    "frames_fall": {"frame": np.arange(T)[::-1]},
    "frames_nan": {"frame": np.full(T, np.nan)},
    "frames_huge": {"frame": np.full(T, 1e300)},
    "frames_text": {"frame": np.array(["a"] * T)},
    "frames_none": {"frame": np.zeros(0, int)},
    "frames_early": {"frame": np.arange(T) - 1000},
    "size_0": {"size_px": [0, 0]},
    "size_huge": {"size_px": [1 << 62, 1 << 62]},
    "size_three": {"size_px": [1, 2, 3]},
    "lens_0": {"K": np.zeros((3, 3))},
    "lens_2x2": {"K": np.eye(2)},
    "lens_more": {"K": np.tile(np.eye(3), (T + 1, 1, 1))},
    "poses_more": {"T_world_cam": np.tile(np.eye(4), (T + 1, 1, 1))},
    "poses_scaled": {"T_world_cam": np.tile(2 * np.eye(4), (T, 1, 1))},
    "present_short": {"present": np.ones((T - 1, 2))},
    "joints_short": {"joints_cam_m": np.ones((T - 1, 2, 21, 3))},
    "present_nan": {"present": np.full((T, 2), np.nan)},
    "confidence_7": {"confidence": np.full((T, 2), 7.0)},
    "newer": {"duohand_mano": 9},
}
CAMERA_FAULTS = {
    "transposed": np.tile(np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 2, 3, 1.0]]), (8, 1, 1)),
    "scaled": np.tile(np.diag([1, 1, 1, 5.0]), (8, 1, 1)),
    "far": np.tile(np.array([[1, 0, 0, 1e30], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), (8, 1, 1)),
    "text": np.tile(np.eye(4), (8, 1, 1)).astype(str),
}
# Each with one wrong value at its end.
VALUES = {
    "reconstruct shot.mp4 --out t.npz": [
        "--frames 50:60",
        "--frames x",
        "--frames 3:1",
        "--fps nan",
        "--fov 0",
        "--fov nan",
        "--focal-mm 35",
        "--fov 50 --focal-mm 35 --sensor-mm 36",
        "--hand-length-mm 5",
        "--hand-length-mm nan",
        "--smooth 2",
        "--camera-path nowhere.json",
        "--camera-path list.json",
        "--camera-path other.npz",
        "--mano nowhere",
        "--mano shot.mp4",
        "--network nowhere",
        "--network shot.mp4",
        "--network needs_mano",
        "--max-pixels 10",
        "--max-frames 1",
        "--proxy x.png",
        "--proxy shot.mp4",
        "--preview x.npz",
        "--preview shot.mp4",
    ],
    "batch shot.mp4 --out b": [
        "--only 9",
        "--jobs 0",
        "--retries -3",
        "--frames x",
        "--fov 0",
        "--smooth 7",
        "--hand-length-mm 5",
        "--blend --blender nowhere",
    ],
    "batch --out b": ["list.json", "other.json", "nowhere/*.mp4", "twice.csv", "part.csv"],
    "import --out i.npz": [
        *(f"mano_{name}.npz" for name in MANO_FAULTS),
        "hand.json --size 640x480 --first 900",
    ],
    "reconstruct shot.mp4 --out t.npz --sensor-mm 0.01 --focal-mm": ["1e5"],
    "reconstruct shot.mp4 --out t.npz --camera-path": [f"camera_{name}.json" for name in CAMERA_FAULTS],
    "solve take.npz --out s.npz": [
        "",
        "--range 5",
        "--range 900-910",
        "--range 9-1",
        "--range 0-1 --blend -1",
        "--range 0-1 --mano nowhere",
        "--corrections list.json",
        "--corrections take.npz",
        "--range 0-99999999999999999999999",
    ],
    "solve --range 0-1": ["take.npz --out x.mp4", "shot.mp4 --out x.npz", "no_evidence.npz --out x.npz"],
    "preview take.npz": ["shot.mp4 x.npz", "shot.mp4 shot.mp4", "nowhere.mp4 x.mp4"],
    "inspect": ["shot.mp4", "take.npz --plot take.npz"],
    "import hand.json --out i.npz": [
        "",
        "--fps 0 --size 640x480",
        "--fov nan --size 640x480",
        "--focal-mm 3 --size 640x480",
        "--mano nowhere --size 640x480",
        "--hand-length-mm 5 --size 640x480",
        "--footage nowhere.mp4",
        "--footage shot.mp4 --first 900",
        "--footage shot.mp4 --size 640x480",
    ],
    "import --out i.npz --size 640x480": [
        "behind.json",
        "of_other_pictures.json",
        "of_no_size.json",
        "other.json",
        "other.npz",
        "list.json",
        "take.npz",
        "wrong.npy",
        "nowhere",
        "empty",
    ],
    "export take.npz --as": [
        "smplx --mano nowhere",
        "smplx --mano shot.mp4",
        "openxr --out x.npz",
        "mano-npz --out take.npz",
    ],
    "live shot.mp4 --no-browser": [
        "--port 99999",
        "--seconds 0",
        "--seconds nan",
        "--record x.avi",
        "--record shot.mp4",
        "--record nowhere/x.mp4",
        "--fov 0",
        "--hand-length-mm 5",
        "--out x.mov",
    ],
    "live --no-browser": ["99", "nowhere"],
    "network run --weights DIR_S --output o.npz --input": [
        "wrong.npy",
        "nan.npy",
        "double.npy",
        "none.npy",
        "shot.mp4",
        "nowhere",
        "right.npy --mano nowhere",
    ],
    "network run --weights needs_mano --output o.npz --input": ["right.npy"],
    "network run --weights DIR_S --input right.npy --output": ["right.npy"],
    "import-weights --out w": ["shot.mp4", "take.npz", "nowhere", "empty"],
}
MADE = [f"{command} {value}".strip() for command, values in VALUES.items() for value in values]
# Each with a file in the place of FILE, or in the folder there.
HOSTILE = {
    "*.npz": ["solve FILE --out s.npz --range 0-1", "import FILE --out s.npz", "inspect FILE"],
    "net/*.pth": ["import-weights FILE --out w", "import FILE --out i.npz"],
    "net/*": [
        "network run --weights FILE --input right.npy --output o.npz",
        "reconstruct shot.mp4 --out t.npz --network FILE",
    ],
    "mano/*": [
        "network run --weights DIR_S --mano FILE --input right.npy --output o.npz",
        "export take.npz --as smplx --mano FILE",
        "reconstruct shot.mp4 --out t.npz --mano FILE",
        "import hand.json --size 640x480 --out i.npz --mano FILE",
        "import FILE/MANO_LEFT.pkl --out i.npz",
    ],
    "foot/*.exr": ["reconstruct FILE --out t.npz", "import hand.json --out i.npz --footage FILE"],
}

_SCRIPT = """
import contextlib, io, json, os, sys, time
if sys.platform == "linux":
    import resource
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
sys.modules["torch"] = None  # an attempt to load it is an error of ours, with exit code 1
from inference_core.__main__ import main
results = []
for words in json.load(sys.stdin):
    said, began_s = io.StringIO(), time.process_time()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = main(words)
        except SystemExit as ended:
            code = ended.code
    results.append((code, said.getvalue(), time.process_time() - began_s))
children = open(f"/proc/self/task/{os.getpid()}/children").read() if sys.platform == "linux" else ""
print(json.dumps([results, sorted(os.listdir()), children]))
"""


def answers(commands: list[list[str]], folder: Path) -> tuple[list[tuple[int, str, float]], list[str], str]:
    """Exit code, text and seconds of each command, run in the folder; what is in it afterwards, and children left."""
    ended = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return tuple(json.loads(ended.stdout.splitlines()[-1]))  # pyright: ignore[reportReturnType]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A movie, a take of it, and files that are something else than they should be."""
    made = tmp_path_factory.mktemp("refusals")
    write_empty_scene(made / "shot.mp4")
    save_take(sample_take(), made / "take.npz")
    save_take(sample_take(), made / "no_evidence.npz")
    hand: dict[str, Any] = {
        "global_orient": np.zeros((1, 3)).tolist(),
        "hand_pose": np.zeros((15, 3)).tolist(),
        "pred_cam_t_full": [[0, 0, 1.0]],
    }
    documents = {
        "hand": {"img_1.jpg": hand},
        "behind": {"img_1.jpg": {**hand, "pred_cam_t_full": [[0, 0, -1.0]]}},
        "of_other_pictures": {"img_1.jpg": {**hand, "img_size": [100, 480]}},
        "of_no_size": {"img_1.jpg": {**hand, "img_size": [0, 0]}},
        "other": {"a": 1},
        "list": [],
    }
    documents |= {f"camera_{name}": poses.tolist() for name, poses in CAMERA_FAULTS.items()}
    for name, content in documents.items():
        (made / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    np.savez(made / "other.npz", a=np.zeros(3))
    picture = np.zeros((1, 3, 256, 256), np.float32)
    pictures = {
        "right": picture,
        "wrong": picture[..., :5],
        "nan": picture + np.nan,
        "double": picture.astype(np.float64),
        "none": picture[:0],
    }
    for name, array in pictures.items():
        np.save(made / f"{name}.npy", array)
    mano = mano_arrays(load_take(made / "take.npz"))
    for name, changed in MANO_FAULTS.items():
        np.savez(made / f"mano_{name}.npz", allow_pickle=False, **{**mano, **changed})
    (made / "twice.csv").write_text("footage,footage\nshot.mp4,other.mp4\n", encoding="utf-8")
    (made / "part.csv").write_text("footage,part\nshot.mp4,2/3\n", encoding="utf-8")
    (made / "empty").mkdir()
    (made / "needs_mano").mkdir()
    for file in SHIPPED_FOLDER.glob("*"):
        text = file.read_bytes()
        if file.suffix == ".json":
            card = json.loads(text)
            text = json.dumps({**card, "hand_model": "MANO"}).encode()
        (made / "needs_mano" / file.name).write_bytes(text)
    return made


@pytest.fixture(scope="module")
def ask(folder: Path):
    """All answers to the commands of MADE, got in one process when the first is asked for."""

    @cache
    def all_answers() -> tuple[dict[str, tuple[int, str, float]], list[str], str]:
        results, left, children = answers([words(command) for command in MADE], folder)
        return dict(zip(MADE, results, strict=True)), left, children

    return all_answers


def words(command: str, file: str = "") -> list[str]:
    return [word.replace("DIR_S", str(SHIPPED_FOLDER)).replace("FILE", file) for word in command.split()]


def check(answer: tuple[int, str, float]) -> None:
    code, text, processor_s = answer
    lines = [line for line in text.splitlines() if not line.startswith("warning: ")]
    assert (code, len(lines)) == (2, 1), text
    assert lines[0].startswith("duohand: ")
    assert processor_s < 5


@pytest.mark.parametrize("command", MADE)
def test_what_cannot_be_used_is_refused_in_one_line_before_torch(ask: Any, command: str) -> None:
    check(ask()[0][command])


def test_refusals_leave_nothing_behind(ask: Any, folder: Path) -> None:
    before = sorted(path.name for path in folder.iterdir())
    _, left, children = ask()
    assert (left, children.split()) == (before, [])


@pytest.mark.parametrize("pattern", HOSTILE)
def test_hostile_files_are_refused_by_every_command_that_reads_them(
    folder: Path, tmp_path: Path, pattern: str
) -> None:
    asked = []
    for file in case_files("hostile", pattern):
        source = file
        if pattern == "net/*" and not file.is_dir():
            continue
        if pattern == "mano/*":
            source = tmp_path / file.name
            source.mkdir()
            (source / "MANO_LEFT.pkl").write_bytes((file / "MANO_LEFT.pkl").read_bytes())
            (source / "MANO_RIGHT.pkl").write_bytes(official_pickle(random_hand(2)))
        asked += [words(command, str(source)) for command in HOSTILE[pattern]]
    results, _, children = answers(asked, folder)
    for answer in results:
        check(answer)
    assert not children.split()


def test_text_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """Windows' editors put one in front."""
    file = tmp_path / "said.json"
    file.write_text("\ufeff" + json.dumps({"corrections": []}), encoding="utf-8")
    assert read_corrections(file) == ()
    assert read_result_file(file) == {"corrections": []}
    file.write_text("\ufeff" + json.dumps(np.eye(4)[None].tolist()), encoding="utf-8")
    assert with_camera_path(default_camera((64, 48)), file, range(1)).T_world_cam.shape == (1, 4, 4)
