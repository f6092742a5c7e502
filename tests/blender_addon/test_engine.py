# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's job and environment, tested with programs that imitate engines, well or badly."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blender_addon.engine.child import Child, EngineError, clean_environment
from blender_addon.engine.environment import EngineCheck
from blender_addon.engine.job import CaptureJob, JobQueue, JobState, Phase
from blender_addon.engine.warm import WarmEngine
from inference_core.shared.messages import CaptureRequest

FAKE = Path(__file__).with_name("fake_engine.py")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def make_job(tmp_path: Path) -> Iterator[Callable[..., CaptureJob]]:
    jobs: list[CaptureJob] = []

    def make(behaviour: str, name: str = "take.npz", **limits: Any) -> CaptureJob:
        command = (sys.executable, str(FAKE), behaviour)
        request = CaptureRequest(footage="shot é.mov", out=str(tmp_path / name))
        jobs.append(CaptureJob(command, request, tmp_path / "logs" / "engine.log", **limits))
        return jobs[-1]

    yield make
    for job in jobs:
        job.abandon()


def until(condition: Callable[[], Any], limit_s: float = 20.0) -> Any:
    end = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)
    return value


def run(job: CaptureJob) -> JobState:
    job.start()
    until(lambda: job.poll().ended)
    return job.state


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


def processes_of_group(group: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,pgid="], capture_output=True, text=True, check=True)
    pairs = [line.split() for line in listed.stdout.splitlines()]
    return [int(pid) for pid, leader in pairs if int(leader) == group]


def test_a_good_engine_returns_its_take_and_warnings(make_job: Callable[..., CaptureJob]) -> None:
    job = make_job("good")
    state = run(job)
    assert state.phase is Phase.DONE, state.error
    assert Path(job.request.out).read_text() == "a take"
    assert state.warnings == ("3 frames are missing.",)
    assert state.fraction == 1.0 and state.device == "cpu"


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("killed", "SIGKILL"),
        ("killed", "what the log says last"),
        ("crash_at_start", "no module named torch"),
        ("rubbish", "is not a message"),
        ("rubbish_later", "is not a message"),
        ("other_protocol", "protocol 99"),
        ("fails", "There is no film at shot.mov."),
    ],
)
def test_a_bad_engine_gives_an_error_with_the_reason(
    make_job: Callable[..., CaptureJob], behaviour: str, said: str
) -> None:
    job = make_job(behaviour)
    state = run(job)
    assert state.phase is Phase.FAILED
    assert said in state.error
    assert state.log_path in state.error


def test_a_hung_engine_is_stopped(make_job: Callable[..., CaptureJob]) -> None:
    job = make_job("hangs", silence_s=0.5)
    job.start()
    until(lambda: job.poll().done == 2)
    pid = job.pid
    assert pid is not None
    until(lambda: job.poll().ended)
    assert job.state.phase is Phase.FAILED and "said nothing" in job.state.error
    until(lambda: is_gone(pid))


def test_an_engine_that_never_answers_is_stopped(make_job: Callable[..., CaptureJob]) -> None:
    state = run(make_job("silent", hello_s=0.5))
    assert state.phase is Phase.FAILED and "said nothing" in state.error


def test_cancelling_a_responsive_engine_keeps_its_work(make_job: Callable[..., CaptureJob]) -> None:
    job = make_job("until_cancelled")
    job.start()
    until(lambda: job.poll().done == 1)
    job.cancel()
    until(lambda: job.poll().ended)
    assert job.state.phase is Phase.CANCELLED
    assert Path(job.request.out).read_text() == '{"type": "cancel"}\n'


def test_cancelling_ends_an_unresponsive_engine_and_its_children(make_job: Callable[..., CaptureJob]) -> None:
    job = make_job("deaf")
    job.start()
    until(lambda: job.poll().text.startswith("child"))
    pids = (job.pid, int(job.state.text.split()[1]))
    job.cancel()
    assert job.poll().phase is Phase.CANCELLING
    until(lambda: job.poll().ended)
    assert job.state.phase is Phase.CANCELLED
    for pid in pids:
        assert pid is not None
        until(lambda pid=pid: is_gone(pid))


