# SPDX-License-Identifier: GPL-3.0-or-later
"""How a network runs: devices, and what the runtimes have in common."""
