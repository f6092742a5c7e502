# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that Blender is told of, in order: what comes later may use what comes earlier.

Each module registers its own classes.
"""

from . import command, preferences, properties
from .capture import footage as footage_facts
from .capture import properties as capture_properties
from .capture import runs
from .operators import (
    capture,
    choose_footage,
    clean_up,
    engine,
    export_motion,
    load_take,
    retarget,
    review,
    save_take,
)
from .panels import capture as capture_panel
from .panels import clean_up as clean_up_panel
from .panels import export, take
from .panels import footage as footage_panel
from .panels import retarget as retarget_panel
from .panels import review as review_panel
from .retarget import properties as retarget_properties

MODULES = (
    properties,
    preferences,
    footage_facts,
    capture_properties,
    retarget_properties,
    runs,
    engine,
    choose_footage,
    capture,
    load_take,
    save_take,
    review,
    clean_up,
    retarget,
    export_motion,
    footage_panel,
    capture_panel,
    take,
    review_panel,
    clean_up_panel,
    retarget_panel,
    export,
    command,
)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
