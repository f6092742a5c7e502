# SPDX-License-Identifier: GPL-3.0-or-later
"""How a movie's decoded pictures become frames: upright, with square pixels, deinterlaced, sRGB."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.error
import av.filter
import cv2
import numpy as np
from av.sidedata.sidedata import Type
from numpy.typing import NDArray

from inference_core.footage import orientation
from inference_core.footage.container import Sample
from inference_core.footage.pixel_aspect import known_aspect, square_size
from inference_core.footage.tone_mapping import Transfer, to_srgb

_TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}  # FFmpeg's AVColorTransferCharacteristic

# FFmpeg's AVColorSpace: the matrices that its converter knows, and the nearest of those for the others.
_MATRICES = frozenset((0, 1, 2, 4, 5, 6, 7, 9))
_UNSPECIFIED, _NEAREST = 2, {10: 9}
_RANGES = frozenset((0, 1, 2))  # AVColorRange

_SIDE_DATA_KINDS = 64  # more than FFmpeg's AVFrameSideDataType has

# FFmpeg's AVFieldOrder: which field is shown first.
_TOP_FIRST, _BOTTOM_FIRST = (2, 5), (3, 4)


@dataclass(frozen=True)
class Presentation:
    """How each picture of a movie is processed.

    stored_px: width, height as decoded. pixel_aspect: width of a pixel over its height. orientation: EXIF's number.
    fields: bwdif's parity for movies whose frames are two fields, empty for whole frames. has_known_colours: whether
    FFmpeg can convert the colours that are declared; otherwise they are taken for the usual ones.
    """

    stored_px: tuple[int, int]
    pixel_aspect: float
    orientation: int
    fields: str
    transfer: Transfer
    has_known_colours: bool

    @property
    def square_px(self) -> tuple[int, int]:
        """Stored width and height in square pixels: the compressed side is stretched."""
        return square_size(self.stored_px, self.pixel_aspect)

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the frames."""
        return orientation.upright_size(self.square_px, self.orientation)

    def notices(self, name: str) -> list[str]:
        """Notes for the user about the movie of that name."""
        texts: list[str] = []
        if self.fields:
            texts.append(f"{name} is interlaced; its frames are deinterlaced.")
        if self.square_px != self.stored_px:
            sizes = "{}x{} as {}x{}".format(*self.stored_px, *self.square_px)
            texts.append(f"{name} has pixels that are not square; {sizes} is what is worked on.")
        if self.transfer != "sdr":
            texts.append(
                f"{name} is filmed in high dynamic range, which is brought down to what a screen shows."
            )
        if not self.has_known_colours:
            texts.append(f"{name} declares colours of an unknown kind; its colours may be off.")
        return texts

    def image(self, frame: Any) -> NDArray[np.uint8]:
        """The frame (H, W, 3) uint8 sRGB, upright, of a decoded picture of the stored size."""
        stored = _pixels(frame, self.transfer)
        if self.square_px != self.stored_px:
            stored = cv2.resize(stored, self.square_px, interpolation=cv2.INTER_CUBIC)
        return np.ascontiguousarray(orientation.upright(stored, self.orientation))

    def whole_frames(self, frames: Iterable[Any]) -> Iterator[tuple[int | None, Any]]:
        """The decoded frames with their presentation times, deinterlaced if they are fields."""
        if not self.fields:
            yield from ((frame.pts, frame) for frame in frames)
            return
        graph: Any = None
        times: list[int | None] = []
        for frame in frames:
            if graph is None:
                graph = _graph(frame, [("bwdif", f"mode=send_frame:{self.fields}")])
            times.append(frame.pts)
            graph.push(frame)
            yield from _filtered(graph, times)
        if graph is not None:
            graph.push(None)
            yield from _filtered(graph, times)


def presentation_of(sample: Sample, pixel_aspect: Fraction | None) -> Presentation:
    """The processing that the movie needs, judged by its beginning. pixel_aspect: as declared by container or codec."""
    frame = sample.first
    aspect = known_aspect(float(pixel_aspect or 1))
    matrices = [data for data in _side_data(frame) if data.type == Type.DISPLAYMATRIX]
    turned = orientation.UPRIGHT
    if matrices:
        turned = orientation.orientation_of_matrix(np.frombuffer(bytes(matrices[0]), np.int32).tolist())
    transfer = _TRANSFERS.get(int(frame.color_trc), "sdr")
    size_px, is_known = (frame.width, frame.height), _has_known_colours(frame)
    return Presentation(size_px, aspect, turned, _fields(sample), transfer, is_known)


def _side_data(frame: Any) -> list[Any]:
    """The frame's side data of the kinds that PyAV knows. It raises for all others (EXIF, the two views of spatial
    movies), so those are removed first.
    """
    try:
        return list(frame.side_data)
    except ValueError:
        named = {kind.value for kind in Type}
        nameless = [kind for kind in range(_SIDE_DATA_KINDS) if kind not in named]
        graph = _graph(frame, [("sidedata", f"mode=delete:type={kind}") for kind in nameless])
        graph.push(frame)
        return list(graph.pull().side_data)


def _has_known_colours(frame: Any) -> bool:
    return int(frame.colorspace) in _MATRICES and int(frame.color_range) in _RANGES


def _fields(sample: Sample) -> str:
    parity = {**dict.fromkeys(_TOP_FIRST, "tff"), **dict.fromkeys(_BOTTOM_FIRST, "bff")}.get(
        sample.field_order
    )
    if not sample.has_fields:
        return f"parity={parity}:deint=all" if parity else ""
    # H.264 states the order twice. The decoder marks frames by the numbers of their fields, which x264 writes the wrong
    # way round where FFmpeg hands it frames without marks. Of other codecs, frames know better than their container.
    stated = parity if sample.codec == "h264" else None
    return f"parity={stated or 'auto'}:deint=interlaced"


def _pixels(frame: Any, transfer: Transfer) -> NDArray[np.uint8]:
    """The picture as sRGB; alpha goes over black."""
    if transfer != "sdr":
        return to_srgb(_array(frame, "rgb48le"), transfer)
    if not any(component.is_alpha for component in frame.format.components):
        return _array(frame, "rgb24")
    image = _array(frame, "rgba")
    return (image[..., :3] * (image[..., 3:].astype(np.uint16)) // 255).astype(np.uint8)


def _array(frame: Any, format: str) -> NDArray[Any]:
    if not _has_known_colours(frame):
        # The converter refuses what it does not know.
        matrix, levels = int(frame.colorspace), int(frame.color_range)
        frame.colorspace = matrix if matrix in _MATRICES else _NEAREST.get(matrix, _UNSPECIFIED)
        frame.color_range = levels if levels in _RANGES else 0
    # Slices in threads, which each frame starts anew, cost more than they save.
    return frame.to_ndarray(format=format, threads=1)


def _graph(frame: Any, filters: Sequence[tuple[str, str]]) -> Any:
    """A filter graph for frames like this one: the filters by name and options, one after the other."""
    graph = av.filter.Graph()
    last: Any = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    for name, options in (*filters, ("buffersink", "")):
        following = graph.add(name, options)
        last.link_to(following)
        last = following
    graph.configure()
    return graph


def _filtered(graph: Any, times: list[int | None]) -> Iterator[tuple[int | None, Any]]:
    """The filter's output; it keeps the order and number of the frames, but not their timestamps."""
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield times.pop(0), frame
