# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes from what other engines write, and what other programs read from takes (docs/exchange.md)."""
