# SPDX-License-Identifier: GPL-3.0-or-later
"""Common parts of the panels and operators in the Duohand tab."""

from collections.abc import Iterable
from typing import Any, Final

import bpy

from inference_core.shared.errors import DuohandError

from .messages import report
from .scene.shot import shots

CATEGORY: Final = "Duohand"


class SidebarPanel:
    """Base of every panel of the tab."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = CATEGORY


class ShotPanel(SidebarPanel):
    """Base of panels about the takes in the scene; without one the panel says what to do first."""

    def draw(self: Any, context: bpy.types.Context) -> None:
        if shots(context.scene):
            self.draw_shots(self.layout, context)
        else:
            self.layout.label(text="Capture or load a take first", icon="INFO")

    @staticmethod
    def draw_shots(layout: Any, context: bpy.types.Context) -> None:
        raise NotImplementedError


class NeedsShot:
    """Base of operators that need a take in the scene; without one it says so."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not shots(context.scene):
            cls.poll_message_set("There is no take in this scene")
            return False
        return True


class Reports:
    """Base of operators whose `run` does the work and returns what to report; an error is reported, and cancels."""

    def execute(self, context: bpy.types.Context) -> Any:
        try:
            text = self.run(context)
        except DuohandError as error:
            report(self, "ERROR", error)
            return {"CANCELLED"}
        if text:
            report(self, "INFO", text)
        return {"FINISHED"}

    def run(self, context: bpy.types.Context) -> str:
        raise NotImplementedError

    def warn(self, lines: Iterable[str]) -> None:
        """Report each line as a warning."""
        for line in lines:
            report(self, "WARNING", line)


def over_sidebar(context: bpy.types.Context, event: bpy.types.Event) -> bool:
    """Whether the mouse is over a sidebar that shows this tab: keys pressed elsewhere are not for the add-on."""
    screen = context.window.screen if context.window is not None else None
    for area in screen.areas if screen is not None else ():
        for region in area.regions if area.type == "VIEW_3D" else ():
            inside = (
                0 <= event.mouse_x - region.x < region.width and 0 <= event.mouse_y - region.y < region.height
            )
            if region.type == "UI" and inside:
                return getattr(region, "active_panel_category", CATEGORY) == CATEGORY
    return False


def redraw(*kinds: str) -> None:
    """Redraw the panels in every area of these kinds.

    The rest of a 3D view is not drawn again: in a heavy scene that takes longer than a poll.
    """
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in kinds:
                for region in area.regions:
                    if region.type == "UI" or area.type != "VIEW_3D":
                        region.tag_redraw()
