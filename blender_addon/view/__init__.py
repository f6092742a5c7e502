# SPDX-License-Identifier: GPL-3.0-or-later
"""How a shot is looked at: through its camera, skin against plate, and rendered over the footage."""
