# SPDX-License-Identifier: GPL-3.0-or-later
"""DPX pictures, read by FFmpeg; film scans, which hold printing density, are converted to light by Cineon's curve."""

from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from inference_core.footage.records import Limits
from inference_core.footage.tone_mapping import srgb_from_linear
from inference_core.shared.errors import FootageError

_TRANSFER_OFFSET = 801
_DENSITIES = (1, 3)  # SMPTE 268M: printing density, logarithmic

# Kodak's values: black and white of a 10-bit scan, density per code value, the film's gamma.
_BLACK, _WHITE, _DENSITY_A_CODE, _GAMMA = 95, 685, 0.002, 0.6


def read_dpx(path: Path, limits: Limits) -> tuple[NDArray[np.uint8], float]:
    """The picture (H, W, 3) uint8 sRGB and its pixels' aspect. FootageError if FFmpeg cannot read it."""
    try:
        with path.open("rb") as file:
            file.seek(_TRANSFER_OFFSET)
            is_density = (file.read(1) or b"\0")[0] in _DENSITIES
        options = {"max_pixels": str(limits.max_pixels)}
        with av.open(str(path.absolute()), format="dpx_pipe", options=options) as container:
            stream: Any = container.streams.video[0]
            frame = next(container.decode(stream))
            aspect = float(stream.sample_aspect_ratio or 1)
            codes = frame.to_ndarray(format="rgb48le" if is_density else "rgb24")
    except (av.error.FFmpegError, StopIteration, IndexError) as error:
        raise FootageError(
            f"{path} is a DPX that cannot be read ({error}). Convert it to OpenEXR."
        ) from error
    return (srgb_from_linear(_density_table()[codes >> 6]) if is_density else codes), aspect


def _density_table() -> NDArray[np.float32]:
    codes = np.arange(1024)
    light = 10 ** ((codes - _WHITE) * _DENSITY_A_CODE / _GAMMA)
    black = 10 ** ((_BLACK - _WHITE) * _DENSITY_A_CODE / _GAMMA)
    return np.maximum((light - black) / (1 - black), 0).astype(np.float32)
