# SPDX-License-Identifier: GPL-3.0-or-later
"""The panels' values as a request to the engine and as settings for its result."""

from collections.abc import Collection
from dataclasses import dataclass
from math import atan, degrees, tan
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from inference_core.shared.errors import RequestError
from inference_core.shared.messages import CaptureRequest
from inference_core.shared.picture_sequences import is_pattern
from inference_core.shared.whole_file import unused_path

from ..preferences import addon_preferences
from ..scene.axes import eye_level
from ..scene.paths import absolute, footage_key, footage_name
from ..scene.shot import active_among, shots, units_per_metre
from ..take.files import takes_folder_of
from ..take.settings import ApplySettings
from ..take.shot_camera import carrying_camera
from .camera_motion import write_camera_path
from .footage import read_facts
from .properties import MOVING_LENSES


@dataclass(frozen=True)
class Lens:
    """The request's lens fields; all None if the lens is unknown."""

    fov_deg: float | None = None
    focal_mm: float | None = None
    sensor_mm: float | None = None
    intrinsics_px: tuple[float, float, float, float] | None = None


def capture_request(scene: bpy.types.Scene, coming: Collection[str] = (), clip: str = "") -> CaptureRequest:
    """The capture request for this scene; a RequestError says what is missing.

    coming: paths of takes that are still being captured. clip: one of the scene's further clips, whose whole length is
    captured; the scene's footage if empty.
    """
    capture = scene.duohand
    footage = absolute(clip or capture.footage) if clip or capture.footage else ""
    if not footage:
        raise RequestError("No footage is chosen. Choose a movie or an image sequence in the Footage panel.")
    if not Path(footage).exists() and not is_pattern(Path(footage)):
        raise RequestError(f"The footage {footage} does not exist any more. Choose it again.")
    facts = read_facts(footage) if clip else capture.facts
    if facts.problem:
        raise RequestError(facts.problem)
    preferences = addon_preferences()
    lens = lens_of(scene, facts.size_px)
    with_range = capture.use_range and not clip
    if with_range and capture.last < capture.first:
        raise RequestError(
            f"The frame range ends at {capture.last}, before its first frame, {capture.first}. Change it."
        )
    if capture.use_scene_camera:
        carrying_camera(scene, None if capture.new_shot else shot_of_footage(scene))
    out = take_path(scene, footage, coming)
    camera_path = None
    if takes_camera_motion(scene, clip):
        camera_path = out.with_suffix(".camera.json")
        write_camera_path(scene, _start_frame(scene), camera_path)
    return CaptureRequest(
        footage=footage,
        out=str(out),
        frames=f"{capture.first}:{capture.last + 1}:{capture.step}" if with_range else "",
        fps=capture.sequence_fps if facts.is_sequence else None,
        fov_deg=lens.fov_deg,
        focal_mm=lens.focal_mm,
        sensor_mm=lens.sensor_mm,
        intrinsics_px=lens.intrinsics_px,
        camera_path=None if camera_path is None else str(camera_path),
        hand_length_mm=capture.hand_length_mm if capture.use_hand_length else None,
        hands=capture.hands.lower(),
        mano=bpy.path.abspath(preferences.mano_folder) if preferences.hand_model == "MANO" else None,
        device=preferences.device.lower(),
        smooth=capture.smooth,
        network="shipped" if capture.use_network else "none",
    )


def apply_settings(scene: bpy.types.Scene, clip: str = "") -> ApplySettings:
    """Settings for loading the finished take; an existing shot keeps whatever was not chosen in the panel."""
    capture = scene.duohand
    updated = None if capture.new_shot else shot_of_footage(scene, clip)

    def asked(name: str) -> Any:
        return getattr(capture, name) if capture.is_property_set(name) else None

    return ApplySettings(
        existing="NEW" if capture.new_shot else "UPDATE",
        footage=absolute(clip or capture.footage),
        shot=updated,
        start_frame=asked("start_frame"),
        timing=capture.timing_chosen or None,
        set_markers=capture.set_markers,
        camera="SCENE" if capture.use_scene_camera else None,
        place=np.eye(4) if takes_camera_motion(scene, clip) else eye_level(units_per_metre(scene)),
    )


