# SPDX-License-Identifier: GPL-3.0-or-later
"""What a take changed of a scene that was in use: its camera, range and resolution, as they were before."""

from dataclasses import dataclass

import bpy


@dataclass(frozen=True)
class SceneBefore:
    """A scene's camera by name (empty: none), first and last frame, and resolution."""

    camera: str
    span: tuple[int, int]
    size_px: tuple[int, int]

    @classmethod
    def of(cls, scene: bpy.types.Scene) -> "SceneBefore":
        """The scene as it is now."""
        render = scene.render
        return cls(
            scene.camera.name if scene.camera is not None else "",
            (scene.frame_start, scene.frame_end),
            (render.resolution_x, render.resolution_y),
        )

    def changes(self, scene: bpy.types.Scene) -> list[str]:
        """A line for each that is another now."""
        now = SceneBefore.of(scene)
        said: list[str] = []
        if self.camera not in ("", now.camera):
            said.append(f"The scene's camera became {now.camera}; it was {self.camera}.")
        if now.span != self.span:
            said.append(
                f"The scene's range became {now.span[0]} to {now.span[1]}; it was {self.span[0]} to {self.span[1]}."
            )
        if now.size_px != self.size_px:
            (wide, high), (wide_before, high_before) = now.size_px, self.size_px
            said.append(
                f"The scene's resolution became {wide} x {high}; it was {wide_before} x {high_before}."
            )
        return said
