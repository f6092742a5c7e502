# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of a capture that report progress, in running order, with their labels for users."""

from typing import Final

DETECT, TRACK, RECOVER, READ, SOLVE, PREVIEW, PLATE = (
    "detect",
    "track",
    "recover",
    "read",
    "solve",
    "preview",
    "plate",
)

STAGE_LABELS: Final = {
    DETECT: "Finding the hands",
    TRACK: "Telling left from right",
    RECOVER: "Searching for lost hands",
    READ: "Reading both hands",
    SOLVE: "Solving the shot",
    PREVIEW: "Drawing the preview",
    PLATE: "Writing the plate",
}
