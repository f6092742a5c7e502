# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairs of hands that touch, by the ways in which hands do."""
