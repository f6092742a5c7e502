# SPDX-License-Identifier: GPL-3.0-or-later
"""The landmark head's cache: each crop is read once, and costs a few hundred bytes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference_core.footage.records import Frame
from inference_core.landmarks.crop_readings import RefinedLandmarks
from inference_core.landmarks.head_reader import HeadWithLandmarks, stored_head
from inference_core.landmarks.kept_readings import KeptReadings
from inference_core.two_hand.card import SHIPPED_FOLDER

FRAME = Frame(0, 0.0, np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8))
CROPS = np.array([[160.0, 120.0, 100.0, 0.2 * at] for at in range(4)])
SIDES = np.array([0, 1, 0, 1])

GROWTH = """
import numpy as np
from inference_core.landmarks.crop_readings import RefinedLandmarks
from inference_core.landmarks.kept_readings import KeptReadings
from inference_core.landmarks.head_reader import stored_head
from inference_core.two_hand.card import SHIPPED_FOLDER
from tests.inference_core.test_kept_readings import CROPS, FRAME, SIDES
from tests.peak_memory import peak_kb
readings = KeptReadings(stored_head(SHIPPED_FOLDER))
for at in range(120):
    readings.read([FRAME] * 4, CROPS + 0.01 * at, SIDES, keep=True)
    if at == 20:
        before = peak_kb()
print(peak_kb() - before)
"""


def test_a_cached_reading_is_returned_unchanged_and_once() -> None:
    head = stored_head(SHIPPED_FOLDER)
    assert head is not None
    crops_read: list[int] = []

    def counted(features: NDArray[np.float32]) -> RefinedLandmarks:
        crops_read.append(len(features))
        return head.network(features)

    readings = KeptReadings(HeadWithLandmarks(counted, head.loaded))
    first = readings.read([FRAME] * 4, CROPS, SIDES, keep=True)
    half = readings.read([FRAME] * 2, CROPS[2:], SIDES[2:])
    assert crops_read == [4]
    again = readings.read([FRAME] * 4, CROPS, SIDES)
    assert crops_read == [4, 2]
    for name, values in vars(first).items():
        np.testing.assert_array_equal(values[2:], getattr(half, name))
        np.testing.assert_allclose(getattr(again, name), values, rtol=0, atol=1e-4)


def test_cached_readings_take_little_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GROWTH], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert int(done.stdout) < 50 * 112 * 14 * 14 * 4 / 1024, done.stderr
