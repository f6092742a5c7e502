# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects held by captured hands, and hands held by objects."""
