# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand crops rendered at hundreds per second: the training data of the landmark head."""
