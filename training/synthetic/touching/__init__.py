# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairs of hands that touch, by ways of touching."""
