# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes into the scene and back out of it: load, update in place, save."""
