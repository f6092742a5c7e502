# SPDX-License-Identifier: GPL-3.0-or-later
"""A take in a Blender scene: rigs, skin, keys, camera and plate, and the way back."""
