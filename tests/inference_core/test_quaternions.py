# SPDX-License-Identifier: GPL-3.0-or-later
"""Laws of the numpy quaternions, and scipy as their peer."""

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from inference_core.shared import quaternions as q

RANDOM = Rotation.random(300, random_state=7)
UNIT = q.from_matrix(RANDOM.as_matrix())
vectors = arrays(np.float64, (3,), elements=st.floats(-3.1, 3.1))


def test_matrices_and_axis_angles_agree_with_scipy() -> None:
    expected = RANDOM.as_quat()[:, [3, 0, 1, 2]]
    expected *= np.where(expected[:, :1] < 0, -1, 1)
    assert np.abs(UNIT - expected).max() < 1e-14
    assert np.abs(q.log(UNIT) - RANDOM.as_rotvec()).max() < 1e-13
    assert np.abs(q.to_matrix(UNIT) - RANDOM.as_matrix()).max() < 1e-14


def test_products_agree_with_matrices() -> None:
    first, second = UNIT[:150], UNIT[150:]
    assert (
        np.abs(q.to_matrix(q.multiply(first, second)) - q.to_matrix(first) @ q.to_matrix(second)).max()
        < 1e-14
    )


def test_a_rotation_times_its_conjugate_is_the_identity() -> None:
    assert np.abs(q.multiply(UNIT, q.conjugate(UNIT)) - [1, 0, 0, 0]).max() < 1e-15


@given(vectors)
def test_logarithm_undoes_the_exponential(vector) -> None:
    if np.linalg.norm(vector) < np.pi - 1e-6:
        assert np.abs(q.log(q.exp(vector)) - vector).max() < 1e-9


@given(vectors, vectors, st.floats(0, 1))
def test_slerp_takes_the_shortest_way_at_constant_speed(first, second, fraction) -> None:
    a, b = q.exp(first), q.exp(second)
    between = q.slerp(a, b, fraction)
    assert abs(q.angle_between(a, between) - fraction * q.angle_between(a, b)) < 1e-6


def test_continuous_signs_keep_the_rotations_and_never_jump() -> None:
    angles = np.linspace(0, 20, 400)[:, None] * np.array([0.3, -0.5, 0.8])
    series = q.from_matrix(q.to_matrix(q.exp(angles)))[:, None].repeat(2, 1)
    series[50:60, 1] = np.nan
    smooth = q.continuous(series)
    steps = (smooth[1:] * smooth[:-1]).sum(-1)
    assert np.nanmin(steps) > 0
    assert (smooth[49, 1] * smooth[60, 1]).sum() > 0
    assert np.isnan(smooth[50:60, 1]).all()
    assert np.nanmax(np.abs(q.to_matrix(smooth) - q.to_matrix(series))) < 1e-14


def test_continuous_works_along_any_axis() -> None:
    series = UNIT.reshape(10, 30, 4) * np.sign(np.random.default_rng(1).normal(size=(10, 30, 1)))
    assert np.array_equal(q.continuous(series, axis=1), q.continuous(series.swapaxes(0, 1)).swapaxes(0, 1))


def test_the_module_needs_only_numpy() -> None:
    code = "import sys, inference_core.shared.quaternions; assert not {'torch', 'scipy', 'cv2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
