# SPDX-License-Identifier: GPL-3.0-or-later
"""Saves hand poses to Blender's pose library, and applies them."""
