# SPDX-License-Identifier: GPL-3.0-or-later
"""Contact that the animator sets: the core solves the range again, and the result is keyed."""
