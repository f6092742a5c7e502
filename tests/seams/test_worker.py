# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker as a process: what it says, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inference_core.shared.messages import (
    EXIT_CANCELLED,
    PROTOCOL_VERSION,
    CaptureRequest,
    Done,
    Failure,
    Hello,
    Message,
    Notice,
    StageProgress,
    Status,
    decode_message,
    encode_request,
)
from inference_core.shared.take import load_take
from tests.inference_core.movies import write_empty_scene

ROOT = Path(__file__).parents[2]
PATIENCE_S = 180.0

# A worker whose job is a library that does not come back for minutes and does not look at signals.
STUCK = """
import hashlib
from inference_core.worker import Orders, claim_stdout, stoppable, _stdin_lines
from inference_core.shared.messages import Status
wire = claim_stdout()
with stoppable(wire, Orders(_stdin_lines())):
    wire.send(Status("stuck"))
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2_000_000_000)
"""

NOISY = """
import ctypes, os, subprocess, sys
from inference_core.worker import claim_stdout
from inference_core.shared.messages import Done, Status
wire = claim_stdout()
print("rubbish from Python")
sys.__stdout__.write("rubbish past sys.stdout")
sys.__stdout__.flush()
os.write(1, b"rubbish from the system")
libc = ctypes.CDLL(None)
libc.puts(b"rubbish from C")
libc.fflush(None)
subprocess.run(["echo", "rubbish from a child"])
wire.send(Status("ready"))
wire.send(Done("t.npz"))
wire.send(Status("nothing may follow the last message"))
"""


# Put before every import of a worker: its job is C code that keeps the interpreter's lock.
DEAF = """
import ctypes
from inference_core import pipeline
def deaf(request, progress, warn):
    progress("detect", 0, 1)
    ctypes.PyDLL(None).sleep(600)
pipeline.reconstruct = deaf
"""

FAULTY = """
from inference_core import pipeline
def faulty(request, progress, warn):
    raise ZeroDivisionError("nobody foresaw this")
pipeline.reconstruct = faulty
"""


def start(*arguments: str, **settings: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **settings},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def next_message(worker: subprocess.Popen[bytes]) -> Message:
    assert worker.stdout is not None
    return decode_message(worker.stdout.readline().decode())


def rest(worker: subprocess.Popen[bytes]) -> list[Message]:
    out, _ = worker.communicate(timeout=PATIENCE_S)
    return [decode_message(line) for line in out.decode().splitlines()]


def capture(folder: Path, frame_count: int, **values: object) -> CaptureRequest:
    movie = write_empty_scene(folder / "empty.mp4", frame_count)
    return CaptureRequest(str(movie), str(folder / "take.npz"), device="cpu", network="none", **values)


def test_stdout_carries_only_messages() -> None:
    worker = start("-c", NOISY)
    out, err = worker.communicate(timeout=PATIENCE_S)
    assert [decode_message(line) for line in out.decode().splitlines()] == [Status("ready"), Done("t.npz")]
    assert err.count(b"rubbish") == 5


def test_a_request_is_answered_by_hello_progress_and_done(tmp_path: Path) -> None:
    worker = start("-m", "inference_core", "worker")
    hello = next_message(worker)
    assert isinstance(hello, Hello)
    assert (hello.protocol, hello.pid) == (PROTOCOL_VERSION, worker.pid)
    assert hello.device in hello.devices
    assert "torch" in hello.versions
    request = capture(tmp_path, 10, preview=str(tmp_path / "p.mp4"))
    worker.stdin.write(encode_request(request).encode())
    worker.stdin.flush()
    messages = [hello]
    while not isinstance(messages[-1], Done | Failure):
        messages.append(next_message(worker))
    assert messages[-1] == Done(request.out, request.preview)
    assert any(isinstance(message, Notice) and "No hands" in message.text for message in messages)
    progress = [message for message in messages if isinstance(message, StageProgress)]
    assert list(dict.fromkeys(message.stage for message in progress)) == ["detect", "solve", "preview"]
    assert all(0 <= message.done <= message.total == 10 for message in progress)
    assert rest(worker) == []
    assert worker.returncode == 0
    assert load_take(request.out).frame_count == 10


def through(worker: subprocess.Popen[bytes], line: str) -> list[Message]:
    """What the worker says to a request, the last message included."""
    worker.stdin.write(line.encode())
    worker.stdin.flush()
    messages = [next_message(worker)]
    while not isinstance(messages[-1], Done | Failure):
        messages.append(next_message(worker))
    return messages


