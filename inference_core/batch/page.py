# SPDX-License-Identifier: GPL-3.0-or-later
"""The batch as one self-contained HTML page, which can be mailed."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined

from inference_core import __version__
from inference_core.batch.figures import confidence_curve, picture_path, presence_runs, typical_row
from inference_core.batch.records import ShotRecord
from inference_core.shared.errors import DuohandError, TakeError
from inference_core.shared.presence import ABSENT, FILLED, SEEN
from inference_core.shared.skeleton import SIDES
from inference_core.shared.take import Take, load_take
from inference_core.shared.whole_file import whole_file

PAGE_NAME: Final = "report.html"
PICTURES: Final = "pictures"
_STRIP_WIDTH, _STRIP_HEIGHT = 600, 28
_CURVE_POINTS = 300
_PRESENCE = {ABSENT: "absent", SEEN: "seen", FILLED: "filled"}


@dataclass(frozen=True)
class Strip:
    """A hand through the shot: rectangles of presence (x, width, class) and polylines of confidence, in pixels."""

    side: str
    runs: tuple[tuple[float, float, str], ...]
    curves: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A shot on the page. pictures: frame numbers and data addresses, the typical one first."""

    record: ShotRecord
    strips: tuple[Strip, ...]
    pictures: tuple[tuple[int, str], ...]
    links: tuple[tuple[str, str], ...]


def write_page(folder: Path, records: Sequence[ShotRecord]) -> Path:
    """Write report.html into the batch's folder; its path. TakeError if that fails."""
    path = folder / PAGE_NAME
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        resources.files(__package__ or "").joinpath("page.html.jinja").read_text(encoding="utf-8")
    )
    states = [record.state for record in records]
    html = template.render(
        version=__version__,
        rows=[_row(folder, record) for record in records],
        counts=[(state, states.count(state)) for state in sorted(set(states))],
        seconds=sum(record.seconds for record in records),
        width=_STRIP_WIDTH,
        height=_STRIP_HEIGHT,
    )
    try:
        with whole_file(path) as temporary:
            temporary.write_text(html, encoding="utf-8")
    except OSError as error:
        raise TakeError(f"{path} could not be written: {error.strerror or error}. Make room.") from error
    return path


def _row(folder: Path, record: ShotRecord) -> Row:
    files = (record.take, record.preview, record.blend, record.fbx)
    links = tuple((name, quote(name)) for name in files if name and (folder / name).exists())
    take = _take(folder, record)
    if take is None:
        return Row(record, (), (), links)
    strips = tuple(_strip(take, side) for side in range(len(SIDES)))
    frames = dict.fromkeys((int(take.frame[typical_row(take)]), *record.worst_frames))
    pictures = [(frame, picture_path(folder / PICTURES, record.name, frame)) for frame in frames]
    shown = tuple((frame, _data_address(path)) for frame, path in pictures if path.exists())
    return Row(record, strips, shown, links)


def _take(folder: Path, record: ShotRecord) -> Take | None:
    if record.take is None or record.same_as is not None:
        return None
    try:
        return load_take(folder / record.take)
    except DuohandError:
        return None  # the record says how it ended


def _strip(take: Take, side: int) -> Strip:
    runs = tuple(
        (start * _STRIP_WIDTH, length * _STRIP_WIDTH, _PRESENCE[presence])
        for start, length, presence in presence_runs(take, side)
    )
    curves = tuple(
        " ".join(f"{x * _STRIP_WIDTH:.1f},{(1 - y) * _STRIP_HEIGHT:.1f}" for x, y in piece.tolist())
        for piece in confidence_curve(take, side, _CURVE_POINTS)
    )
    return Strip(SIDES[side], runs, curves)


def _data_address(path: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
