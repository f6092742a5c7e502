# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways in which two hands touch, as data: finger poses, how one hand is turned, and which places meet.

Each way is told from the right hand, that does something with the left one or mirrors it; half of the pairs are made
as its mirror image. The numbers were set by eye on the contact sheet (`python -m training.synthetic sheet`).
"""

from dataclasses import dataclass

from training.synthetic.poses import Gesture

Direction = tuple[float, float, float]

# Finger poses that hands take on each other, beside the gestures of a single hand.
HOLDS = (
    Gesture("laced", 0, (18, 62), (22, 62), (22, 62), (20, 60), (10, 4, 4, 8, 10), 7, 0.4),
    Gesture("pressed flat", 0, (0, 2), (0, 2), (0, 2), (0, 2), (-4, -20, 0, 0, 0), 1, 0.4),
    Gesture("curved", 0, (32, 30), (36, 32), (38, 34), (38, 34), (14, 8, 8, 12, 14), 2, 0.8),
    Gesture("hooked", 0, (14, 78), (14, 82), (14, 82), (14, 78), (8, 4, 4, 18, 20), 0, 0.6),
    Gesture("ring about", 0, (52, 50), (54, 52), (54, 54), (52, 54), (22, 16, 16, 20, 24), 1, 0.6),
    Gesture("steeple", 0, (24, 14), (20, 12), (20, 12), (24, 14), (4, 12, 4, 6, 4), 9, 0.5),
)


@dataclass(frozen=True)
class Way:
    """One way of touching.

    right, left: names of the finger poses of either hand. distal, dorsal: where the left hand's fingers and back
    point, in the right hand's own radial, dorsal, distal directions. meets: places (see anchors) of the right and of
    the left hand that come together. slide_m: how far they may miss each other along the skin; turn_rad: how far the
    turn varies; bend: how far wrists may bend, as a share. off_m: from where the left hand comes, so that fingers
    start outside the other hand, in the right hand's directions.
    """

    name: str
    weight: float
    right: str
    left: str
    distal: Direction
    dorsal: Direction
    meets: tuple[tuple[str, str], ...]
    slide_m: float = 0.006
    turn_rad: float = 0.12
    bend: tuple[float, float] = (1.0, 1.0)
    off_m: Direction = (0.0, 0.0, 0.0)


def _same(*places: str) -> tuple[tuple[str, str], ...]:
    return tuple((place, place) for place in places)


_PADS = ("index 3 pad", "middle 3 pad", "ring 3 pad", "pinky 3 pad")

WAYS = (
    Way("prayer", 1.2, "pressed flat", "pressed flat", (0, 0, 1), (0, -1, 0), _same("palm", *_PADS), 0.004),
    Way("palms crossed", 1.0, "flat", "flat", (0.75, 0, 0.66), (0, -1, 0), _same("palm"), 0.012, 0.2),
    Way("fingers laced", 2.0, "laced", "laced", (0, 0.55, 0.8), (0, -0.8, 0.55), (
        ("web index middle", "index 1 pad"), ("web middle ring", "middle 1 pad"), ("web ring pinky", "ring 1 pad"),
        ("middle 1 pad", "web index middle"), ("ring 1 pad", "web middle ring"), ("pinky 1 pad", "web ring pinky"),
    ), 0.002, 0.08, off_m=(0.0, -0.02, 0.03)),
    Way("fist in palm", 1.5, "fist", "curved", (0.9, -0.2, 0.4), (0.1, 0.3, 0.95), (
        ("middle 1 top", "palm"),
    )),
    Way("index tips", 0.6, "point", "point", (0, 0, -1), (0, 1, 0), (("index tip", "index tip"),), 0.002),
    Way("back rubbed", 1.2, "flat", "curved", (0.8, 0, 0.6), (0, 1, 0), (("back", "palm"),), 0.012, 0.3),
)  # fmt: skip
