# SPDX-License-Identifier: GPL-3.0-or-later
"""The training of the choice of both hands: stills with the readings that a search finds in them, and the network."""
