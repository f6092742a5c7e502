# SPDX-License-Identifier: GPL-3.0-or-later
"""Training sets of a frozen backbone: its features and landmarks that were really found, worked out once and stored.

A backbone that does not learn gives the same features in every epoch, and landmark networks the same landmarks: with
both on disk a processor trains the rest of the network several times faster.
"""
