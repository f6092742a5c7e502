# SPDX-License-Identifier: GPL-3.0-or-later
"""Duohand in Blender: footage of two hands in, two rigged and keyed hands out.

Order matters: what comes later may use what comes earlier. Each module registers its own classes.
"""

from . import preferences, properties
from .operators import export_motion, load_take, save_take
from .panels import export, take

MODULES = (
    properties,
    preferences,
    load_take,
    save_take,
    export_motion,
    take,
    export,
)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
