# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of a capture that report progress, in the order in which they run, and what a person is told of them."""

from typing import Final

DETECT, TRACK, RECOVER, REFINE, FIT, PREDICT, SOLVE, PREVIEW, PLATE = (
    "detect",
    "track",
    "recover",
    "refine",
    "fit",
    "predict",
    "solve",
    "preview",
    "plate",
)

STAGE_LABELS: Final = {
    DETECT: "Finding the hands",
    TRACK: "Telling left from right",
    RECOVER: "Searching for lost hands",
    REFINE: "Reading each hand",
    FIT: "Fitting each hand",
    PREDICT: "Looking at both hands together",
    SOLVE: "Solving the shot",
    PREVIEW: "Drawing the preview",
    PLATE: "Writing the plate",
}
