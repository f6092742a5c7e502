# SPDX-License-Identifier: GPL-3.0-or-later
"""The script for a quarter of an hour on an accelerator, dry: every step ends well, and a second call goes on."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
TOP = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_dry_run_takes_every_step_and_a_second_one_resumes(tmp_path: Path) -> None:
    first = _dry(tmp_path, "first", parts=tmp_path / "none")
    assert "ended with" not in first and "no time left" not in first
    assert len(re.findall(r"crops/s", first)) >= 2 and "dir-s-whole: 4 steps" in first
    out = tmp_path / "first"
    assert (out / "head" / "landmark_head.safetensors").is_file()
    assert all(path.stat().st_size < 16e6 for path in out.rglob("*.*"))
    shutil.rmtree(tmp_path / "work")
    second = _dry(tmp_path, "second", parts=out)
    assert f"taken up from {out / 'head'}" in second and "ended with" not in second


def _dry(folder: Path, name: str, parts: Path) -> str:
    """What a dry run says; its work lies where the run before had it, as on a machine that is lent anew."""
    places = {"WORK": str(folder / "work"), "OUT": str(folder / name), "PARTS": str(parts)}
    done = subprocess.run(
        ["bash", "tools/gpu_run.sh", "--dry"],
        cwd=TOP,
        env={**os.environ, **places, "PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        timeout=3000,
    )
    return done.stdout
