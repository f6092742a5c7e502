# SPDX-License-Identifier: GPL-3.0-or-later
"""From chosen footage to a take in the scene: the request, the engine's runs, and their results."""
