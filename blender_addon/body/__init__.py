# SPDX-License-Identifier: GPL-3.0-or-later
"""Joins captured hands to an armature that has captured body motion."""
