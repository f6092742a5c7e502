# SPDX-License-Identifier: GPL-3.0-or-later
"""A hand's pose to and from Blender's pose library."""