def test_a_waiting_worker_handles_one_request_after_the_other(tmp_path: Path) -> None:
    worker = start("-m", "inference_core", "worker", "--idle", "60")
    assert isinstance(next_message(worker), Hello)
    request = capture(tmp_path, 5)
    first = through(worker, encode_request(request))
    before = Path(request.out).stat().st_mtime_ns
    assert first[-1] == Done(request.out)
    gone = through(worker, encode_request(CaptureRequest(str(tmp_path / "none.mp4"), request.out)))
    assert isinstance(gone[-1], Failure) and gone[-1].kind == "FootageError"
    assert isinstance(through(worker, '{"type": "rubbish"}\n')[-1], Failure)
    assert through(worker, encode_request(request)) == first
    assert Path(request.out).stat().st_mtime_ns > before
    worker.stdin.close()
    start_s = time.monotonic()
    assert worker.wait(PATIENCE_S) == 0
    assert time.monotonic() - start_s < 2
    assert worker.stdout.read() == b""


def test_a_waiting_worker_ends_by_itself_or_on_request(tmp_path: Path) -> None:
    request = encode_request(capture(tmp_path, 5))
    for idle_s, order in (("0.3", b""), ("60", b'{"type": "cancel"}\n')):
        worker = start("-m", "inference_core", "worker", "--idle", idle_s)
        next_message(worker)
        through(worker, request)
        worker.stdin.write(order)
        worker.stdin.flush()
        assert worker.wait(5) == 0, "its last run was done"


def test_a_waiting_workers_second_run_can_be_stopped(tmp_path: Path) -> None:
    worker = start("-m", "inference_core", "worker", "--idle", "60")
    next_message(worker)
    through(worker, encode_request(capture(tmp_path, 5)))
    worker.stdin.write(encode_request(capture(tmp_path, 300, resume=False)).encode())
    worker.stdin.flush()
    while not isinstance(next_message(worker), StageProgress):
        pass
    worker.stdin.write(b'{"type": "cancel"}\n')
    worker.stdin.flush()
    messages = rest(worker)
    assert isinstance(messages[-1], Failure) and messages[-1].kind == "Cancelled"
    assert worker.returncode == EXIT_CANCELLED


def test_the_command_line_accepts_a_json_request(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "inference_core", "reconstruct", str(tmp_path / "none.mp4"), "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    hello, failure = (decode_message(line) for line in done.stdout.decode().splitlines())
    assert isinstance(hello, Hello)
    assert isinstance(failure, Failure)
    assert failure.kind == "FootageError"
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_a_garbage_request_gives_an_error_message() -> None:
    worker = start("-m", "inference_core", "worker")
    out, _ = worker.communicate(b"rubbish\n", timeout=PATIENCE_S)
    failure = decode_message(out.decode().splitlines()[-1])
    assert isinstance(failure, Failure)
    assert failure.kind == "RequestError"
    assert worker.returncode == 2


def test_a_worker_without_a_request_ends_by_itself() -> None:
    worker = start("-m", "inference_core", "worker")
    assert [type(message) for message in rest(worker)] == [Hello]
    assert worker.returncode == 0


@pytest.mark.parametrize("way", ["cancel", "closed stdin", "SIGINT", "SIGTERM"])
def test_a_worker_stuck_in_a_library_ends_within_two_seconds(way: str) -> None:
    worker = start("-c", STUCK)
    assert next_message(worker) == Status("stuck")
    time.sleep(0.3)  # the message goes out just before the library is entered
    asked_s = time.monotonic()
    if way == "cancel":
        worker.stdin.write(json.dumps({"type": "cancel"}).encode() + b"\n")
        worker.stdin.flush()
    elif way == "closed stdin":
        worker.stdin.close()
        worker.stdin = None
    else:
        worker.send_signal(getattr(signal, way))
    code = worker.wait(PATIENCE_S)
    assert time.monotonic() - asked_s < 2.0
    assert code == EXIT_CANCELLED
    last = next_message(worker)
    assert isinstance(last, Failure)
    assert last.kind == "Cancelled"


def injected(folder: Path, code: str) -> dict[str, str]:
    """Settings under which every Python runs the code first."""
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": os.pathsep.join([str(folder / "site"), str(ROOT)]), "XDG_CACHE_HOME": str(folder)}


@pytest.mark.parametrize("way", ["cancel", "closed stdin", "SIGTERM"])
def test_a_worker_blocked_in_c_code_ends_within_two_seconds(tmp_path: Path, way: str) -> None:
    worker = start("-m", "inference_core", "worker", **injected(tmp_path, DEAF))
    worker.stdin.write(encode_request(CaptureRequest("a.mp4", str(tmp_path / "a.npz"))).encode())
    worker.stdin.flush()
    while not isinstance(next_message(worker), StageProgress):
        pass
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    time.sleep(0.2)
    asked_s = time.monotonic()
    if way == "cancel":
        worker.stdin.write(b'{"type": "cancel"}\n')
        worker.stdin.flush()
    elif way == "closed stdin":
        worker.stdin.close()
        worker.stdin = None
    else:
        worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE_S) == EXIT_CANCELLED
    assert time.monotonic() - asked_s < 4.0
    last = next_message(worker)
    assert isinstance(last, Failure)
    assert last.kind == "Cancelled"
    assert children
    assert not any(is_alive(int(child)) for child in children)


