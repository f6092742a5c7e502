# SPDX-License-Identifier: GPL-3.0-or-later
"""Check Engine and Install Engine: the engine's own Python, beside Blender."""
