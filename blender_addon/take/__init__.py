# SPDX-License-Identifier: GPL-3.0-or-later
"""Loading takes into the scene, updating them in place, and saving them."""
