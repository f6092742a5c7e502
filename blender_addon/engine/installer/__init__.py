# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs the engine: a program of its own that Blender's Python runs, so that nothing it does holds Blender up.

    PYTHON -I -c "..." ADDON_FOLDER CORE_FOLDER PLAN

Lines of JSON on stdout say how far it is; what pip prints stands between them. Standard library only.
"""
