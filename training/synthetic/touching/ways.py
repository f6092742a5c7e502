# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways in which two hands touch, as data: finger poses, the hands' relative
orientation, and the places that meet.

Each way is described for the right hand, which acts on the left one or mirrors it; half of the pairs are made as its
mirror image. The numbers were set by eye on the contact sheet (touching.sheet).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from training.synthetic.poses import Gesture

Direction = tuple[float, float, float]

# Finger poses of touching hands, in addition to the gestures of a single hand.
HOLDS = (
    Gesture("laced", 0, (18, 62), (22, 62), (22, 62), (20, 60), (10, 4, 4, 8, 10), 7, 0.4),
    Gesture("pressed flat", 0, (0, 2), (0, 2), (0, 2), (0, 2), (-4, -20, 0, 0, 0), 1, 0.4),
    Gesture("curved", 0, (32, 30), (36, 32), (38, 34), (38, 34), (14, 8, 8, 12, 14), 2, 0.8),
    Gesture("hooked", 0, (14, 78), (14, 82), (14, 82), (14, 78), (8, 4, 4, 18, 20), 0, 0.6),
    Gesture("wrap", 0, (48, 40), (50, 42), (50, 42), (46, 40), (14, 2, 8, 12, 16), 1, 0.6),
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
    start outside the other hand, in the right hand's directions. closed: how far the fingers of either hand are bent
    when they start, as a share, to close about the other hand then.
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
    closed: tuple[float, float] = (1.0, 1.0)


def _same(*places: str) -> tuple[tuple[str, str], ...]:
    return tuple((place, place) for place in places)


_PADS = ("index 3 pad", "middle 3 pad", "ring 3 pad", "pinky 3 pad")
_POINTS = {"thumb": "thumb up", "index": "point", "middle": "spread", "ring": "spread", "pinky": "call"}
_FACED: tuple[Direction, Direction] = ((0, 0, 1), (0, -1, 0))
_OPPOSED: tuple[Direction, Direction] = ((0, 0, -1), (0, 1, 0))
_STRAIGHT = (0.1, 0.1)
_OPEN = (0.2, 0.2)

_PALMS = (
    Way("prayer", 1.2, "pressed flat", "pressed flat", *_FACED, _same("palm", *_PADS), 0.004),
    Way("clap", 1.0, "flat", "flat", (0.35, 0, 0.94), (0, -1, 0), _same("palm"), 0.010, 0.2),
    Way("palms rubbed", 1.4, "flat", "flat", (0.75, 0, 0.66), (0, -1, 0), _same("palm"), 0.012, 0.2),
    Way("fingers laced", 2.0, "laced", "laced", (0, 0.75, 0.66), (0, -0.66, 0.75), (
        ("web index middle", "index 1 pad"), ("web middle ring", "middle 1 pad"), ("web ring pinky", "ring 1 pad"),
        ("middle 1 pad", "web index middle"), ("ring 1 pad", "web middle ring"), ("pinky 1 pad", "web ring pinky"),
    ), 0.002, 0.08, off_m=(0.0, -0.008, 0.012)),
    Way("clasp", 1.8, "wrap", "wrap", (0.9, 0, 0.4), (0, -1, 0), (
        ("palm", "palm"), ("middle 3 pad", "back pinky"), ("back index", "middle 3 pad"),
    ), closed=_OPEN),
    Way("steeple", 1.0, "steeple", "steeple", (0, 0.6, 0.8), (0, -0.8, 0.6), _same(*_PADS, "thumb 3 pad"), 0.002),
    Way("tips in palm", 0.8, "table", "curved", (0.8, 0, 0.5), (0, -1, 0), (
        ("middle tip", "palm"), ("index tip", "palm index"), ("ring tip", "palm pinky"),
    )),
    Way("edge on palm", 0.8, "flat", "flat", (0, 0.9, 0.4), (-1, 0, 0), (("edge", "palm"),), 0.012, 0.25),
    Way("hand in palm", 1.2, "curved", "relaxed", (0.7, 0, 0.7), (0, 1, 0), (("palm", "back"),), 0.010, 0.25),
)  # fmt: skip

_BACKS = (
    Way("back rubbed", 1.4, "flat", "curved", (0.8, 0, 0.6), (0, 1, 0), (("back", "palm"),), 0.012, 0.3),
    Way("hand over hand", 1.2, "ball", "curved", (0.25, 0, 0.95), (0, 1, 0), (
        ("back", "palm"), ("middle 1 top", "middle 1 pad"),
    ), 0.008, 0.2),
    Way("backs together", 0.4, "flat", "flat", (0, 0, 1), (0, -1, 0), (("back", "back"),), 0.008),
    Way("back laced", 1.0, "spread", "laced", (0.1, -0.3, 0.95), (0, 0.95, 0.3), (
        ("web index middle", "index 1 pad"), ("web middle ring", "middle 1 pad"), ("web ring pinky", "ring 1 pad"),
    ), 0.002, 0.08, off_m=(0.0, 0.012, 0.0)),
)  # fmt: skip

_FISTS = (
    Way("fist in palm", 1.2, "fist", "curved", (0.9, -0.2, 0.4), (0.1, 0.3, 0.95), (("middle 1 top", "palm"),)),
    Way("fist wrapped", 1.2, "fist", "wrap", (0.5, 0.85, 0), (0, 0, 1), (("middle 2 top", "palm"),), closed=(1.0, 0.3)),
    Way("fists stacked", 0.8, "grip", "grip", (0, 0, 1), (0, 1, 0), (("pinky 2 ulnar", "index 2 radial"),), 0.006, 0.2),
    Way("knuckles together", 0.5, "fist", "fist", *_OPPOSED, _same("middle 1 top"), 0.004),
    Way("thumb held", 0.8, "thumb up", "grip", (0, -1, 0.2), (0.8, 0.2, 0.5), (
        ("thumb 2 top", "palm index"), ("thumb 2 pad", "middle 2 pad"),
    ), closed=(1.0, 0.4)),
    Way("fingers hooked", 0.8, "hooked", "hooked", (0, -0.2, -1), (0, -1, 0), (
        ("middle 2 pad", "middle 2 pad"), ("ring 2 pad", "ring 2 pad"),
    ), 0.004, 0.12, off_m=(0.0, -0.01, 0.012)),
)  # fmt: skip

_FINGERS = (
    Way("triangle", 0.6, "flat", "flat", (-0.8, 0, 0.6), (0, 1, 0), _same("index tip", "thumb tip"), 0.002),
    Way("all tips", 0.8, "ball", "ball", (0, 0.5, -0.85), (0, 0.85, 0.5), _same(*_PADS, "thumb 3 pad"), 0.002),
    Way("index hooked", 0.4, "hook", "hook", (0, 0, -1), (0, -1, 0), _same("index 2 pad"), 0.003,
        off_m=(0.0, -0.01, 0.012)),
    *(
        Way(f"{finger} tips", 0.3, pose, pose, *_OPPOSED, ((f"{finger} tip", f"{finger} tip"),), 0.002, 0.25)
        for finger, pose in _POINTS.items()
    ),
    *(
        Way(f"counts {finger}", 0.3, "point", "spread", (0.85, 0.2, -0.5), (-0.2, 0.97, 0.1),
            (("index 3 pad", f"{finger} tip"),), 0.003, 0.25)
        for finger in _POINTS
    ),
    *(
        Way(f"{finger} pinched", 0.35, "pinch", "spread", (-0.9, 0, 0.3), (0.2, 0.45, 0.85),
            (("index 3 pad", f"{finger} 2 top"), ("thumb 3 pad", f"{finger} 2 pad")), 0.002, 0.2,
            closed=(0.5, 1.0))
        for finger in _POINTS
    ),
)  # fmt: skip

_WRISTS = (
    Way("wrist grasped", 1.2, "ring about", "relaxed", (0.95, 0, 0.2), (0, 1, 0), (
        ("palm", "forearm back"), ("middle 3 pad", "forearm ulnar"), ("thumb 3 pad", "forearm radial"),
    ), 0.012, 0.2, (1.0, 0.1), closed=(0.5, 1.0)),
    Way("wrist grasped below", 1.0, "ring about", "loose fist", (-0.95, 0, 0.2), (0, -1, 0), (
        ("palm", "forearm palm"), ("middle 3 pad", "forearm ulnar"), ("thumb 3 pad", "forearm radial"),
    ), 0.012, 0.2, (1.0, 0.1), closed=(0.5, 1.0)),
    Way("wrists crossed", 1.0, "relaxed", "relaxed", (0.9, 0, 0.45), (0, 1, 0), (("wrist palm", "wrist back"),),
        0.010, 0.25, _STRAIGHT),
    Way("wrists together", 0.6, "relaxed", "relaxed", (0.7, 0, 0.7), (0, -1, 0), (("wrist palm", "wrist palm"),),
        0.010, 0.25, _STRAIGHT),
)  # fmt: skip

WAYS = (*_PALMS, *_BACKS, *_FISTS, *_FINGERS, *_WRISTS)


def weights_of(changed: Iterable[tuple[str, float]] = ()) -> list[float]:
    """The weights of WAYS, some of them changed by name. Raises KeyError for a name that none has."""
    weights = {way.name: way.weight for way in WAYS}
    for name, weight in changed:
        if name not in weights:
            raise KeyError(f"No way of touching is called {name!r}; there are {', '.join(weights)}.")
        weights[name] = weight
    return list(weights.values())