@pytest.mark.parametrize("behaviour", ["deaf", "hangs"])
def test_an_engine_and_its_children_end_with_a_killed_blender(tmp_path: Path, behaviour: str) -> None:
    """`deaf` ignores SIGTERM and has a child, `hangs` reads nothing: neither notices by itself."""
    told = tmp_path / "pids"
    program = (
        "import sys, time; from pathlib import Path\n"
        "from blender_addon.engine.job import CaptureJob; from inference_core.shared.messages import CaptureRequest\n"
        f"request = CaptureRequest('a.mov', {str(tmp_path / 'a.npz')!r})\n"
        f"command = ({sys.executable!r}, {str(FAKE)!r}, {behaviour!r})\n"
        f"job = CaptureJob(command, request, Path({str(tmp_path / 'log')!r}))\n"
        "job.start()\n"
        "while job.poll().done < 2: time.sleep(0.01)\n"
        f"Path({str(told)!r}).write_text(f'{{job.pid}} {{job.state.text}}')\n"
        "time.sleep(600)\n"
    )
    blender = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    until(lambda: told.exists() and told.read_text())
    pids = processes_of_group(int(told.read_text().split()[0]))
    assert len(pids) >= (3 if behaviour == "deaf" else 2)
    blender.kill()
    blender.wait()
    for pid in pids:
        until(lambda pid=pid: is_gone(pid))


def test_a_full_disk_under_the_log_does_not_end_the_run(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.symlink_to("/dev/full")
    child = Child((sys.executable, "-c", "print('one'); print('two')"), log, merge_stderr=True)
    lines: list[str] = []
    until(lambda: lines.extend(child.lines()) or child.ending())
    child.close()
    assert lines == ["one", "two"]


def test_a_second_capture_waits_for_the_first(make_job: Callable[..., CaptureJob]) -> None:
    line = JobQueue()
    first, second = make_job("until_cancelled", "a.npz"), make_job("good", "b.npz")
    line.add(first)
    line.add(second)
    until(lambda: line.poll() == [] and first.state.done == 1)
    assert second.state.phase is Phase.QUEUED and line.waiting == 1
    first.cancel()
    until(lambda: line.poll() is not None and second.state.ended)
    assert first.state.phase is Phase.CANCELLED
    assert second.state.phase is Phase.DONE


@pytest.fixture
def warm() -> Iterator[WarmEngine]:
    engine = WarmEngine()
    yield engine
    engine.end()


def test_a_waiting_engine_runs_the_next_capture(
    make_job: Callable[..., CaptureJob], warm: WarmEngine
) -> None:
    jobs = [make_job("stays", f"{name}.npz", warm=warm) for name in "abc"]
    states = [run(job) for job in jobs[:2]]
    assert [state.phase for state in states] == [Phase.DONE, Phase.DONE]
    assert states[1].device == "cpu"
    first, second = (Path(job.request.out).read_text() for job in jobs[:2])
    assert first == second
    warm.end()
    pid = int(first.split()[1])
    until(lambda: is_gone(pid))
    assert run(jobs[2]).phase is Phase.DONE
    assert Path(jobs[2].request.out).read_text() != first


def test_an_engine_started_ahead_runs_the_first_capture(
    make_job: Callable[..., CaptureJob], warm: WarmEngine, tmp_path: Path
) -> None:
    command = (sys.executable, str(FAKE), "stays")
    warm.begin(command, tmp_path / "log")
    ahead = warm.take(command)
    assert ahead is not None
    warm.keep(ahead)
    warm.begin(command, tmp_path / "log")
    job = make_job("stays", warm=warm)
    job.start()
    assert job.pid == ahead.child.pid
    until(lambda: job.poll().ended)
    assert job.state.phase is Phase.DONE and job.state.device == "cpu"


def test_an_engine_that_died_while_waiting_is_restarted(
    make_job: Callable[..., CaptureJob], warm: WarmEngine
) -> None:
    first, second, third = (make_job("stays", f"{name}.npz", warm=warm) for name in "abc")
    run(first)
    pid = int(Path(first.request.out).read_text().split()[1])
    os.kill(pid, 9)
    second.start()  # perhaps before anybody knows that it has died
    until(lambda: second.poll().ended)
    assert second.state.phase is Phase.DONE, second.state.error
    pid = int(Path(second.request.out).read_text().split()[1])
    os.kill(pid, 9)
    until(lambda: is_gone(pid))
    time.sleep(0.5)
    assert run(third).phase is Phase.DONE


def test_stopped_failed_or_different_engines_do_not_wait(
    make_job: Callable[..., CaptureJob], warm: WarmEngine
) -> None:
    run(make_job("fails", warm=warm))
    stopped = make_job("until_cancelled", warm=warm)
    stopped.start()
    until(lambda: stopped.poll().done == 1)
    stopped.cancel()
    until(lambda: stopped.poll().ended)
    assert warm.take((sys.executable, str(FAKE), "until_cancelled")) is None
    kept = make_job("stays", warm=warm)
    run(kept)
    pid = int(Path(kept.request.out).read_text().split()[1])
    assert run(make_job("good", warm=warm)).phase is Phase.DONE
    until(lambda: is_gone(pid))


def test_a_waiting_engine_ends_with_its_blender(tmp_path: Path) -> None:
    told = tmp_path / "a.npz"
    program = (
        "import sys, time; from pathlib import Path\n"
        "from blender_addon.engine.job import CaptureJob; from blender_addon.engine.warm import WarmEngine\n"
        "from inference_core.shared.messages import CaptureRequest\n"
        f"request, warm = CaptureRequest('a.mov', {str(told)!r}), WarmEngine()\n"
        f"command = ({sys.executable!r}, {str(FAKE)!r}, 'stays')\n"
        f"job = CaptureJob(command, request, Path({str(tmp_path / 'log')!r}), warm=warm)\n"
        "job.start()\n"
        "while not job.poll().ended: time.sleep(0.01)\n"
        "print('waits', flush=True)\n"
        "time.sleep(600)\n"
    )
    blender = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE)
    assert blender.stdout is not None
    assert blender.stdout.readline() == b"waits\n"
    pid = int(told.read_text().split()[1])
    assert not is_gone(pid)
    blender.kill()
    blender.wait()
    until(lambda: is_gone(pid))


