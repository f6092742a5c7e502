# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand landmarks of a shot: MediaPipe's palm detector and landmark network, many frames at once."""
