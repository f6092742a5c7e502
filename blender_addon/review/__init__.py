# SPDX-License-Identifier: GPL-3.0-or-later
"""The frames most worth checking, and ways to reach them."""
