# SPDX-License-Identifier: GPL-3.0-or-later
"""Movies, numbered image sequences and stills through one interface: frames with a number, a time and a picture."""

from inference_core.footage.open import MIN_SIDE_PX, open_footage
from inference_core.footage.records import (
    Footage,
    FootageInfo,
    Frame,
    FrameRange,
    Limits,
    limits_of,
    parse_frame_range,
)

__all__ = [
    "MIN_SIDE_PX",
    "Footage",
    "FootageInfo",
    "Frame",
    "FrameRange",
    "Limits",
    "limits_of",
    "open_footage",
    "parse_frame_range",
]
