# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures that tests of several parts share."""

import pytest

from inference_core.network.hand_lifter import Lifter, stored_lifter
from inference_core.network.weights import SHIPPED_FOLDER


@pytest.fixture(scope="session")
def lifter() -> Lifter:
    """The one that ships."""
    stored = stored_lifter(SHIPPED_FOLDER)
    assert stored is not None
    return stored
