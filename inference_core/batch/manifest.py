# SPDX-License-Identifier: GPL-3.0-or-later
"""The shots of a batch: from a CSV or JSON manifest, from folders, from single clips and patterns."""

import csv
import glob
import io
import itertools
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from inference_core.footage.records import parse_frame_range
from inference_core.shared.errors import DuohandError, RequestError
from inference_core.shared.footage_listing import clips_in, footage_stem
from inference_core.shared.json_record import record_from_json, shortened, type_hints
from inference_core.shared.messages import NAMED_NETWORKS, CaptureRequest, check_request
from inference_core.shared.picture_sequences import is_folder

_MANIFESTS = (".csv", ".json")
_LARGEST_MANIFEST = 64 << 20
_MOST_SHOTS = 100_000
_MOST_COLUMNS = 256
_NAME_BYTES = 150  # file systems allow 255, with the endings of a shot's files
_RESERVED = re.compile(
    r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I | re.ASCII
)  # names of devices on Windows
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+", re.ASCII)
# Fields that a batch sets itself.
_NOT_SETTABLE = ("out", "preview", "resume", "part", "profile")
_COLUMNS = ("name", *(item.name for item in fields(CaptureRequest) if item.name not in _NOT_SETTABLE))
_PATHS = ("footage", "mano", "camera_path", "proxy")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Shot:
    """One capture of a batch, with a unique name that its files share."""

    name: str
    request: CaptureRequest


def read_shots(sources: Iterable[str], folder: Path, settings: Row, preview: bool) -> tuple[Shot, ...]:
    """The sources' shots in order; their takes (and previews) go into `folder`.

    sources: manifests (.csv, .json), folders, clips, patterns with * or ?. settings: fields of CaptureRequest for
    shots that do not set them. RequestError or FootageError names the source and the row that is wrong.
    """
    rows = [row for source in sources for row in _rows(source, folder.resolve())]
    if not rows:
        raise RequestError("No footage was found. Give clips, a folder of clips, or a manifest.")
    if len(rows) > _MOST_SHOTS:
        raise RequestError(f"{len(rows)} shots are more than {_MOST_SHOTS}. Make several batches of them.")
    taken: dict[str, int] = {}
    shots: list[Shot] = []
    for where, row in rows:
        request = _request({**settings, **row}, where)
        name = _free_name(str(row.get("name") or footage_stem(request.footage)), request.footage, taken)
        shown = str(folder / f"{name}.mp4") if preview else None
        shots.append(Shot(name, replace(request, out=str(folder / f"{name}.npz"), preview=shown)))
    return tuple(shots)


def _rows(source: str, out: Path) -> Iterator[tuple[str, Row]]:
    """Each shot's settings in a source, and where they are written."""
    path = Path(source)
    if path.suffix.lower() in _MANIFESTS and not is_folder(path):
        for number, row in enumerate(_manifest_rows(path), 1):
            where = f"{path}, shot {number}"
            yield where, _absolute(_checked_names(row, where), path.parent)
    elif is_folder(path):
        yield from _clip_rows(_named_clips(path, out))
    elif not os.path.lexists(path) and any(letter in source for letter in "*?"):
        found = sorted(glob.glob(_as_pattern(source), recursive=True))  # noqa: PTH207 (a pattern may be absolute)
        if not found:
            raise RequestError(f"No file matches {source}. Check the pattern and the folder.")
        for place in found:
            yield from _clip_rows(_clips(Path(place), out)) if is_folder(Path(place)) else _rows(place, out)
    else:
        yield source, {"footage": str(path.absolute())}


def _clip_rows(clips: Iterable[Path]) -> Iterator[tuple[str, Row]]:
    return ((str(clip), {"footage": str(clip.absolute())}) for clip in clips)


def _clips(folder: Path, out: Path) -> list[Path]:
    """The footage in the folder and below, except in the batch's own."""
    return [clip for clip in clips_in(folder) if out not in (clip.resolve().parent, *clip.resolve().parents)]


def _named_clips(folder: Path, out: Path) -> list[Path]:
    """The same for a folder that was named as a source: RequestError if it has no footage."""
    clips = _clips(folder, out)
    if clips:
        return clips
    if any(clips_in(folder)):
        raise RequestError(f"All footage in {folder} is in the folder of the takes. Choose another --out.")
    raise RequestError(f"The folder {folder} contains no footage.")


def _as_pattern(source: str) -> str:
    """The pattern, in which an existing folder's own brackets are no pattern."""
    folder, tail = Path(source), list[str]()
    while any(letter in str(folder) for letter in "*?") and folder.name:
        folder, tail = folder.parent, [folder.name, *tail]
    return str(Path(glob.escape(str(folder)), *tail)) if folder.is_dir() else source


