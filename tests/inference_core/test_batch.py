# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches: nothing is captured twice, lost, or overwritten; and the reports are right."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from inference_core.batch.blender_files import BlenderFiles
from inference_core.batch.capture_process import Outcome, run_capture
from inference_core.batch.command import batch_exit_code
from inference_core.batch.in_parts import in_parts
from inference_core.batch.local_pool import Watcher, run_here
from inference_core.batch.manifest import Shot, read_shots
from inference_core.batch.records import ShotRecord
from inference_core.batch.run import run_batch, write_reports
from inference_core.shared.errors import RequestError
from inference_core.shared.messages import CaptureRequest
from inference_core.shared.take import load_take, save_take
from tests.inference_core.movies import write_empty_scene
from tests.sample_take import sample_take

Attempt = Callable[[Shot], Outcome]
CAPTURED = Outcome("done", 1.0)


def captured(shot: Shot) -> Outcome:
    save_take(sample_take(6, seed=len(shot.name)), shot.request.out)
    return CAPTURED


class CountingPool:
    """Captures by a function, one at a time, and which shots it was asked for."""

    def __init__(self, attempt: Attempt = captured) -> None:
        self.attempt, self.asked = attempt, list[str]()

    def __call__(self, shots: Sequence[Shot], retries: int, watcher: Watcher, stop: threading.Event) -> None:
        for shot in shots:
            self.asked.append(shot.name)
            watcher.progress(shot.name, "detect", 1, 2)
            watcher.ended(shot.name, self.attempt(shot))


def clips(folder: Path, *names: str) -> Path:
    """Files with contents of their own; which these are does not matter to a pool of ours."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def batch(
    source: Path, folder: Path, pool: CountingPool, blender: BlenderFiles | None = None
) -> dict[str, ShotRecord]:
    shots = read_shots([str(source)], folder, {}, preview=False)
    records = run_batch(shots, folder, pool, lambda *_: None, threading.Event(), 1, blender or BlenderFiles())
    write_reports(folder, records)
    return {record.name: record for record in records}


def test_finished_content_is_not_captured_again_under_another_name(tmp_path: Path) -> None:
    source, out, pool = clips(tmp_path / "in", "a.mov", "b.mov"), tmp_path / "out", CountingPool()
    first = batch(source, out, pool)
    (source / "b.mov").rename(source / "renamed.mov")
    clips(source, "c.mov")
    second = batch(source, out, pool)
    assert pool.asked == ["a", "b", "c"]
    assert second["renamed"].take == "b.npz" and second["renamed"].state == "done"
    assert second["a"] == first["a"]


def test_changed_content_or_a_modified_take_is_captured_again(tmp_path: Path) -> None:
    source, out, pool = clips(tmp_path / "in", "a.mov", "b.mov", "c.mov"), tmp_path / "out", CountingPool()
    batch(source, out, pool)
    (source / "a.mov").write_text("edited")
    (out / "b.npz").unlink()
    assert batch(source, out, pool)["a"].state == "done"
    assert pool.asked == ["a", "b", "c", "a", "b"]


def test_the_same_content_is_captured_once(tmp_path: Path) -> None:
    source, out, pool = clips(tmp_path / "in", "a.mov", "b.mov"), tmp_path / "out", CountingPool()
    shutil.copy(source / "a.mov", source / "z.mov")
    records = batch(source, out, pool)
    assert pool.asked == ["a", "b"]
    assert (records["z"].state, records["z"].same_as, records["z"].take) == ("same", "a", "a.npz")


def test_takes_that_no_batch_wrote_are_kept(tmp_path: Path) -> None:
    source, out, pool = clips(tmp_path / "in", "a.mov", "b.mov"), tmp_path / "out", CountingPool()
    out.mkdir()
    (out / "a.npz").write_bytes(b"the user's")
    records = batch(source, out, pool)
    assert pool.asked == ["b"] and (out / "a.npz").read_bytes() == b"the user's"
    assert records["a"].state == "failed" and "Move it away" in (records["a"].error or "")


def test_failures_are_reported_and_retried_by_the_next_run(tmp_path: Path) -> None:
    source, out = clips(tmp_path / "in", "a.mov", "b.mov"), tmp_path / "out"
    full = Outcome("failed", 2.0, "TakeError", "<disk> full")
    failing = CountingPool(lambda shot: full if shot.name == "a" else captured(shot))
    records = batch(source, out, failing)
    assert (records["a"].state, records["a"].error, records["b"].state) == ("failed", "<disk> full", "done")
    assert "&lt;disk&gt; full" in (out / "report.html").read_text()
    pool = CountingPool()
    assert batch(source, out, pool)["a"].state == "done" and pool.asked == ["a"]


def test_a_stopped_batch_resumes(tmp_path: Path) -> None:
    source, out = clips(tmp_path / "in", "a.mov", "b.mov", "c.mov"), tmp_path / "out"

    def interrupted(shot: Shot) -> Outcome:
        if shot.name == "b":
            raise KeyboardInterrupt
        return captured(shot)

    states = {name: record.state for name, record in batch(source, out, CountingPool(interrupted)).items()}
    assert states == {"a": "done", "b": "stopped", "c": "stopped"}
    pool = CountingPool()
    batch(source, out, pool)
    assert pool.asked == ["b", "c"]


def test_a_scene_without_blender_fails_with_a_clear_message(tmp_path: Path) -> None:
    source, out = clips(tmp_path / "in", "a.mov"), tmp_path / "out"
    records = batch(source, out, CountingPool(), BlenderFiles("no-such-blender", blend=True))
    assert records["a"].state == "failed" and "--blender" in (records["a"].error or "")
    assert (out / "a.npz").exists()


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    source, out = clips(tmp_path / "in", "a.mov"), tmp_path / "out"
    batch(source, out, CountingPool())
    for damaged in ("{", '{"format": 1, "name": 3, "footage": ""}', '{"format": 9}'):
        (out / "records/a.json").write_text(damaged)
        with pytest.raises(RequestError, match=r"a\.json cannot be used"):
            batch(source, out, CountingPool())


def test_the_page_is_self_contained_and_links_existing_files(tmp_path: Path) -> None:
    source, out = clips(tmp_path / "in", "a b&c.mov", "gone.mov"), tmp_path / "out"
    lost = Outcome("failed", kind="FootageError", text="lost")
    failing = CountingPool(lambda shot: lost if shot.name == "gone" else captured(shot))
    records = batch(source, out, failing)
    page = Links()
    page.feed((out / "report.html").read_text())
    assert page.links == ["#gone", "a%20b_c.npz"] and (out / "a b_c.npz").exists()
    assert page.pictures and all(address.startswith("data:image/jpeg;base64,") for address in page.pictures)
    report = json.loads((out / "report.json").read_text())
    assert [shot["state"] for shot in report["shots"]] == ["done", "failed"]
    assert report["shots"][0]["left"]["seen"] == 6 == records["a b_c"].frames


class Links(HTMLParser):
    """Where a page's links and pictures lead."""

    def __init__(self) -> None:
        super().__init__()
        self.links, self.pictures = list[str](), list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "a":
            self.links.append(values["href"] or "")
        if tag == "img":
            self.pictures.append(values["src"] or "")


