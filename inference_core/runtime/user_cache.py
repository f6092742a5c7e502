# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's cache folder, for converted networks and error logs."""

from pathlib import Path

import platformdirs


def user_cache() -> Path:
    """The folder; it may not exist yet."""
    return platformdirs.user_cache_path("duohand", appauthor=False)
