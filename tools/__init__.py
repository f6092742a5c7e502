# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Makefile runs beside the packages: environments of Blender, and the add-on's command in one."""