def takes_camera_motion(scene: bpy.types.Scene, clip: str = "") -> bool:
    """Whether the camera's motion is taken: for the scene's footage, not for its further clips."""
    return scene.duohand.use_camera_motion and scene.duohand.lens in MOVING_LENSES and not clip


def _start_frame(scene: bpy.types.Scene) -> int:
    """The scene frame at which the captured footage begins: an existing shot stays where it is."""
    there = None if scene.duohand.new_shot else shot_of_footage(scene)
    if there is None or scene.duohand.is_property_set("start_frame"):
        return scene.duohand.start_frame
    return there.duohand.start_frame


def shot_of_footage(scene: bpy.types.Scene, footage: str = "") -> bpy.types.Collection | None:
    """The shot with a take of that footage, by default the scene's; None if there is none."""
    footage = footage or scene.duohand.footage
    mine = footage_key(absolute(footage)) if footage else ""
    found = [
        shot
        for shot in shots(scene)
        if shot.duohand.take_path and footage_key(shot.duohand.footage_key) == mine
    ]
    return active_among(scene, found)


def take_path(scene: bpy.types.Scene, footage: str, coming: Collection[str] = ()) -> Path:
    """A path for the footage's take in the scene's folder of takes, numbered if a take is there or coming.

    So no take is ever replaced: a shot may still need it, in this file, in another one, or after Undo.
    """
    folder = takes_folder_of(scene)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(
            f"The folder {folder} cannot be made ({error.strerror}). Choose another one for takes."
        ) from error
    return unused_path(folder / f"{footage_name(footage)}.npz", coming)


def lens_of(scene: bpy.types.Scene, size_px: tuple[int, int]) -> Lens:
    """The lens set in the scene, for footage of that size."""
    capture = scene.duohand
    match capture.lens:
        case "FOV":
            return Lens(fov_deg=degrees(capture.fov))
        case "FOCAL":
            return Lens(focal_mm=capture.focal_mm, sensor_mm=capture.sensor_mm)
        case "CAMERA":
            return _camera_lens(scene.camera, *size_px)
        case "CLIP":
            return _clip_lens(capture.clip, *size_px)
        case _:
            return Lens()


def _camera_lens(camera: bpy.types.Object | None, width: int, height: int) -> Lens:
    data: Any = camera.data if camera is not None else None
    if data is None or data.type != "PERSP":
        raise RequestError("The scene has no perspective camera to take the lens from. Choose another lens.")
    wide, high = max(width, height, 1), max(min(width, height), 1)
    landscape = width >= height
    if data.sensor_fit == "AUTO" or (data.sensor_fit == "HORIZONTAL") == landscape:
        return Lens(fov_deg=degrees(data.angle))
    # The angle is kept across the shorter side.
    return Lens(fov_deg=degrees(2 * atan(tan(data.angle / 2) * wide / high)))


def _clip_lens(clip: Any, width: int, height: int) -> Lens:
    if clip is None:
        raise RequestError("Choose the movie clip whose tracked lens is to be used.")
    if not clip.tracking.reconstruction.is_valid:
        raise RequestError(
            f"The movie clip {clip.name} is not solved. Solve its camera motion, or choose another lens."
        )
    return lens_of_tracking(clip.tracking.camera, width, height)


def lens_of_tracking(camera: Any, width: int, height: int) -> Lens:
    """The lens of a motion tracker's camera, for footage of that size; the clip's own may be smaller (a proxy).

    The optical centre is relative to the picture's centre, in halves of its size, y upwards.
    """
    focal = camera.focal_length / camera.sensor_width * width
    x, y = (
        (1 + value) / 2 * size for value, size in zip(camera.principal_point, (width, height), strict=True)
    )
    return Lens(intrinsics_px=(focal, focal * camera.pixel_aspect, x, height - y))
