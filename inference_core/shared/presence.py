# SPDX-License-Identifier: GPL-3.0-or-later
"""A hand's presence in a frame: absent, seen in the frame itself, or filled in from neighbouring frames."""

ABSENT, SEEN, FILLED = 0, 1, 2
