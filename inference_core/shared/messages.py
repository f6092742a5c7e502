# SPDX-License-Identifier: GPL-3.0-or-later
"""What the worker is asked and what it answers: one JSON request in, JSON lines out.

    -> {"type": "capture", "protocol": 1, "footage": "shot.mov", "out": "shot.npz", ...}  one line on stdin
    <- {"type": "hello", "protocol": 1, "version": "0.1.0", "device": "cpu", ...}         then lines on stdout
    <- {"type": "status" | "progress" | "warning", ...}
    <- {"type": "done", "path": "shot.npz"}  or  {"type": "error", "kind": "TakeError", "text": "..."}
    -> {"type": "cancel"}, or stdin closed: the worker ends, and the next run resumes from what there is.

Standard library only: Blender's side shares this file.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from inference_core.shared.errors import DuohandError, RequestError

PROTOCOL_VERSION: Final = 1

EXIT_OK, EXIT_ERROR, EXIT_CANCELLED = 0, 2, 130
CANCELLED_KIND: Final = "Cancelled"

Progress = Callable[[str, int, int], None]  # stage, done, total (0: not known)
Hands = Literal["both", "left", "right"]
Device = Literal["auto", "cpu", "cuda", "mps"]


class ProtocolError(DuohandError):
    """A line that is no message of this protocol."""


class Cancelled(BaseException):
    """The run was asked to stop. Like KeyboardInterrupt it passes what catches errors."""


@dataclass(frozen=True)
class CaptureRequest:
    """Everything one run is told. Paths are text; what is None takes the documented default.

    frames: "A:B:STEP", frame numbers from A up to but without B; each part may be left out.
    fps: for image sequences only. The lens is one of fov_deg (across the wider side), focal_mm with sensor_mm
    (sensor's width) or intrinsics_px (fx, fy, cx, cy). smooth: 0..1. network: "auto", "none", "shipped" or a path.
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
    hands: Hands = "both"
    mano: str | None = None
    device: Device = "auto"
    smooth: float = 0.5
    network: str = "auto"
    resume: bool = True


@dataclass(frozen=True)
class Hello:
    """The first line: who speaks."""

    version: str
    device: str
    devices: tuple[str, ...] = ()
    python: str = ""
    versions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    pid: int = 0
    protocol: int = PROTOCOL_VERSION


@dataclass(frozen=True)
class Status:
    """What is being done, in a sentence."""

    text: str


@dataclass(frozen=True)
class StageProgress:
    """How far a stage has come: done of total (0: not known)."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Notice:
    """A warning: the run goes on, and this should be known."""

    text: str


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


Message = Hello | Status | StageProgress | Notice | Failure | Done

_TYPES: dict[str, type[Any]] = {
    "hello": Hello,
    "status": Status,
    "progress": StageProgress,
    "warning": Notice,
    "error": Failure,
    "done": Done,
}
_NAMES = {record: name for name, record in _TYPES.items()}


def encode_message(message: Message) -> str:
    """The message as one line, newline included."""
    return _line({"type": _NAMES[type(message)], **_plain(message)})


def decode_message(line: str) -> Message:
    """The message that a line holds. Fields of newer workers are ignored; a ProtocolError says what is wrong.

    A hello of another protocol is returned as it is: the reader compares `protocol` and says so.
    """
    values = _json_object(line)
    name = values.pop("type", None)
    if not isinstance(name, str) or name not in _TYPES:
        raise ProtocolError(f"The engine sent a message of unknown type {name!r}: {_shortened(line)}")
    try:
        return _record(_TYPES[name], values)
    except ValueError as error:
        raise ProtocolError(
            f"The engine sent a damaged {name} message ({error}): {_shortened(line)}"
        ) from error


def encode_request(request: CaptureRequest) -> str:
    """The request as one line, newline included."""
    return _line({"type": "capture", "protocol": PROTOCOL_VERSION, **_plain(request)})


def decode_request(line: str) -> CaptureRequest:
    """The request that a line holds; a RequestError names the field that is wrong or not known."""
    try:
        values = _json_object(line)
    except ProtocolError as error:
        raise RequestError(f"The request is not one line of JSON: {_shortened(line)}") from error
    if values.pop("type", None) != "capture":
        raise RequestError("The request is not of type 'capture'.")
    protocol = values.pop("protocol", None)
    if protocol != PROTOCOL_VERSION:
        raise RequestError(
            f"The request speaks protocol {protocol!r}, this engine speaks {PROTOCOL_VERSION}. "
            "Install the engine and the add-on of the same Duohand version."
        )
    unknown = sorted(set(values) - {item.name for item in fields(CaptureRequest)})
    if unknown:
        raise RequestError(f"The request has fields that this engine does not know: {', '.join(unknown)}.")
    try:
        return _record(CaptureRequest, values)
    except ValueError as error:
        raise RequestError(f"The request is damaged: {error}.") from error


def _line(values: Mapping[str, Any]) -> str:
    # ASCII only: the line survives whatever encoding either side's console has.
    return json.dumps(values, ensure_ascii=True, allow_nan=False, separators=(",", ":")) + "\n"


def _plain(record: Any) -> dict[str, Any]:
    values = {item.name: getattr(record, item.name) for item in fields(record)}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}


def _json_object(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"The engine sent a line that is not JSON: {_shortened(line)}") from error
    if not isinstance(values, dict):
        raise ProtocolError(f"The engine sent a line that is not a JSON object: {_shortened(line)}")
    return values


def _record(record: type[Any], values: Mapping[str, Any]) -> Any:
    """The record filled from JSON values, checked against the fields' types; a ValueError names the field."""
    hints = get_type_hints(record)
    known = {name: _typed(name, values[name], hint) for name, hint in hints.items() if name in values}
    try:
        return record(**known)
    except TypeError as error:
        raise ValueError(str(error).partition(") ")[2] or str(error)) from error


def _typed(name: str, value: Any, hint: Any) -> Any:
    origin, options = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None and type(None) in options:
            return None
        hint = next(option for option in options if option is not type(None))
        return _typed(name, value, hint)
    if origin is Literal:
        if value in options:
            return value
        raise ValueError(f"{name} is {value!r}, not one of {', '.join(map(str, options))}")
    if origin is tuple and isinstance(value, list):
        if options[-1] is not Ellipsis and len(value) != len(options):
            raise ValueError(f"{name} has {len(value)} values, not {len(options)}")
        return tuple(_typed(name, item, options[0]) for item in value)
    if origin is not None and isinstance(value, dict):
        return {str(key): str(item) for key, item in value.items()}
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint in (str, int, bool) and type(value) is hint:
        return value
    raise ValueError(f"{name} is {_shortened(repr(value))}, not {getattr(hint, '__name__', hint)}")


def _shortened(text: str, length: int = 120) -> str:
    text = text.strip()
    return text if len(text) <= length else text[:length] + "..."
