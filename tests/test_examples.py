# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples run as a newcomer runs them."""

import subprocess
import sys
from pathlib import Path

from inference_core.shared.take import save_take
from tests.sample_take import sample_take

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_a_take_is_read_with_numpy_alone(tmp_path: Path) -> None:
    save_take(sample_take(), tmp_path / "take.npz")
    program = f"import sys; sys.modules['inference_core'] = None; sys.argv = ['x', {str(tmp_path / 'take.npz')!r}]\n"
    program += (EXAMPLES / "take_to_numpy.py").read_text()
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "frames at" in told.stdout
    assert "left:" in told.stdout and "right:" in told.stdout
    assert "thumb to index" in told.stdout
