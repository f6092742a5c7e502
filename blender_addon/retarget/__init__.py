# SPDX-License-Identifier: GPL-3.0-or-later
"""Captured hands on another armature: bone maps, rest poses, live and baked."""
