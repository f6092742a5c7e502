# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenEXR pictures as linear light in sRGB's primaries: layers, data windows, chromaticities, pixel aspect."""

import contextlib
import os
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.footage.records import Limits
from inference_core.shared.errors import FootageError

# Renderers' names for the layer with the picture, tried in this order when a file has no plain R, G, B.
_LAYERS = ("rgba", "rgb", "combined", "beauty", "composite")

# OpenEXR decodes all channels of all parts; this many bytes per pixel are allowed.
_BYTES_A_PIXEL = 16

# x, y of red, green, blue and white.
_SRGB = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
_ACES_AP0 = (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.0770, 0.32168, 0.33767)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

Floats = NDArray[np.float32]

_STDERR = 2
_one_at_a_time = threading.Lock()


def read_exr(path: Path, limits: Limits) -> tuple[Floats, float]:
    """Linear R, G, B (H, W, 3) of the display window, alpha over black as stored, and the pixels' aspect."""
    import OpenEXR  # imported here: without the OpenEXR package everything else can still be read

    with _silent():
        with OpenEXR.File(str(path), separate_channels=True, header_only=True) as file:
            _check_sizes(path, [part.header for part in file.parts], limits)
        with OpenEXR.File(str(path), separate_channels=True) as file:
            for part in file.parts:
                names = _colour_channels(list(part.channels))
                if names is not None:
                    planes = [np.asarray(part.channels[name].pixels, np.float32) for name in names]
                    linear = _in_srgb(np.stack(planes, -1), part.header)
                    aspect = float(part.header.get("pixelAspectRatio", 1))
                    return _in_display_window(linear, part.header), aspect
            # A truncated file has no parts; OpenEXR only prints that.
            broken = not file.parts or any(not part.channels for part in file.parts)
    if broken:
        raise FootageError(f"{path} is cut short or damaged. Copy it again from its source.")
    raise FootageError(f"{path} holds no R, G, B and no Y channel that could be shown.")


@contextlib.contextmanager
def _silent() -> Generator[None]:
    """A context in which OpenEXR prints nothing, neither by Python's stdout nor by the process's stderr.

    It prints what is wrong with a damaged file instead of raising it, in several lines. What other threads print on
    stdout is printed.
    """
    with _one_at_a_time, contextlib.ExitStack() as stack:
        others: Any = _OtherThreads(sys.stdout)
        stack.enter_context(contextlib.redirect_stdout(others))
        with contextlib.suppress(OSError):  # a closed stderr is silent
            kept = os.dup(_STDERR)
            stack.callback(os.close, kept)
            nowhere = stack.enter_context(Path(os.devnull).open("wb"))
            os.dup2(nowhere.fileno(), _STDERR)
            stack.callback(os.dup2, kept, _STDERR)
        yield


class _OtherThreads:
    """A stream to which the thread that made this writes nothing."""

    def __init__(self, stream: Any) -> None:
        self._stream: Any = stream
        self._silent = threading.get_ident()

    def write(self, text: str) -> int:
        """Write the text, unless it comes from the silent thread."""
        if self._stream is None or threading.get_ident() == self._silent:
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _check_sizes(path: Path, headers: list[Any], limits: Limits) -> None:
    total = 0
    for header in headers:
        for window in ("displayWindow", "dataWindow"):
            if window in header:
                (x0, y0), (x1, y1) = (corner.tolist() for corner in header[window])
                limits.check_size(str(path), (x1 - x0 + 1, y1 - y0 + 1))
                if window == "dataWindow":
                    total += (x1 - x0 + 1) * (y1 - y0 + 1) * 4 * len(header["channels"])
    if total > _BYTES_A_PIXEL * limits.max_pixels:
        raise FootageError(
            f"{path} would fill {total / 1e9:.1f} GB with all its layers. Keep only the picture's own layers, or raise "
            "--max-pixels to read it anyway."
        )


def _colour_channels(names: list[str]) -> tuple[str, str, str] | None:
    layers: dict[str, dict[str, str]] = {}
    for name in names:
        layer, _, channel = name.rpartition(".")
        layers.setdefault(layer, {})[channel.upper()] = name
    order = sorted(layers, key=lambda layer: (layer != "", _layer_rank(layer)))
    for layer in order:
        if {"R", "G", "B"} <= layers[layer].keys():
            return layers[layer]["R"], layers[layer]["G"], layers[layer]["B"]
    for layer in order:
        if "Y" in layers[layer]:
            luminance = layers[layer]["Y"]
            return luminance, luminance, luminance
    return None


def _layer_rank(layer: str) -> int:
    last = layer.rpartition(".")[2].lower()
    return _LAYERS.index(last) if last in _LAYERS else len(_LAYERS)


def _in_srgb(pixels: Floats, header: Any) -> Floats:
    """The colours in sRGB primaries, if the file declares others (ACES, ACEScg, DCI-P3)."""
    given = header.get("chromaticities")
    if given is None:
        given = _ACES_AP0 if header.get("acesImageContainerFlag") else _SRGB
    values = tuple(float(value) for value in given)
    if np.allclose(values, _SRGB, atol=2e-3) or not np.isfinite(values).all():
        return pixels
    try:
        source, target = _xyz_from_rgb(values), _xyz_from_rgb(_SRGB)
        adapted = _adaptation(_white(values), _white(_SRGB)) @ source
        matrix = np.linalg.solve(target, adapted).astype(np.float32)
    except (np.linalg.LinAlgError, ZeroDivisionError):
        return pixels  # these primaries describe no colour space
    return pixels @ matrix.T


def _xyz_from_rgb(values: tuple[float, ...]) -> NDArray[np.float64]:
    primaries = np.array([[x, y, 1 - x - y] for x, y in zip(values[0:6:2], values[1:6:2], strict=True)]).T
    return primaries * np.linalg.solve(primaries, _white(values))


def _white(values: tuple[float, ...]) -> NDArray[np.float64]:
    x, y = values[6:]
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _adaptation(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bradford's chromatic adaptation of XYZ from one white point to another."""
    gains = (_BRADFORD @ target) / (_BRADFORD @ source)
    return np.linalg.solve(_BRADFORD, gains[:, None] * _BRADFORD)


def _in_display_window(pixels: Floats, header: Any) -> Floats:
    """The pixels of the data window placed in the display window; black where there are none."""
    if "displayWindow" not in header or "dataWindow" not in header:
        return pixels
    (x0, y0), (x1, y1) = (np.asarray(corner).astype(int) for corner in header["displayWindow"])
    (left, top), _ = (np.asarray(corner).astype(int) for corner in header["dataWindow"])
    height, width = y1 - y0 + 1, x1 - x0 + 1
    if (left, top) == (x0, y0) and pixels.shape[:2] == (height, width):
        return pixels
    shown = np.zeros((height, width, 3), np.float32)
    rows = slice(max(top - y0, 0), min(top - y0 + pixels.shape[0], height))
    columns = slice(max(left - x0, 0), min(left - x0 + pixels.shape[1], width))
    if rows.start < rows.stop and columns.start < columns.stop:
        source_top, source_left = rows.start - (top - y0), columns.start - (left - x0)
        shown[rows, columns] = pixels[
            source_top : source_top + rows.stop - rows.start,
            source_left : source_left + columns.stop - columns.start,
        ]
    return shown
