# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands as a camera sees them now: landmarks and a fit of each frame in a local page, and the clip recorded."""
