# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts behind the Makefile: Blender environments, and the add-on's command in one of them."""
