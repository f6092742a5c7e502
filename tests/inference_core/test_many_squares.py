# SPDX-License-Identifier: GPL-3.0-or-later
"""A hand read in several squares."""

import numpy as np
import pytest

from inference_core.geometry.rotations import exp
from inference_core.landmarks.many_squares import agreed

HAND_M = np.random.default_rng(0).normal(0, 0.03, (1, 21, 3))
TURN = exp(np.array([0.3, -0.4, 0.2]))
NO_ERRORS = np.full((3, 1, 21), -4.0)


def test_readings_of_one_shape_agree_on_it_where_the_surest_one_has_it() -> None:
    readings = np.stack([1.2 * HAND_M @ TURN.T + 0.01, HAND_M, 0.9 * HAND_M @ TURN])
    odds = np.array([[1.0], [6.0], [1.0]])
    np.testing.assert_allclose(agreed(readings, NO_ERRORS, odds), HAND_M, atol=1e-9)


@pytest.mark.parametrize(("doubt", "odds"), [(4.0, 5.0), (0.0, -8.0)])
def test_a_reading_of_large_expected_errors_or_of_the_other_side_hardly_counts(
    doubt: float, odds: float
) -> None:
    readings = np.stack([HAND_M, HAND_M, HAND_M[:, ::-1]])
    errors = NO_ERRORS + np.array([0.0, 0.0, doubt])[:, None, None]
    found = agreed(readings, errors, np.array([[5.0], [5.0], [odds]]))
    assert np.linalg.norm(found - HAND_M, axis=-1).max() < 2e-4
