# SPDX-License-Identifier: GPL-3.0-or-later
"""Duohand in Blender: footage of two hands in, two rigged and keyed hands out.

Importing the package imports no bpy: the parts that need none are tested without it.
"""


def register() -> None:
    from . import registration

    registration.register()


def unregister() -> None:
    from . import registration

    registration.unregister()
