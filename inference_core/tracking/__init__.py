# SPDX-License-Identifier: GPL-3.0-or-later
"""From single hands in frames to the left and the right hand through the shot."""
