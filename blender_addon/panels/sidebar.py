# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panels of the Duohand tab share."""

from typing import Final

CATEGORY: Final = "Duohand"


class SidebarPanel:
    """Where every panel of the tab stands."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = CATEGORY
