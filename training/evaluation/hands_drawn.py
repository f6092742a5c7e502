# SPDX-License-Identifier: GPL-3.0-or-later
"""Stills with the detected hands drawn over them, on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inference_core.shared.skeleton import LEFT, PARENTS_21, RIGHT

_COLOURS = {LEFT: (0, 200, 255), RIGHT: (255, 140, 0)}
_WIDTH_PX, _COLUMNS = 320, 4

Image = NDArray[np.uint8]


def write_sheet(
    path: Path,
    images: Sequence[Image],
    found_px: Sequence[NDArray[np.float64]],
    wrists_px: Sequence[NDArray[np.float64]],
) -> None:
    """Write the RGB images, all of one size, in rows of four, with the hands (S, 21, 2) found in each and circles
    around its true wrists (S, 2). NaN: none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [_drawn(*still) for still in zip(images, found_px, wrists_px, strict=True)]
    pictures += [np.zeros_like(pictures[0])] * (-len(pictures) % _COLUMNS)
    rows = [np.hstack(pictures[at : at + _COLUMNS]) for at in range(0, len(pictures), _COLUMNS)]
    cv2.imwrite(str(path), np.vstack(rows)[:, :, ::-1])


def _drawn(image: Image, found_px: NDArray[np.float64], wrists_px: NDArray[np.float64]) -> Image:
    scale = _WIDTH_PX / image.shape[1]
    picture = np.ascontiguousarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    for side, colour in _COLOURS.items():
        if np.isfinite(found_px[side]).all():
            points = (scale * found_px[side]).round().astype(int).tolist()
            for joint in range(1, 21):
                cv2.line(picture, points[joint], points[PARENTS_21[joint]], colour, 1, cv2.LINE_AA)
        if np.isfinite(wrists_px[side]).all():
            cv2.circle(picture, (scale * wrists_px[side]).round().astype(int).tolist(), 4, colour, 1)
    return np.asarray(picture, np.uint8)
