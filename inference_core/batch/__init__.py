# SPDX-License-Identifier: GPL-3.0-or-later
"""Many shots: a manifest or folders in; a take for each, one report and one page out. Each shot is its own process."""
