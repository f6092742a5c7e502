# SPDX-License-Identifier: GPL-3.0-or-later
"""A take's place in the file: its collection and root empty, the scene's range, rate and resolution."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import bpy
import numpy as np
from mathutils import Matrix

from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import SIDES
from inference_core.shared.take import Take

from .axes import Floats
from .rest_bones import side_name
from .timing import Timing, scene_rate

NEAR_M, FAR_M = 0.01, 100.0
_LATER: Final = "duohand_later"


def shots(scene: bpy.types.Scene) -> list[bpy.types.Collection]:
    """The collections of the scene that hold takes, by name."""
    inside = [item for item in scene.collection.children_recursive if item.duohand.is_shot]
    return sorted(inside, key=lambda item: item.name)


def all_shots() -> list[bpy.types.Collection]:
    """The collections of the file that hold takes, whichever scene they are in, or in none."""
    collections: Any = bpy.data.collections
    return [item for item in collections if item.duohand.is_shot]


def active_among(
    scene: bpy.types.Scene, found: Sequence[bpy.types.Collection]
) -> bpy.types.Collection | None:
    """The shot that the scene's active object belongs to, else the first one; None if there is none."""
    active = bpy.context.view_layer.objects.active if bpy.context.scene == scene else None
    mine = (item for item in found if active is not None and belongs(active, item))
    return next(mine, next(iter(found), None))


def active_shot(context: bpy.types.Context) -> bpy.types.Collection:
    """The shot that the active object belongs to, or the scene's only one; a RequestError if that is unclear."""
    found = shots(context.scene)
    active = context.view_layer.objects.active
    for shot in found:
        if active is not None and belongs(active, shot):
            return shot
    if len(found) == 1:
        return found[0]
    if not found:
        raise RequestError("There is no take in this scene. Load one with Load Take, or capture one.")
    raise RequestError("There are several takes in this scene. Select a hand or the camera of one of them.")


def armatures(shot: bpy.types.Collection) -> dict[int, bpy.types.Object]:
    """The shot's hands by side (0 left, 1 right), as far as they exist."""
    found: dict[int, bpy.types.Object] = {}
    for things in (shot.all_objects, _carried(shot)):
        if len(found) < len(SIDES):
            for thing in things:
                if thing.type == "ARMATURE" and thing.duohand.side != "NONE":
                    found.setdefault(SIDES.index(thing.duohand.side.lower()), thing)
    return dict(sorted(found.items()))


def animated(shot: bpy.types.Collection) -> list[bpy.types.ID]:
    """What a take keys: the shot's hands and skins, and its own camera with its lens, as far as they exist."""
    kept, hands = shot.duohand, list(armatures(shot).values())
    camera = None if kept.own_camera else kept.camera
    found = [*hands, *(hand.duohand.skin for hand in hands), camera, camera.data if camera else None]
    return [item for item in found if item is not None]


def belongs(thing: bpy.types.Object, shot: bpy.types.Collection) -> bool:
    """Whether the object is the shot's: in its collection, or, wherever it was put, parented to its empty."""
    inside: bpy.types.Object | None = shot.all_objects.get(thing.name)
    if thing in (inside, shot.duohand.camera):
        return True
    carrier: bpy.types.Object | None = thing
    while carrier is not None and carrier != shot.duohand.place:
        carrier = carrier.parent
    return carrier is not None


def in_file(thing: bpy.types.Object | None) -> bpy.types.Object | None:
    """The object; None if it was deleted and is kept only by what still refers to it."""
    return thing if thing is not None and thing.users_collection else None


def place_of(shot: bpy.types.Collection) -> bpy.types.Object:
    """The empty that carries the shot; RequestError if it is gone."""
    if in_file(shot.duohand.place) is None:
        raise RequestError(
            f"The empty that carries {shot.name} is gone. Load its take again: that brings it back."
        )
    return shot.duohand.place


def bring_back(shot: bpy.types.Collection) -> None:
    """Put the shot's empty, camera and skins into its collection again if they were deleted."""
    kept = shot.duohand
    skins = [hand.duohand.skin for hand in armatures(shot).values()]
    for thing in (kept.place, None if kept.own_camera else kept.camera, *skins):
        if thing is not None and in_file(thing) is None:
            shot.objects.link(thing)


def hand_armature(shot: bpy.types.Collection, side: int) -> bpy.types.Object:
    """The shot's armature of that side; a new, empty one if there is none."""
    found = armatures(shot).get(side)
    if found is None:
        name = f"{shot.name} {side_name(side)}"
        found = bpy.data.objects.new(name, bpy.data.armatures.new(name))
        found.duohand.side = SIDES[side].upper()
        found.show_in_front = True
        found.parent = shot.duohand.place
        shot.objects.link(found)
    return found


