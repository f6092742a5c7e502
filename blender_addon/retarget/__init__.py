# SPDX-License-Identifier: GPL-3.0-or-later
"""Captured hands onto another armature: whose bones are whose, how both rest, live and baked."""
