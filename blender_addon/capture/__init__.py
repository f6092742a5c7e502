# SPDX-License-Identifier: GPL-3.0-or-later
"""From chosen footage to a take in the scene: what is asked, the runs of the engine, what comes of them."""
