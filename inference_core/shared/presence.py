# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a hand is there in a frame: not at all, seen in the frame itself, or filled in from neighbouring frames."""

ABSENT, SEEN, FILLED = 0, 1, 2
