# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sightings without a palm of usual size are certainly hands."""

import numpy as np
from numpy.typing import NDArray

from inference_core.landmarks.hand_search import WORST_ERROR, errors_of_hands
from inference_core.landmarks.head_reader import HeadWithLandmarks
from inference_core.tracking.tracklets import Sighting

# Presence, at least: true hands have 0.78 and more, folds of sleeves and reflections up to 0.66, or the landmark head
# expects a large error; and without a landmark head.
_SURE, _SURE_ALONE = 0.75, 0.9
# Fainter ones where the pair detector tells of a hand that likely (log), if the landmark head expects no larger error:
# of what it tells of in 15 real clips, only hands have both.
_FAINT, _LIKELY, _SMALL_ERROR = 0.5, -1.5, 0.13


def sure_hands(
    image: NDArray[np.uint8],
    found: list[Sighting],
    head: HeadWithLandmarks | None,
    likely: NDArray[np.float64] | None = None,
) -> list[Sighting]:
    """Those of the sightings (N of them) in an RGB image (H, W, 3) that are certainly hands.

    likely (N,): how likely (log) each is a hand according to the pair detector, if it tells of them.
    """
    presence = np.array([one.presence for one in found])
    if head is None:
        return [found[row] for row in np.flatnonzero(presence >= _SURE_ALONE)]
    sure, faint = presence >= _SURE, presence >= _FAINT
    rows = np.flatnonzero(sure if likely is None else sure | (faint & (likely > _LIKELY)))
    worst = np.where(sure[rows], WORST_ERROR, _SMALL_ERROR)
    crops = np.reshape([found[row].next_crop for row in rows], (-1, 4))
    return [found[row] for row in rows[errors_of_hands(image, crops, head) < worst]]