class Recorder:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, Outcome]] = []

    def progress(self, name: str, stage: str, done: int, total: int) -> None:
        """Not of interest."""

    def ended(self, name: str, outcome: Outcome) -> None:
        self.outcomes.append((name, outcome))


def test_parallel_captures_fail_only_for_unusable_input(tmp_path: Path) -> None:
    source, out, watcher = tmp_path / "in", tmp_path / "out", Recorder()
    source.mkdir()
    write_empty_scene(source / "a.mp4", 4)
    write_empty_scene(source / "b.mp4", 5)
    (source / "c.mp4").write_bytes(b"no movie")
    shots = read_shots([str(source)], out, {"network": "none"}, preview=False)
    run_here(2)(shots, 1, watcher, threading.Event())
    states = {name: outcome.state for name, outcome in watcher.outcomes}
    assert states == {"a": "done", "b": "done", "c": "failed"}
    assert len(watcher.outcomes) == 3, "what cannot be used is not tried again"
    assert [load_take(out / f"{name}.npz").frame_count for name in "ab"] == [4, 5]


def test_a_cancelled_capture_ends_and_reports_it(tmp_path: Path) -> None:
    stop = threading.Event()
    movie = write_empty_scene(tmp_path / "long.mp4", 400, (640, 480))
    request = CaptureRequest(str(movie), str(tmp_path / "take.npz"), network="none")

    def show(stage: str, done: int, total: int) -> None:
        stop.set()

    assert run_capture(request, 1, show, stop).state == "stopped"
    assert not (tmp_path / "take.npz").exists()


