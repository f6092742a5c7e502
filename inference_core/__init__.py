# SPDX-License-Identifier: GPL-3.0-or-later
"""Footage of two hands in, a take out. Importing this package imports nothing heavy."""

__version__ = "0.1.0"
