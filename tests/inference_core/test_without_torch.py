# SPDX-License-Identifier: GPL-3.0-or-later
"""Once the networks are converted for this machine, takes are made without torch: its import would be an error here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference_core.runtime.device import may_have_gpu
from inference_core.runtime.network_run import runs_in_openvino
from inference_core.shared.take import load_take

pytestmark = pytest.mark.skipif(not runs_in_openvino("cpu"), reason="openvino has no wheel here")

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "inference_core" / "demo" / "two_hands.mp4"
FRAMES = "0:12"
_NOT_INSTALLED = """
from importlib import metadata
version = metadata.version
def version_of(name):
    if name == "torch":
        raise metadata.PackageNotFoundError(name)
    return version(name)
metadata.version = version_of
"""


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A take; its networks are converted with torch if no other test has done so."""
    out = tmp_path_factory.mktemp("with torch") / "take.npz"
    run(os.environ, "reconstruct", str(DEMO), "--frames", FRAMES, "--device", "cpu", "--out", str(out))
    return out


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose torch cannot be imported and is not among the installed packages."""
    folder = tmp_path_factory.mktemp("no torch")
    (folder / "torch.py").write_text("raise RuntimeError('torch is imported')\n")
    (folder / "sitecustomize.py").write_text(_NOT_INSTALLED)
    return {**os.environ, "PYTHONPATH": str(folder)}


def run(environment: os._Environ[str] | dict[str, str], *words: str) -> str:
    """What the command prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "inference_core", *words],
        cwd=ROOT,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="network"),
        pytest.param(("--network", "none"), id="no network"),
        pytest.param(
            ("--json",),
            id="worker",
            marks=pytest.mark.skipif(may_have_gpu(), reason="torch tells it the devices"),
        ),
    ],
)
def test_a_capture(
    take: Path, without_torch: dict[str, str], tmp_path: Path, options: tuple[str, ...]
) -> None:
    words = ("--frames", FRAMES, "--device", "cpu", *options, "--out", str(tmp_path / "t.npz"))
    run(without_torch, "reconstruct", str(DEMO), *words)
    assert load_take(tmp_path / "t.npz").frame_count == 12


def test_a_range_solved_again(take: Path, without_torch: dict[str, str], tmp_path: Path) -> None:
    run(without_torch, "solve", str(take), "--range", "2-8", "--out", str(tmp_path / "t.npz"))
    assert load_take(tmp_path / "t.npz").frame_count == 12


def test_a_live_picture(take: Path, without_torch: dict[str, str]) -> None:
    told = run(without_torch, "live", str(DEMO), "--no-browser", "--seconds", "2")
    assert "frames a second shown" in told
