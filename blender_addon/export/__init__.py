# SPDX-License-Identifier: GPL-3.0-or-later
"""The hands' motion as files for other programs, through Blender's own exporters."""
