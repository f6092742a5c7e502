# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for several test files."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from inference_core.landmarks.head_reader import HeadWithLandmarks


@pytest.fixture(scope="session")
def head() -> "HeadWithLandmarks":
    """The one that ships, with its partner network."""
    # Here, so that tests without torch can be collected.
    from inference_core.landmarks.head_reader import stored_head
    from inference_core.two_hand.card import SHIPPED_FOLDER

    stored = stored_head(SHIPPED_FOLDER)
    assert stored is not None and stored.partner is not None
    return stored
