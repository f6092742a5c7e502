# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that imitates an engine, well or badly: `python fake_engine.py BEHAVIOUR`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path


def say(**message: object) -> None:
    print(json.dumps(message), flush=True)


def hello(protocol: int = 1) -> None:
    say(type="hello", protocol=protocol, version="9.9", device="cpu", devices=["cpu"])


def work(steps: int = 5, pause_s: float = 0.01) -> None:
    for done in range(1, steps + 1):
        say(type="progress", stage="detect", done=done, total=steps)
        time.sleep(pause_s)


def main(behaviour: str) -> None:
    if behaviour == "silent":
        time.sleep(600)
    if behaviour == "crash_at_start":
        sys.exit("no module named torch")
    if behaviour == "other_protocol":
        hello(protocol=99)
        time.sleep(600)
    if behaviour == "rubbish":
        print("Segmentation fault? no, just print()", flush=True)
        time.sleep(600)
    hello()
    if behaviour == "hello":
        sys.stdin.read()
        return
    if behaviour == "stays":  # waits for another request after one
        for line in sys.stdin:
            work(2)
            Path(json.loads(line)["out"]).write_text(f"by {os.getpid()}")
            say(type="done", path=json.loads(line)["out"])
        return
    request = json.loads(sys.stdin.readline())
    if behaviour == "deaf":  # ignores everything a person can do to stop it, and has a child of its own
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        say(type="status", text=f"child {child.pid}")
        work(100_000)
    if behaviour == "killed":
        work(3)
        print("what the log says last", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "rubbish_later":
        work(2)
        sys.stdout.buffer.write(b"\xff\x00\xfe not json at all\n")
        sys.stdout.flush()
        time.sleep(600)
    if behaviour == "hangs":
        work(2)
        time.sleep(600)
    if behaviour == "fails":
        say(type="error", kind="FootageError", text="There is no film at shot.mov.")
        sys.exit(2)
    if behaviour == "until_cancelled":
        say(type="progress", stage="detect", done=1, total=100)
        line = sys.stdin.readline()
        Path(request["out"]).write_text(line)
        say(type="error", kind="Cancelled", text="Cancelled")
        sys.exit(130)
    if behaviour.endswith(".npz"):  # hands over a take that is there already
        work()
        shutil.copy(behaviour, request["out"])
        say(type="done", path=request["out"])
    if behaviour == "good":
        say(type="warning", text="3 frames are missing.")
        work()
        Path(request["out"]).write_text("a take")
        say(type="done", path=request["out"])


main(sys.argv[1])
