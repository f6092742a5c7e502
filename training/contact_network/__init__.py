# SPDX-License-Identifier: GPL-3.0-or-later
"""The contact network's training: poses of pairs, errors like the fit's, and the loop."""