def _manifest_rows(path: Path) -> Sequence[Row]:
    try:
        if path.exists() and not path.is_file():
            raise RequestError(f"The manifest {path} is not a file.")
        if path.stat().st_size > _LARGEST_MANIFEST:
            raise RequestError(f"The manifest {path} is larger than {_LARGEST_MANIFEST >> 20} MB. Split it.")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RequestError(f"The manifest {path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise RequestError(f"The manifest {path} is not UTF-8 text. Save it as UTF-8.") from error
    return _json_rows(text, path) if path.suffix.lower() == ".json" else _csv_rows(text, path)


def _json_rows(text: str, path: Path) -> Sequence[Row]:
    """A list of footage names or of objects with settings."""
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"The manifest {path} is not JSON: {shortened(str(error))}.") from error
    rows = [{"footage": value} if isinstance(value, str) else value for value in _as_list(values)]
    if not all(isinstance(row, dict) for row in rows):
        raise RequestError(
            f"The manifest {path} is not a list of shots: names of footage, or objects with settings."
        )
    return rows


def _as_list(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list) else [values]


def _csv_rows(text: str, path: Path) -> Sequence[Row]:
    """Rows below a header line, separated by commas, semicolons or tabs. Empty cells are left unset."""
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        # Each row becomes a dictionary of all columns: without a limit, a small file fills the memory.
        if len(reader.fieldnames or ()) > _MOST_COLUMNS:
            raise RequestError(
                f"The manifest {path} has more than {_MOST_COLUMNS} columns. Remove the others."
            )
        twice = [
            name for name, count in Counter(reader.fieldnames or ()).items() if count > 1 and name.strip()
        ]
        if twice:
            raise RequestError(f"The manifest {path} has the column {shortened(twice[0])} twice. Remove one.")
        rows = (row for row in reader if any(row.values()))
        return [
            _cells(row, f"{path}, line {reader.line_num}", delimiter != ",")
            for row in itertools.islice(rows, _MOST_SHOTS + 1)
        ]
    except csv.Error as error:
        raise RequestError(f"The manifest {path} is not a CSV file: {error}.") from error


def _cells(row: Mapping[str | None, Any], where: str, with_decimal_commas: bool) -> Row:
    """The cells as JSON values of their columns' types."""
    if None in row:
        raise RequestError(
            f"{where}: there are more cells than columns. Quote cells that hold the separator."
        )
    values: dict[str, Any] = {}
    hints = type_hints(CaptureRequest)
    for name, cell in row.items():
        text = (cell or "").strip()
        if name is None or not text:
            continue
        hint = hints.get(name.strip(), str)
        is_text = hint is str or any(option is str or isinstance(option, str) for option in get_args(hint))
        if with_decimal_commas and not is_text and _DECIMAL_COMMA.fullmatch(text):
            text = text.replace(",", ".")
        try:
            values[name.strip()] = text if is_text else json.loads(text.lower())
        except (ValueError, RecursionError) as error:
            raise RequestError(f"{where}: {name} is {shortened(text)!r}, which is not a number.") from error
    return values


def _checked_names(row: Row, where: str) -> Row:
    unknown = sorted(set(row) - set(_COLUMNS))
    if unknown:
        raise RequestError(
            f"{where}: {shortened(', '.join(unknown))} cannot be set for a shot; possible are {', '.join(_COLUMNS)}."
        )
    if not isinstance(row.get("footage"), str) or not row["footage"]:
        raise RequestError(f"{where}: it does not name footage.")
    return row


def _absolute(row: Row, folder: Path) -> Row:
    """Settings with paths resolved against the manifest's folder."""
    paths = {name: row[name] for name in _PATHS if isinstance(row.get(name), str)}
    if isinstance(row.get("network"), str):
        paths["network"] = row["network"]
    found = {
        name: path
        if path in NAMED_NETWORKS and name in ("network", "proxy")
        else str((folder / path).absolute())
        for name, path in paths.items()
    }
    return {**row, **found}


def _request(values: Row, where: str) -> CaptureRequest:
    known = {name: value for name, value in values.items() if name != "name"}
    try:
        request = record_from_json(CaptureRequest, {**known, "out": ""})
        check_request(request)
        parse_frame_range(request.frames)
    except (ValueError, DuohandError) as error:
        raise RequestError(f"{where}: {error}") from error
    return request


def _free_name(wished: str, footage: str, taken: dict[str, int]) -> str:
    """A unique name for files: prefixed with the folder's if needed, then with a number appended.

    taken: names given so far, which the new one joins, with the last number appended to each.
    """
    name = _as_file_name(wished)
    if _key(name) in taken:
        name = _as_file_name(f"{Path(footage).parent.name}_{wished}")
    free, number = name, taken.get(_key(name), 1)
    while _key(free) in taken:
        number += 1
        free = f"{name}_{number}"
    taken[_key(free)] = 1
    taken[_key(name)] = number
    return free


def _key(name: str) -> str:
    """The same for names that some file systems do not tell apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _as_file_name(text: str) -> str:
    cleaned = re.sub(r"[^\w.\- ]", "_", unicodedata.normalize("NFC", text)).strip("._- ")
    short = cleaned.encode("utf-8", "replace")[:_NAME_BYTES].decode("utf-8", "ignore").strip("._- ") or "shot"
    return f"{short}_" if _RESERVED.fullmatch(short) else short
