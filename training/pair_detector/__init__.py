# SPDX-License-Identifier: GPL-3.0-or-later
"""The pair detector's training: views of rendered pictures, and the network on them."""
