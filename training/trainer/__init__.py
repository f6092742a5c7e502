# SPDX-License-Identifier: GPL-3.0-or-later
"""Training loops, losses, checkpoints, run folders."""
