# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything registered with Blender, in order: later entries may use earlier ones.

Each module registers its own classes.
"""

from . import command, keymap, menus, preferences, translations
from .body import operators as body_operators
from .body import panel as body_panel
from .body import properties as body_properties
from .capture import camera as capture_camera
from .capture import camera_operators as capture_camera_operators
from .capture import footage as capture_footage
from .capture import lens_operators as capture_lens_operators
from .capture import operators as capture_operators
from .capture import panel as capture_panel
from .capture import properties as capture_properties
from .capture import runs as capture_runs
from .cleanup import operators as cleanup_operators
from .cleanup import panel as cleanup_panel
from .cleanup import properties as cleanup_properties
from .contact import operators as contact_operators
from .contact import panel as contact_panel
from .contact import properties as contact_properties
from .contact import solves as contact_solves
from .export import operators as export_operators
from .export import panel as export_panel
from .install import operators as install_operators
from .install import properties as install_properties
from .poses import operators as poses_operators
from .poses import panel as poses_panel
from .poses import properties as poses_properties
from .props import operators as props_operators
from .props import panel as props_panel
from .props import properties as props_properties
from .retarget import operators as retarget_operators
from .retarget import panel as retarget_panel
from .retarget import properties as retarget_properties
from .review import operators as review_operators
from .review import panel as review_panel
from .review import timeline as review_timeline
from .scene import properties as scene_properties
from .take import files as take_files
from .take import operators as take_operators
from .take import panel as take_panel
from .view import operators as view_operators
from .view import panel as view_panel
from .view import properties as view_properties

MODULES = (
    translations,
    scene_properties,
    preferences,
    install_properties,
    install_operators,
    capture_footage,
    capture_properties,
    capture_runs,
    capture_operators,
    capture_lens_operators,
    capture_camera,
    capture_camera_operators,
    capture_panel,
    take_files,
    take_operators,
    take_panel,
    view_properties,
    view_operators,
    view_panel,
    review_operators,
    review_timeline,
    review_panel,
    cleanup_properties,
    cleanup_operators,
    cleanup_panel,
    contact_properties,
    contact_solves,
    contact_operators,
    contact_panel,
    poses_properties,
    poses_operators,
    poses_panel,
    retarget_properties,
    retarget_operators,
    retarget_panel,
    body_properties,
    body_operators,
    body_panel,
    props_properties,
    props_operators,
    props_panel,
    export_operators,
    export_panel,
    menus,
    keymap,
    command,
)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
