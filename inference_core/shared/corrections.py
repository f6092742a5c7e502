# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's corrections of a solved shot, for solving a range again.

    {"corrections": [{"kind": "touch", "first": 20, "last": 60, "left": "index", "right": "index"}, ...]}

Standard library and numpy only: Blender's side shares this file.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import RequestError
from inference_core.shared.json_record import json_object, record_from_json, shortened, unknown_fields
from inference_core.shared.skeleton import LEFT, RIGHT

Kind = Literal["sides", "absent", "keep", "follow", "pose", "touch", "apart", "box"]
Side = Literal["left", "right", "both"]
# A finger's name is its last phalanx. "nearest": the fingertips that come nearest to each other in the picture.
Part = Literal["thumb", "index", "middle", "ring", "pinky", "palm", "nearest", "any"]

USUAL_FALLOFF: Final = 4
# Frames on either side of a range whose evidence is read when it is solved again.
CONTEXT_FRAMES: Final = 40
_MOST_CORRECTIONS, _LARGEST_FILE = 10_000, 16 << 20
_LAST_FRAME = (1 << 63) - 1
_MOST_FALLOFF = 1000

Wxyz = tuple[float, float, float, float]


@dataclass(frozen=True)
class Correction:
    """A correction of frames first to last of the footage, both included; several may overlap.

    sides: left and right are swapped. absent: the hand is not in the picture. keep: the hand stays exactly as in the
    take. follow: it stays close to that. pose: it has this pose (root_wxyz, pose_wxyz, wrist_cam_m as in a take).
    touch: the left hand's part and the right hand's touch. apart: they do not. box: the hand is in this box (left,
    top, right, bottom in pixels). hand: for all but sides, touch and apart. falloff: frames outside the range over
    which a touch or a pose fades in and out.
    """

    kind: Kind
    first: int
    last: int
    hand: Side = "both"
    left: Part = "nearest"
    right: Part = "nearest"
    falloff: int = USUAL_FALLOFF
    box_px: tuple[float, float, float, float] | None = None
    root_wxyz: Wxyz | None = None
    pose_wxyz: tuple[Wxyz, ...] | None = None
    wrist_cam_m: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last <= _LAST_FRAME:
            raise RequestError(
                f"A correction of frames {self.first} to {self.last}: give the first, then the last."
            )
        if not 0 <= self.falloff <= _MOST_FALLOFF:
            raise RequestError(
                f"A falloff of {self.falloff} frames is not possible; give 0 to {_MOST_FALLOFF}."
            )
        if self.kind == "box":
            self._check_box()
        if self.kind == "pose":
            self._check_pose()

    @property
    def sides(self) -> tuple[int, ...]:
        """The sides that it applies to."""
        return {"left": (LEFT,), "right": (RIGHT,), "both": (LEFT, RIGHT)}[self.hand]

    @property
    def reach(self) -> tuple[int, int]:
        """First and last frame that it changes directly."""
        falloff = self.falloff if self.kind in ("touch", "pose") else 0
        return max(self.first - falloff, 0), self.last + falloff

    def rows(self, frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which of the frames of these numbers (T,) it is about, in order."""
        return np.flatnonzero((frames >= self.first) & (frames <= self.last))

    def _check_box(self) -> None:
        box = self.box_px
        if (
            box is None
            or self.hand == "both"
            or box[2] - box[0] < 1
            or box[3] - box[1] < 1
            or max(map(abs, box)) > 1e6
        ):
            raise RequestError(
                "A box needs one hand (left or right) and box_px: left, top, right, bottom in pixels of the picture."
            )

    def _check_pose(self) -> None:
        turns = (self.root_wxyz or (), *(self.pose_wxyz or ()))
        whole = self.wrist_cam_m is not None and len(turns) == 16 and self.hand != "both"
        if not whole or any(abs(sum(x * x for x in turn) - 1) > 1e-2 for turn in turns):
            raise RequestError(
                "A pose needs one hand (left or right), root_wxyz, the 15 rotations of pose_wxyz, all of unit length, "
                "and wrist_cam_m, as a take has them."
            )
        assert self.wrist_cam_m is not None
        if max(map(abs, self.wrist_cam_m)) > 1e3:
            raise RequestError("A pose's wrist_cam_m is beyond a kilometre; give metres in camera axes.")


PARTS: Final[tuple[str, ...]] = get_args(Part)


def corrections_text(corrections: Sequence[Correction]) -> str:
    """The JSON that corrections_from reads; unset fields are left out."""
    plain = [
        {name: value for name, value in asdict(item).items() if value is not None} for item in corrections
    ]
    return json.dumps({"corrections": plain}, allow_nan=False, indent=1)


def corrections_from(text: str) -> tuple[Correction, ...]:
    """The corrections in JSON text; a RequestError says which one is wrong, and why."""
    try:
        values = json_object(text)
    except ValueError as error:
        raise RequestError(f"The corrections are not JSON ({error}).") from error
    items = values.get("corrections")
    if not isinstance(items, list) or len(items) > _MOST_CORRECTIONS:
        raise RequestError(
            'Corrections are a JSON object {"corrections": [...]}'
            f" with a list of up to {_MOST_CORRECTIONS} corrections."
        )
    return tuple(_correction(number, item) for number, item in enumerate(items, 1))


def read_corrections(path: Path) -> tuple[Correction, ...]:
    """The corrections in a file; a RequestError if it is missing or wrong."""
    try:
        if path.exists() and not path.is_file():
            raise RequestError(f"{path} is not a file.")
        if path.stat().st_size > _LARGEST_FILE:
            raise RequestError(f"{path} is too large for a file of corrections.")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise RequestError(
            f"The corrections cannot be read from {path}: {error.strerror or error}."
        ) from error
    except UnicodeDecodeError as error:
        raise RequestError(f"{path} is not text, so it is not a file of corrections.") from error
    try:
        return corrections_from(text)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from error


def _correction(number: int, item: Any) -> Correction:
    if not isinstance(item, dict):
        raise RequestError(f"Correction {number} is not a JSON object.")
    unknown = unknown_fields(Correction, item)
    if unknown:
        known = ", ".join(field.name for field in fields(Correction))
        raise RequestError(f"Correction {number} holds {shortened(', '.join(unknown))}; known are {known}.")
    try:
        return record_from_json(Correction, item)
    except ValueError as error:
        raise RequestError(f"Correction {number} is damaged: {error}.") from error
    except RequestError as error:
        raise RequestError(f"Correction {number}: {error}") from error
