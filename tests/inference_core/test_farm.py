# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches on farms: job files have one task per shot, and a cluster that loses a process loses nothing else."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from inference_core.batch.capture_process import Outcome
from inference_core.batch.manifest import read_shots
from inference_core.shared.errors import RequestError
from inference_core.shared.take import load_take
from tests.inference_core.movies import write_empty_scene

JOBS = Path(__file__).parents[2] / "examples" / "farm"
_COMPILE = """
class Task {{ constructor(name) {{ this.name = name; this.after = []; this.commands = []; }}
  addCommand(command) {{ this.commands.push(command); }} addDependency(task) {{ this.after.push(task.name); }} }}
globalThis.author = {{ Task: (name) => new Task(name), Command: (name, parameters) => ({{ name, parameters }}) }};
{script}
const job = {{ settings: {settings}, tasks: [], addTask(task) {{ this.tasks.push(task); }} }};
compileJob(job);
console.log(JSON.stringify({{ tasks: job.tasks, settings: JOB_TYPE.settings }}));
"""


def test_the_job_description_has_a_task_per_shot_and_a_final_report() -> None:
    model = pytest.importorskip(
        "openjd.model", reason="the Open Job Description library is in the extra `test`"
    )
    text = (JOBS / "duohand.openjd.yaml").read_text()
    document = model.document_string_to_object(document=text, document_type=model.DocumentType.YAML)
    template = model.decode_job_template(template=document)
    values = {"Manifest": "m.csv", "OutDir": "o", "Shots": "1-3"}
    parameters = model.preprocess_job_parameters(
        job_template=template,
        job_parameter_values=values,
        job_template_dir=JOBS,
        current_working_dir=JOBS,
    )
    job = model.create_job(job_template=template, job_parameter_values=parameters)
    capture, report = job.steps
    tasks = list(model.StepParameterSpaceIterator(space=capture.parameterSpace))
    assert [task["Shot"].value for task in tasks] == ["1", "2", "3"]
    assert [before.dependsOn for before in report.dependencies] == [capture.name]


@pytest.mark.skipif(shutil.which("node") is None, reason="JavaScript is run by node, which is not installed")
def test_the_flamenco_job_has_a_task_per_shot_and_a_final_report(tmp_path: Path) -> None:
    settings = {
        "manifest": "m.csv",
        "out": "takes",
        "shots": "1-2,5",
        "fbx": True,
        "blender": "b",
        "duohand": "d",
    }
    compiled = compile_flamenco(settings, tmp_path)
    assert compiled.returncode == 0, compiled.stderr
    job = json.loads(compiled.stdout)
    *shots, report = job["tasks"]
    assert [task["commands"][0]["parameters"]["args"][5] for task in shots] == ["1", "2", "5"]
    assert report["after"] == [task["name"] for task in shots]
    assert all({"key", "type"} <= setting.keys() for setting in job["settings"])
    assert {setting["key"] for setting in job["settings"]} == set(settings)
    wrong = compile_flamenco({**settings, "shots": "5-2"}, tmp_path)
    assert wrong.returncode != 0 and "no range of shots" in wrong.stderr


def compile_flamenco(settings: dict[str, object], folder: Path) -> subprocess.CompletedProcess[str]:
    script = (JOBS / "duohand.flamenco.js").read_text()
    file = folder / "job.js"
    file.write_text(_COMPILE.format(script=script, settings=json.dumps(settings)))
    return subprocess.run(["node", str(file)], capture_output=True, text=True, check=False)


class Killer:
    """A watcher that kills the process of one shot as soon as that is under way, once."""

    def __init__(self, victim: str) -> None:
        self.victim, self.killed = victim, False
        self.outcomes: list[tuple[str, Outcome]] = []

    def progress(self, name: str, stage: str, done: int, total: int) -> None:
        if name == self.victim and not self.killed:
            self.killed = True
            os.kill(process_of_task(name), signal.SIGKILL)

    def ended(self, name: str, outcome: Outcome) -> None:
        self.outcomes.append((name, outcome))


class Cutter(Killer):
    """A Killer whose victim's capture lives on for a while, as on a machine that the cluster no longer reaches."""

    def progress(self, name: str, stage: str, done: int, total: int) -> None:
        if name == self.victim and not self.killed:
            captures = children_of(process_of_task(name))
            for capture in captures:
                os.killpg(capture, signal.SIGSTOP)
            threading.Timer(
                12.0, lambda: [os.killpg(capture, signal.SIGKILL) for capture in captures]
            ).start()
        super().progress(name, stage, done, total)


def children_of(process: int) -> list[int]:
    lists = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for children in lists for child in children.read_text().split()]


def process_of_task(name: str) -> int:
    """The Ray process that runs the task; it is titled so. The capture is a child of it."""
    for _ in range(100):
        for title in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if title.read_bytes().rstrip(b"\0 ") == f"ray::{name}".encode():
                    return int(title.parent.name)
        time.sleep(0.1)
    raise AssertionError(f"Ray runs no task of the name {name}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Killer, Cutter])
def test_a_lost_cluster_process_only_costs_an_attempt(tmp_path: Path, kind: type[Killer]) -> None:
    pytest.importorskip("ray", reason="Ray is in the extra `farm`")
    from inference_core.batch.ray_pool import run_on_ray

    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    for name, frames in (("a", 4), ("b", 150), ("c", 5)):
        write_empty_scene(source / f"{name}.mp4", frames, (320, 240))
    shots = read_shots([str(source)], out, {"network": "none"}, preview=False)
    watcher = kind("b")
    run_on_ray("local", 1)(shots, 1, watcher, threading.Event())
    assert watcher.killed
    attempts = {name: [o.state for n, o in watcher.outcomes if n == name] for name in "abc"}
    assert attempts == {"a": ["done"], "b": ["failed", "done"], "c": ["done"]}
    assert [load_take(out / f"{name}.npz").frame_count for name in "abc"] == [4, 150, 5]
    assert not list(out.glob("*.partial"))


@pytest.mark.slow
def test_a_cluster_without_a_large_enough_machine_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is in the extra `farm`")
    from inference_core.batch.ray_pool import run_on_ray

    write_empty_scene(tmp_path / "a.mp4", 4, (320, 240))
    shots = read_shots([str(tmp_path / "a.mp4")], tmp_path / "out", {"network": "none"}, preview=False)
    with pytest.raises(RequestError, match="has 4096 processors; the largest"):
        run_on_ray("local", 4096)(shots, 1, Killer(""), threading.Event())


def test_a_cluster_that_is_not_there_is_refused_before_ray_tries(tmp_path: Path) -> None:
    """Ray tried for eight minutes, and then ended the process."""
    pytest.importorskip("ray", reason="Ray is in the extra `farm`")
    from inference_core.batch.ray_pool import run_on_ray

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(RequestError, match="no Ray cluster"):
        run_on_ray(f"127.0.0.1:{port}", 1)([], 1, Killer(""), threading.Event())


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to send")
def test_sigterm_stops_a_batch_on_a_cluster_and_its_captures(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is in the extra `farm`")
    write_empty_scene(tmp_path / "a.mp4", 3000, (320, 240))
    command = [sys.executable, "-m", "inference_core", "batch", str(tmp_path / "a.mp4"), "--network", "none"]
    command += ["--out", str(tmp_path / "out"), "--ray", "local", "--ray-cpus", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as batch:
        while not list((tmp_path / "out").glob("*.partial")):
            assert batch.poll() is None
            time.sleep(0.1)
        batch.terminate()
        _, said = batch.communicate(timeout=120)
    assert batch.returncode == 130 and "SIGTERM" not in said
