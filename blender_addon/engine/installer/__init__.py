# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs the engine: a separate program run by Blender's Python, so that it never blocks Blender.

    PYTHON -I -c "..." ADDON_FOLDER CORE_FOLDER PLAN

Lines of JSON on stdout report progress, between lines printed by pip. Standard library only.
"""
