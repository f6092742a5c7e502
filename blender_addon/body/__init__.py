# SPDX-License-Identifier: GPL-3.0-or-later
"""Captured hands joined to an armature that carries captured body motion."""