def test_a_killed_engine_may_be_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = CaptureRequest(str(write_empty_scene(tmp_path / "a.mp4")), str(tmp_path / "take.npz"))
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr("sys.executable", str(dying_interpreter(tmp_path)))
    outcome = run_capture(replace(request, network="none"), 1, lambda *_: None, threading.Event())
    assert (outcome.state, outcome.kind, outcome.may_try_again) == ("failed", "EngineEnded", True)
    assert "signal 9: last words" in (outcome.text or "")


def dying_interpreter(folder: Path) -> Path:
    script = folder / "dying"
    script.write_text("#!/bin/sh\necho last words >&2\nkill -9 $$\n")
    script.chmod(0o755)
    return script


@pytest.mark.parametrize(
    ("states", "is_task", "code"),
    [
        (["done", "same"], False, 0),
        (["done", "failed"], False, 1),
        (["failed"], True, 0),
        (["failed again"], True, 1),
        (["done", "stopped", "failed"], True, 130),
    ],
)
def test_a_farm_task_fails_only_if_a_retry_may_help(states: list[str], is_task: bool, code: int) -> None:
    records = [
        ShotRecord(str(number), "f", state=state.split()[0], may_try_again="again" in state)  # pyright: ignore[reportArgumentType]
        for number, state in enumerate(states)
    ]
    assert batch_exit_code(records, is_task) == code


_TABLE = """
import time
from inference_core.batch.live_table import LiveTable
from inference_core.batch.records import ShotRecord
with LiveTable(2) as table:
    table.tell(ShotRecord("a", "a.mp4", state="running"), "detect", 3, 10)
    time.sleep(0.4)
    table.tell(ShotRecord("a", "a.mp4", state="done", frames=10, seconds=1.5), "", 0, 0)
    table.tell(ShotRecord("b", "b.mp4", state="failed", error="It is no movie."), "", 0, 0)
    time.sleep(0.4)
"""


def test_a_terminal_shows_a_transient_table_and_permanent_failures() -> None:
    pty = pytest.importorskip("pty", reason="a terminal of our own needs a Unix")
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "60"}
    table = subprocess.Popen([sys.executable, "-c", _TABLE], stderr=follower, env=environment)
    os.close(follower)
    said = b""
    with suppress(OSError):  # the terminal is hung up at the end
        while part := os.read(leader, 4096):
            said += part
    os.close(leader)
    assert table.wait() == 0
    text = said.decode()
    assert "30 %" in text and "2 of 2 shots" in text
    assert "failed: b (It is no movie.)" in text and "done: a" not in text
    after = text[text.rindex("2 of 2 shots") :]
    assert "\x1b[2K" in after, "the table is wiped"


def test_blender_files_are_rewritten_with_their_take(tmp_path: Path) -> None:
    """A stand-in for Blender that writes how often it was asked."""
    blender = tmp_path / "blender"
    blender.write_text('#!/bin/sh\nfor last; do :; done\necho asked >> "$last"\n')
    blender.chmod(0o755)
    source, out = write_empty_scene(tmp_path / "a.mp4", 4), tmp_path / "out"
    files = BlenderFiles(str(blender), fbx=True)
    for frames, asked in ((4, 1), (4, 1), (5, 2)):
        write_empty_scene(source, frames)
        shots = read_shots([str(source)], out, {"network": "none"}, preview=False)
        records = run_batch(shots, out, CountingPool(), lambda *_: None, threading.Event(), blender=files)
        assert [record.state for record in records] == ["done"]
        assert (out / "a.fbx").read_text().count("asked") == asked


def test_long_shots_are_read_in_parts_and_reported_once(tmp_path: Path) -> None:
    """The order of work, whose results test_pipeline compares."""
    names = [tmp_path / f"{name}.mp4" for name in ("long", "short")]
    for path in names:
        path.write_bytes(path.name.encode())
    shots = read_shots([str(path) for path in names], tmp_path / "out", {}, preview=True)
    watcher, asked = Recorder(), list[tuple[str, str]]()

    def attempt(shot: Shot) -> Outcome:
        asked.append((shot.name, shot.request.part))
        assert (shot.request.preview is None) == bool(shot.request.part)
        return CAPTURED if shot.request.part != "1/2" else Outcome("failed", kind="EngineEnded")

    pool = in_parts(CountingPool(attempt), 2, lambda shot: shot.name == "long")
    pool(shots, 1, watcher, threading.Event())
    assert asked == [("long", "tracks"), ("short", ""), ("long", "1/2"), ("long", "2/2"), ("long", "")]
    assert [(name, outcome.state) for name, outcome in watcher.outcomes] == [
        ("short", "done"),
        ("long", "done"),
    ]