def test_an_internal_error_gives_a_line_and_a_log_but_no_traceback(tmp_path: Path) -> None:
    settings = injected(tmp_path, FAULTY)
    worker = start("-m", "inference_core", "worker", **settings)
    request = encode_request(CaptureRequest("a.mp4", str(tmp_path / "a.npz")))
    worker.stdin.write(request.encode())
    worker.stdin.flush()
    assert isinstance(next_message(worker), Hello)
    failure = next_message(worker)
    assert isinstance(failure, Failure)
    _, err = worker.communicate(timeout=PATIENCE_S)
    assert worker.returncode == 1
    plain = start(
        "-m", "inference_core", "reconstruct", "a.mp4", "--out", str(tmp_path / "a.npz"), **settings
    )
    _, told = plain.communicate(timeout=PATIENCE_S)
    assert plain.returncode == 1
    for text in (failure.text, told.decode()):
        assert "nobody foresaw this" in text
        assert "Traceback" not in text
        log = next(word for word in text.split() if word.endswith(".log"))
        assert "ZeroDivisionError" in Path(log).read_text()
    assert b"Traceback" not in err


def test_a_deeply_nested_line_does_not_block_a_worker(tmp_path: Path) -> None:
    worker = start("-m", "inference_core", "worker", **injected(tmp_path, DEAF))
    request = encode_request(CaptureRequest("a.mp4", str(tmp_path / "a.npz"))).encode()
    out, _ = worker.communicate(
        request + b"[" * 200_000 + b"\n" + b"x" * 3_000_000 + b'\n{"type": "cancel"}\n', timeout=PATIENCE_S
    )
    assert worker.returncode == EXIT_CANCELLED
    assert isinstance(decode_message(out.decode().splitlines()[-1]), Failure)


@pytest.mark.parametrize("command", ["worker", "reconstruct"])
@pytest.mark.parametrize("streams", ["closed", "full"])
def test_closed_or_full_streams_lose_messages_but_not_the_take(
    tmp_path: Path, command: str, streams: str
) -> None:
    request = capture(tmp_path, 3)
    out = tmp_path / "take.npz"
    words = (
        ["worker"]
        if command == "worker"
        else ["reconstruct", request.footage, "--out", str(out), "--network", "none"]
    )
    where = ">&- 2>&-" if streams == "closed" else "> /dev/full 2> /dev/full"
    worker = subprocess.Popen(
        ["sh", "-c", f'exec "$@" {where}', "sh", sys.executable, "-m", "inference_core", *words],
        cwd=ROOT,
        stdin=subprocess.PIPE,
    )
    assert worker.stdin is not None
    worker.stdin.write(encode_request(request).encode())
    worker.stdin.flush()
    assert worker.wait(PATIENCE_S) == 0
    assert load_take(out).frame_count == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.mp4", "take.npz"]


def test_a_worker_whose_parent_is_killed_ends_too() -> None:
    parent_code = (
        "import subprocess, sys, time\n"
        f"worker = subprocess.Popen([sys.executable, '-c', {STUCK!r}],"
        " stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "worker.stdout.readline()\n"
        "print(worker.pid, flush=True)\n"
        "time.sleep(600)"
    )
    parent = start("-c", parent_code)
    assert parent.stdout is not None
    worker_pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait(PATIENCE_S)
    end_s = time.monotonic() + 10
    while is_alive(worker_pid) and time.monotonic() < end_s:
        time.sleep(0.05)
    assert not is_alive(worker_pid)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits to be collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_next_worker_resumes_a_killed_ones_run(tmp_path: Path) -> None:
    request = capture(tmp_path, 560)
    worker = start("-m", "inference_core", "worker")
    worker.stdin.write(encode_request(request).encode())
    worker.stdin.flush()
    while True:
        message = next_message(worker)
        if isinstance(message, StageProgress) and message.done > 480:
            break
    worker.kill()
    worker.wait(PATIENCE_S)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.mp4", "take.npz.partial"]

    worker = start("-m", "inference_core", "worker")
    worker.stdin.write(encode_request(request).encode())
    worker.stdin.flush()
    heard: list[int] = []
    while not isinstance(message := next_message(worker), Done | Failure):
        if isinstance(message, StageProgress) and message.stage == "detect":
            heard.append(message.done)
    assert isinstance(message, Done)
    assert heard[0] == 480
    rest(worker)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.mp4", "take.npz"]
    assert load_take(request.out).frame_count == 560
