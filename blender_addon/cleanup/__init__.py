# SPDX-License-Identifier: GPL-3.0-or-later
"""Review and clean-up of captured motion: fewer keys, held and refilled ranges, swapped sides, smoothing."""
