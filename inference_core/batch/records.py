# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of each shot of a batch, which the next run reads, and the report of all shots.

Each shot has its own file, so that the machines of a farm share a folder without waiting for each other.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from inference_core import __version__
from inference_core.shared.errors import RequestError, TakeError
from inference_core.shared.json_record import json_object, record_from_json
from inference_core.shared.whole_file import whole_file

REPORT_NAME: Final = "report.json"
_RECORDS = "records"
_FORMAT = 1
_LARGEST_RECORD = 1 << 20

State = Literal["waiting", "running", "done", "same", "failed", "stopped"]


@dataclass(frozen=True)
class HandRecord:
    """One hand of a take, for people and scripts. None if there is nothing to measure."""

    seen: int
    filled: int
    absent: int
    confidence: float | None
    reprojection_px: float | None
    shake_mm: float | None


@dataclass(frozen=True)
class ShotRecord:
    """A shot of a batch.

    key: `content_key`. take, preview, blend, fbx: names of files in the batch's folder. take_sha256: of the take as it
    was written. same_as: the shot with the same content and settings, whose take this shot shares.
    seconds: of the last attempt. may_try_again: another attempt, or another machine, may do better.
    worst_frames: numbers in the footage.
    """

    name: str
    footage: str
    state: State = "waiting"
    key: str | None = None
    take: str | None = None
    take_sha256: str | None = None
    same_as: str | None = None
    preview: str | None = None
    blend: str | None = None
    fbx: str | None = None
    attempts: int = 0
    seconds: float = 0.0
    error_kind: str | None = None
    error: str | None = None
    may_try_again: bool = False
    warnings: tuple[str, ...] = ()
    frames: int = 0
    left: HandRecord | None = None
    right: HandRecord | None = None
    worst_frames: tuple[int, ...] = ()


def read_records(folder: Path) -> dict[str, ShotRecord]:
    """The records in the folder by shot name. RequestError for a file that is not a record."""
    records: dict[str, ShotRecord] = {}
    for path in sorted((folder / _RECORDS).glob("*.json")):
        try:
            if path.stat().st_size > _LARGEST_RECORD:
                raise ValueError("it is too large")
            values = json_object(path.read_text(encoding="utf-8"))
            if values.pop("format", None) != _FORMAT:
                raise ValueError(f"it is not a record of format {_FORMAT}")
            record = record_from_json(ShotRecord, values)
        except FileNotFoundError:
            continue  # another batch has just replaced it
        except (OSError, ValueError) as error:
            raise RequestError(
                f"{path} cannot be used: {error}. Move it away, or choose another folder for this batch."
            ) from error
        records[record.name] = record
    return records


def write_record(folder: Path, record: ShotRecord) -> None:
    """Write the shot's record. If that fails, a TakeError is raised and the previous record stays intact."""
    _write(folder / _RECORDS / f"{record.name}.json", {"format": _FORMAT, **asdict(record)})


def write_report(folder: Path, records: Iterable[ShotRecord]) -> None:
    """Write a batch's report.json. If that fails, a TakeError is raised and the previous report stays intact."""
    shots = [asdict(record) for record in records]
    _write(folder / REPORT_NAME, {"format": _FORMAT, "duohand": __version__, "shots": shots})


def _write(path: Path, values: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(values, indent=1, allow_nan=False), encoding="utf-8")
    except OSError as error:
        raise TakeError(
            f"{path} could not be written: {error.strerror or error}. Make room and run the command again: finished "
            "shots are kept."
        ) from error
