# SPDX-License-Identifier: GPL-3.0-or-later
"""Training sets for a frozen backbone: its features and detected landmarks, computed once and stored.

A frozen backbone gives the same features in every epoch, and landmark networks the same landmarks: with both on disk,
a CPU trains the rest of the network several times faster.
"""
