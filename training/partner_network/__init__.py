# SPDX-License-Identifier: GPL-3.0-or-later
"""The partner network's training: hand crops that tell of the other hand, and the loop."""
