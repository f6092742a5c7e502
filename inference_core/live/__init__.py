# SPDX-License-Identifier: GPL-3.0-or-later
"""Live preview: each frame's landmarks and fitted hands in a local page, and the clip recorded."""
