# SPDX-License-Identifier: GPL-3.0-or-later
"""Many shots: a manifest or folders in; takes, a report and an HTML page out. Each shot runs in its own process."""
