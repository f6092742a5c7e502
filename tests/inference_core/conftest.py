# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures that tests of several parts share."""

import pytest

from inference_core.landmarks.landmark_head import HeadWithLandmarks, stored_head
from inference_core.two_hand.weights import SHIPPED_FOLDER


@pytest.fixture(scope="session")
def head() -> HeadWithLandmarks:
    """The one that ships."""
    stored = stored_head(SHIPPED_FOLDER)
    assert stored is not None
    return stored
