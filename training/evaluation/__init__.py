# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of networks and takes compared with the truth."""