def _carried(shot: bpy.types.Collection) -> Iterator[bpy.types.Object]:
    """What hangs from the shot's empty in whichever collection it was put."""
    place = shot.duohand.place
    return (item for item in (place.children if place is not None else ()) if in_file(item) is not None)


def new_shot(scene: bpy.types.Scene, name: str) -> bpy.types.Collection:
    """A new collection of that name in the scene, with the empty that all its objects are parented to."""
    shot = bpy.data.collections.new(name)
    scene.collection.children.link(shot)
    shot.duohand.is_shot = True
    place = bpy.data.objects.new(f"{shot.name} place", None)
    place.empty_display_type, place.empty_display_size = "PLAIN_AXES", 0.05
    shot.objects.link(place)
    shot.duohand.place = place
    return shot


def shot_camera(shot: bpy.types.Collection) -> bpy.types.Object:
    """The shot's own camera; a new one if there is none."""
    camera = shot.duohand.camera
    if camera is None or shot.duohand.own_camera:
        name = f"{shot.name} camera"
        camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
        scale = shot.duohand.scale
        camera.data.clip_start, camera.data.clip_end = NEAR_M * scale, FAR_M * scale
        shot.objects.link(camera)
        camera.parent = shot.duohand.place
        shot.duohand.camera, shot.duohand.own_camera = camera, False
    return camera


def remove_object(thing: bpy.types.Object) -> None:
    """Delete an object, with the data and actions that nothing else uses."""
    animation = thing.animation_data
    actions = [] if animation is None else [animation.action, *_strip_actions(animation)]
    blocks = [block for block in (thing.data, *actions) if block is not None]
    bpy.data.objects.remove(thing)
    for block in dict.fromkeys(blocks):
        if block.users == 0:
            bpy.data.batch_remove([block])


def units_per_metre(scene: bpy.types.Scene) -> float:
    """Blender units per metre, from the scene's unit scale."""
    units = scene.unit_settings
    return 1.0 / units.scale_length if units.system != "NONE" else 1.0


def rate(scene: bpy.types.Scene) -> float:
    """The scene's frames per second."""
    return scene.render.fps / scene.render.fps_base


def set_rate(scene: bpy.types.Scene, fps: float) -> None:
    """Give the scene the frame rate of the footage."""
    scene.render.fps, scene.render.fps_base = scene_rate(fps)


def set_resolution(scene: bpy.types.Scene, take: Take, pixel_aspect: tuple[float, float]) -> None:
    """Give the scene the footage's size in pixels."""
    render = scene.render
    render.resolution_x, render.resolution_y = (int(size) for size in take.size_px)
    render.resolution_percentage = 100
    render.pixel_aspect_x, render.pixel_aspect_y = pixel_aspect


def set_place(shot: bpy.types.Collection, place: Floats | None, camera: bpy.types.Object | None) -> None:
    """Move the shot to the matrix `place` (4, 4), or parent it to a camera (`place` is then in the camera's axes)."""
    carrier = shot.duohand.place
    carrier.parent = camera
    carrier.matrix_parent_inverse = Matrix.Identity(4)
    if place is not None:
        carrier.matrix_basis = Matrix(place.tolist())


def shot_timing(shot: bpy.types.Collection) -> Timing:
    """The shot's mapping to the scene's frames when it was loaded."""
    kept = shot.duohand
    return Timing(kept.start_frame, kept.fps / kept.fps_base, kept.timing)


def cut_frames(shot: bpy.types.Collection) -> Floats:
    """(C,) the scene frames at which the shot's footage is cut, each halfway between two pictures."""
    return np.array(json.loads(shot.duohand.cuts or "[]"), np.float64)


def set_cut_frames(shot: bpy.types.Collection, cuts: Floats) -> None:
    """Remember the scene frames (C,) at which the shot's footage is cut."""
    shot.duohand.cuts = json.dumps(cuts.tolist())


def later(action: Any) -> float:
    """How many frames later than the shot's footage an action's motion is: that of hands joined to a body's time."""
    return float(action.get(_LATER, 0.0))


def set_later(action: Any, frames: float) -> None:
    """Remember that an action's motion is this much later than the shot's footage, and than its cuts."""
    if frames:
        action[_LATER] = frames
    else:
        action.pop(_LATER, None)


def _strip_actions(animation: Any) -> Iterator[bpy.types.Action]:
    return (
        strip.action for track in animation.nla_tracks for strip in track.strips if strip.action is not None
    )
