# SPDX-License-Identifier: GPL-3.0-or-later
"""How a shot is viewed: through its camera, skin against plate, and rendered over the footage."""
