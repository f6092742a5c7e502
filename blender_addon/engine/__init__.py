# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: inference in its own Python, outside Blender. Nothing here imports bpy."""
