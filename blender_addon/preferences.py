# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of this machine, not of a file: the engine, its device, the hand model, folders."""

import os
import textwrap
import time
from itertools import count
from pathlib import Path
from typing import Any, Final

import bpy
from bpy.app.translations import pgettext_iface as iface_
from bpy.props import EnumProperty, IntProperty, StringProperty

from inference_core import __version__

from . import keymap
from .engine.installer.plan import engine_python
from .engine.system import suggested_torch
from .messages import translated
from .scene.paths import RELATIVE

_RUNS: Final = count(1)
PROBLEM_WIDTH = 48  # characters a line; the sidebar's usual width
DEVICE_ITEMS = (
    ("AUTO", "Automatic", "The fastest available device"),
    ("CPU", "CPU", "The processor"),
    ("CUDA", "CUDA", "An NVIDIA graphics card"),
    ("MPS", "Apple", "Apple's graphics processor"),
)
TORCH_ITEMS = (
    ("AUTO", "Automatic", "Choose for this machine"),
    ("CPU", "CPU", "The smallest download; runs everywhere"),
    ("CUDA", "CUDA", "For NVIDIA graphics cards; a download of a few gigabytes"),
    ("APPLE", "Apple", "For Apple's own processors"),
)
MODEL_ITEMS = (
    ("OPEN", "Open Hand", "The hand that comes with Duohand, free for any use"),
    ("MANO", "MANO", "Your own MANO files, under their own licence"),
)


def _engine_chosen(preferences: Any, _context: bpy.types.Context) -> None:
    preferences.engine_facts = ""


class DUOHAND_AP_preferences(bpy.types.AddonPreferences):
    """Settings of this machine."""

    bl_idname = str(__package__)

    engine: StringProperty(
        name="Engine Python",
        description="A Python with the duohand package; the installed engine if empty",
        subtype="FILE_PATH",
        options=RELATIVE,
        update=_engine_chosen,
    )
    engine_facts: StringProperty(description="What the engine answered when it was last checked")
    torch: EnumProperty(name="PyTorch", description="The build of PyTorch to install", items=TORCH_ITEMS)
    wheels: StringProperty(
        name="Wheel Folder",
        description="Install from wheels in this folder, without a network; from PyPI if empty",
        subtype="DIR_PATH",
        options=RELATIVE,
    )
    engine_folder: StringProperty(
        name="Engine Folder",
        description="Where Install Engine puts the engine, a few gigabytes; the add-on's own folder if empty",
        subtype="DIR_PATH",
        options=RELATIVE,
        update=_engine_chosen,
    )
    device: EnumProperty(name="Device", description="The device that the engine runs on", items=DEVICE_ITEMS)
    camera: IntProperty(
        name="Camera",
        description="Number of the camera to record from, the first being 0",
        default=0,
        min=0,
        max=99,
    )
    hand_model: EnumProperty(
        name="Hand Model", description="The hand that is fitted to the footage", items=MODEL_ITEMS
    )
    mano_folder: StringProperty(
        name="MANO Folder",
        description="Folder or zip with MANO_LEFT.pkl and MANO_RIGHT.pkl",
        subtype="FILE_PATH",
        options=RELATIVE,
    )
    log_folder: StringProperty(
        name="Logs",
        description="Folder for the engine's logs; the add-on's own if empty",
        subtype="DIR_PATH",
        options=RELATIVE,
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout: Any = self.layout
        layout.use_property_split = True
        box = layout.box()
        box.label(text="Engine", icon="SYSTEM")
        box.prop(self, "engine")
        known = iface_("Not checked yet") if self.engine_path().exists() else iface_("Not installed")
        facts = self.engine_facts or known
        box.label(text=facts, icon="CHECKMARK" if self.engine_facts else "INFO")
        draw_installation(box, context)
        box.operator("duohand.check_engine")
        box.prop(self, "torch")
        box.prop(self, "wheels")
        box.prop(self, "engine_folder")
        box.prop(self, "device")
        layout.prop(self, "hand_model")
        if self.hand_model == "MANO":
            layout.prop(self, "mano_folder")
        layout.prop(self, "log_folder")
        keymap.draw(layout, context)
        layout.label(text=f"Duohand {__version__}", translate=False)

    def engine_path(self) -> Path:
        """The Python that runs the engine: the chosen one, else the installed one, which may not exist."""
        return Path(bpy.path.abspath(self.engine)) if self.engine else engine_python(installed_engine())

    def torch_build(self) -> Any:
        """The build of torch to install."""
        return suggested_torch() if self.torch == "AUTO" else self.torch.lower()

    def log_path(self, name: str) -> Path:
        """The log file of that name."""
        folder = Path(bpy.path.abspath(self.log_folder)) if self.log_folder else user_folder("logs")
        return folder / f"{name}.log"

    def new_log(self, kind: str) -> Path:
        """A log file for one run alone, whatever else starts in the same second."""
        return self.log_path(f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{next(_RUNS)}")


def draw_installation(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The button that installs the engine, or the installation's progress."""
    running: Any = context.window_manager.duohand_install
    if not running.text:
        layout.operator("duohand.install_engine", icon="IMPORT")
        if running.problem:
            _draw_problem(layout, running.problem)
        if not addon_preferences().wheels and not bpy.app.online_access:
            layout.label(text="Blender may not go online: see Preferences, System, Network", icon="INFO")
        return
    row = layout.row(align=True)
    row.progress(factor=running.factor, text=running.text)
    row.operator("duohand.cancel_install", text="", icon="CANCEL")


def _draw_problem(layout: bpy.types.UILayout, text: str) -> None:
    """Why it failed and what to do, wrapped over several lines, because a label truncates its text."""
    column = layout.column(align=True)
    column.alert = True
    for number, line in enumerate(textwrap.wrap(text, PROBLEM_WIDTH)):
        column.label(text=translated(line), icon="NONE" if number else "ERROR")


def addon_preferences() -> Any:
    """This add-on's preferences."""
    return bpy.context.preferences.addons[__package__].preferences


def user_folder(name: str) -> Path:
    """The add-on's own folder in the user's Blender files; it may not exist yet."""
    return Path(bpy.utils.extension_path_user(str(__package__), path=name, create=False))


def installed_engine() -> Path:
    """The folder that Install Engine installs into."""
    chosen = addon_preferences().engine_folder
    return Path(bpy.path.abspath(chosen)) if chosen else user_folder("engine")


def takes_folder() -> Path:
    """The folder for takes of unsaved files."""
    return user_folder("takes")


CLASSES = (DUOHAND_AP_preferences,)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
