# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender's process imports too: standard library and numpy only."""
