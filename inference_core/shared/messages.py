# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's protocol: a JSON request in, JSON lines out.

    -> {"type": "capture", "protocol": 1, "footage": "shot.mov", "out": "shot.npz", ...}  one line on stdin, or
    -> {"type": "solve", "protocol": 1, "take": "shot.npz", "out": "again.npz", ...}
    <- {"type": "hello", "protocol": 1, "version": "0.1.0", "device": "cpu", ...}         then lines on stdout
    <- {"type": "status" | "progress" | "warning", ...}
    <- {"type": "done", "path": "shot.npz"}  or  {"type": "error", "kind": "TakeError", "text": "..."}
    -> {"type": "cancel"}, or stdin closed: the worker ends, and the next run resumes from the results so far.

Standard library only: Blender's side shares this file.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final, Literal

from inference_core.shared.errors import DuohandError, RequestError
from inference_core.shared.json_record import json_object, record_from_json, shortened, unknown_fields

PROTOCOL_VERSION: Final = 1

# Done; failed while running (disk, memory, a bug); unusable input; stopped.
EXIT_OK, EXIT_FAILED, EXIT_ERROR, EXIT_CANCELLED = 0, 1, 2, 130
STOPPED_TEXT: Final = "The run was stopped. Its results so far are kept; the same request resumes from there."
CANCELLED_KIND: Final = "Cancelled"

Progress = Callable[[str, int, int], None]  # stage, done, total (0: unknown)
Hands = Literal["both", "left", "right"]
Device = Literal["auto", "cpu", "cuda", "mps"]


# The fields of a request that are paths, and the bounds of its numbers.
_PATHS: Final = (
    "footage",
    "take",
    "out",
    "preview",
    "mano",
    "network",
    "proxy",
    "corrections",
    "camera_path",
)
# Networks by name; any other is a path.
NAMED_NETWORKS: Final = ("auto", "none", "shipped")
_LONGEST_PATH: Final = 32_767
_RANGES: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "fps": (1e-3, 9_999.0),
        "fov_deg": (1.0, 179.0),
        "focal_mm": (1e-2, 1e5),
        "sensor_mm": (1e-2, 1e5),
        "hand_length_mm": (80.0, 300.0),
        "intrinsics_px": (-1e6, 1e6),
        "smooth": (0.0, 1.0),
        "max_pixels": (1, 1e12),
        "max_frames": (1, 1e9),
        "first": (0, 1 << 62),
        "last": (0, 1 << 62),
        "blend": (0, 1000),
    }
)


class ProtocolError(DuohandError):
    """A line that is not a message of this protocol."""


class Cancelled(BaseException):
    """The run was asked to stop. Like KeyboardInterrupt, it is not caught as an error."""


@dataclass(frozen=True)
class CaptureRequest:
    """The settings of one run. Paths are text; None means the documented default.

    frames: "A:B:STEP", frame numbers from A up to, but excluding, B; each part may be left out.
    fps: for image sequences only. The lens is one of fov_deg (across the wider side), focal_mm with sensor_mm
    (sensor's width) or intrinsics_px (fx, fy, cx, cy). smooth: 0..1. network: "auto", "none", "shipped" or a path.
    hand_length_mm: wrist crease to middle fingertip. camera_path: a file of a moving camera's pose in every frame.
    proxy: where the plate movie goes; "auto": beside the take, if Blender would show the footage differently;
    "none". max_pixels, max_frames: limits on the footage (docs/footage.md). profile: report where the time went.
    part: "tracks" or "K/N": only results for another run of this request, into its OUT.partial (docs/farm.md).
    """

    footage: str
    out: str
    preview: str | None = None
    frames: str = ""
    fps: float | None = None
    fov_deg: float | None = None
    focal_mm: float | None = None
    sensor_mm: float | None = None
    intrinsics_px: tuple[float, float, float, float] | None = None
    hand_length_mm: float | None = None
    camera_path: str | None = None
    hands: Hands = "both"
    mano: str | None = None
    device: Device = "auto"
    smooth: float = 0.5
    network: str = "auto"
    resume: bool = True
    proxy: str = "auto"
    max_pixels: int | None = None
    max_frames: int | None = None
    profile: bool = False
    part: str = ""


@dataclass(frozen=True)
class SolveRequest:
    """A range of a take to solve again, without its footage (docs/corrections.md).

    first, last: frame numbers of the footage, both included; None: those that the corrections affect. corrections: a
    file. mano: the current folder of the user's MANO files; None: as before. blend: frames at the range's ends over
    which it is blended into the rest.
    """

    take: str
    out: str
    first: int | None = None
    last: int | None = None
    corrections: str | None = None
    mano: str | None = None
    blend: int = 6


Request = CaptureRequest | SolveRequest
_REQUESTS: Final[Mapping[str, type[Any]]] = MappingProxyType(
    {"capture": CaptureRequest, "solve": SolveRequest}
)


@dataclass(frozen=True)
class Hello:
    """The first line: the worker's version and device."""

    version: str
    device: str
    devices: tuple[str, ...] = ()
    python: str = ""
    versions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    pid: int = 0
    protocol: int = PROTOCOL_VERSION


