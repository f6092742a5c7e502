# SPDX-License-Identifier: GPL-3.0-or-later
"""Where this user's machine keeps what can be made again: converted networks, and logs of errors."""

from pathlib import Path

import platformdirs


def user_cache() -> Path:
    """The folder; it need not be there yet."""
    return platformdirs.user_cache_path("duohand", appauthor=False)
