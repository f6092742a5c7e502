# SPDX-License-Identifier: GPL-3.0-or-later
"""The partner network's training: hand crops that show another hand, and the training loop."""
