# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar's Duohand tab, one file a panel, in the data's order."""
