# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a look is most worth the while, and the way there."""
