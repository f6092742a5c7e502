# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps OpenCV from printing: what is wrong with a file or a camera is raised instead."""

from typing import Any

import cv2

_SILENT = 0


def silence_opencv() -> None:
    """Stop OpenCV's own warnings and errors, for this process."""
    opencv: Any = cv2  # builds differ in where they have it, and type stubs know one place
    set_level = opencv.setLogLevel if hasattr(opencv, "setLogLevel") else opencv.utils.logging.setLogLevel
    set_level(_SILENT)
