# SPDX-License-Identifier: GPL-3.0-or-later
"""The generator's settings: frequencies of its contents, and quality."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Shares are of pictures, 0..1.

    size_px: side of the square pictures. supersample: samples of an edge pixel in x and in y (1 or 2). one_hand,
    no_hand: pictures that lack one or both hands. touching: of those with two hands, how many have them touch in
    one of touching.ways; ways: new weights for some of these, by name; own_eyes: how many of the touching pairs are
    seen by their owner; near: how many of the rest are close. penetration_m: how deep the collision spheres of
    other hands may press into each other. vertices: whether the batch holds the vertices. backgrounds: pictures in
    the procedural bank from which backgrounds are cut. background_folder: a folder of pictures of the user's own,
    used for folder_share of the backgrounds. pose_folder: a folder of takes solved from real footage, whose finger
    poses pose_share of the hands get. chunk: pictures rendered at once; bounds memory. clean: no blur, noise or
    JPEG. off_axis: tangent of the angle up to which the hands lie off the camera's axis (the predictor turns a
    camera to each crop's middle: 0). fill: least and largest share of the crop's side that the hands' box takes.
    """

    size_px: int = 256
    supersample: int = 2
    one_hand: float = 0.25
    no_hand: float = 0.05
    touching: float = 0.5
    ways: tuple[tuple[str, float], ...] = ()
    own_eyes: float = 0.45
    near: float = 0.5
    penetration_m: float = 0.002
    truncated: float = 0.12
    held_thing: float = 0.16
    loose_thing: float = 0.14
    sleeves: float = 0.6
    shadows: float = 0.8
    motion_blur: float = 0.22
    jpeg: float = 0.55
    vertices: bool = True
    backgrounds: int = 256
    background_folder: str | None = None
    folder_share: float = 0.5
    pose_folder: str | None = None
    pose_share: float = 0.4
    chunk: int = 64
    clean: bool = False
    off_axis: float = 0.0
    fill: tuple[float, float] = (0.45, 0.92)
