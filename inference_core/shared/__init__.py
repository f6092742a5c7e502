# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that Blender's process imports too: standard library and numpy only."""