@dataclass(frozen=True)
class Status:
    """The current activity, in a sentence."""

    text: str


@dataclass(frozen=True)
class StageProgress:
    """A stage's progress: done of total (0: unknown)."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Notice:
    """A warning: the run continues."""

    text: str


@dataclass(frozen=True)
class Profile:
    """Where a run's time went, sent before the end: seconds for which each of `parts` blocked the run, and seconds
    of background threads; the total wall-clock and processor time; the number of frames.

    The rest of the total belongs to no part.
    """

    parts: tuple[str, ...]
    held_up_s: tuple[float, ...]
    beside_s: tuple[float, ...]
    total_s: float
    processor_s: float
    frames: int


@dataclass(frozen=True)
class Failure:
    """The last line of a run that failed: kind is the error's class name, or "Cancelled"."""

    kind: str
    text: str


@dataclass(frozen=True)
class Done:
    """The last line of a run that succeeded."""

    path: str
    preview: str | None = None


Message = Hello | Status | StageProgress | Notice | Profile | Failure | Done

_TYPES: dict[str, type[Any]] = {
    "hello": Hello,
    "status": Status,
    "progress": StageProgress,
    "warning": Notice,
    "profile": Profile,
    "error": Failure,
    "done": Done,
}
_NAMES = {record: name for name, record in _TYPES.items()}


def encode_message(message: Message) -> str:
    """The message as one line, newline included."""
    return _line({"type": _NAMES[type(message)], **_plain(message)})


def decode_message(line: str) -> Message:
    """The message in a line. Fields of newer workers are ignored; a ProtocolError says what is wrong.

    A hello of another protocol version is returned unchanged: the reader compares `protocol`.
    """
    try:
        values = json_object(line)
    except ValueError as error:
        raise ProtocolError(
            f"The engine sent a line that is not a message ({error}): {shortened(line)}"
        ) from error
    name = values.pop("type", None)
    if not isinstance(name, str) or name not in _TYPES:
        raise ProtocolError(
            f"The engine sent a message of unknown type {shortened(repr(name))}: {shortened(line)}"
        )
    try:
        return record_from_json(_TYPES[name], values)
    except ValueError as error:
        raise ProtocolError(
            f"The engine sent a damaged {name} message ({error}): {shortened(line)}"
        ) from error


def encode_request(request: Request) -> str:
    """The request as one line, newline included."""
    name = next(name for name, record in _REQUESTS.items() if isinstance(request, record))
    return _line({"type": name, "protocol": PROTOCOL_VERSION, **_plain(request)})


def decode_request(line: str) -> Request:
    """The request in a line; a RequestError names the field that is wrong or unknown."""
    try:
        values = json_object(line)
    except ValueError as error:
        raise RequestError(f"The request is not one line of JSON ({error}): {shortened(line)}") from error
    record = _REQUESTS.get(str(values.pop("type", None)))
    if record is None:
        raise RequestError(f"The request is none of the types {', '.join(map(repr, _REQUESTS))}.")
    protocol = values.pop("protocol", None)
    if type(protocol) is not int or protocol != PROTOCOL_VERSION:
        raise RequestError(
            f"The request speaks protocol {shortened(repr(protocol))}, this engine speaks {PROTOCOL_VERSION}. "
            "Install the engine and the add-on of the same Duohand version."
        )
    unknown = unknown_fields(record, values)
    if unknown:
        raise RequestError(
            f"The request has fields that this engine does not know: {shortened(', '.join(unknown))}."
        )
    try:
        request = record_from_json(record, values)
    except ValueError as error:
        raise RequestError(f"The request is damaged: {error}.") from error
    check_request(request)
    return request


def check_request(request: Request) -> None:
    """RequestError naming a field that is not a path, or a number out of bounds."""
    for name in _PATHS:
        _check_path(name, getattr(request, name, None))
    for name, (low, high) in _RANGES.items():
        value = getattr(request, name, None)
        values = value if isinstance(value, tuple) else (value,)
        if not all(number is None or low <= number <= high for number in values):
            raise RequestError(f"{name} is {shortened(repr(value))}; give {low:g} to {high:g}.")


def is_cancel(line: str) -> bool:
    """Whether the line asks the worker to stop."""
    try:
        return json_object(line).get("type") == "cancel"
    except ValueError:
        return False


def _line(values: Mapping[str, Any]) -> str:
    # ASCII only: the line survives any encoding of either side's console.
    return json.dumps(values, ensure_ascii=True, allow_nan=False, separators=(",", ":")) + "\n"


def _plain(record: Any) -> dict[str, Any]:
    values = {item.name: getattr(record, item.name) for item in fields(record)}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}


def _check_path(name: str, path: str | None) -> None:
    """RequestError for text that cannot be a path on any system."""
    try:
        impossible = path is not None and (b"\0" in os.fsencode(path) or len(path) > _LONGEST_PATH)
    except UnicodeEncodeError:
        impossible = True
    if impossible:
        raise RequestError(f"{name} is {shortened(str(path))!a}, which is not a path.")