def test_a_missing_engine_gives_a_readable_error(tmp_path: Path) -> None:
    request = CaptureRequest(footage="a.mov", out=str(tmp_path / "a.npz"))
    job = CaptureJob((str(tmp_path / "no python"),), request, tmp_path / "engine.log")
    job.start()
    assert job.state.phase is Phase.FAILED and "preferences" in job.state.error


def test_an_unwritable_log_folder_gives_a_readable_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    request = CaptureRequest(footage="a.mov", out=str(tmp_path / "a.npz"))
    job = CaptureJob((sys.executable, str(FAKE), "good"), request, tmp_path / "file" / "engine.log")
    job.start()
    assert job.state.phase is Phase.FAILED and "log folder" in job.state.error


def test_blenders_python_settings_do_not_reach_the_engine() -> None:
    environment = {"PYTHONPATH": "x", "PYTHONHOME": "y", "VIRTUAL_ENV": "z", "PATH": "p", "HOME": "h"}
    kept = clean_environment(environment)
    assert kept.pop("OMP_WAIT_POLICY") == "PASSIVE"
    assert kept == {"PATH": "p", "HOME": "h"}
    assert clean_environment({"OMP_WAIT_POLICY": "ACTIVE"}) == {"OMP_WAIT_POLICY": "ACTIVE"}, "the user's own"


def test_a_python_without_the_engine_is_named(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\necho 'No module named inference_core' >&2\nexit 1\n")
    bare.chmod(0o755)
    check = EngineCheck(bare, tmp_path / "log")
    with pytest.raises(EngineError, match="No module named inference_core"):
        until(lambda: check.poll() is not None)


def test_an_answering_engine_is_described(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} {FAKE} hello\n")
    python.chmod(0o755)
    check = EngineCheck(python, tmp_path / "log")
    found = until(check.poll)
    assert found.version == "9.9" and found.devices == ("cpu",)
