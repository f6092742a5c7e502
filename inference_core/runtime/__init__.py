# SPDX-License-Identifier: GPL-3.0-or-later
"""How networks run: devices and runtimes."""
