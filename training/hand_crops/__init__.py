# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand crops made by the hundred a second: what the landmark head is taught on."""
