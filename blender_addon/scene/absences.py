# SPDX-License-Identifier: GPL-3.0-or-later
"""What a take says of a hand that the animator marked absent, or deleted."""

from dataclasses import replace
from typing import Any

import numpy as np

from inference_core.shared.presence import ABSENT
from inference_core.shared.take import Take


def without_raw_of_absent(given: Take, take: Take) -> Take:
    """The take without raw motion where `given` has no hand and `take` had one."""
    gone = (given.present == ABSENT) & (take.present != ABSENT)
    arrays: dict[str, Any] = {}
    for name in ("raw_root_wxyz", "raw_pose_wxyz", "raw_wrist_cam_m", "raw_joints_cam_m"):
        arrays[name] = getattr(take, name).copy()
        arrays[name][gone] = np.nan
    for name in ("pose_confidence", "distance_confidence"):
        if getattr(take, name) is not None:
            arrays[name] = np.where(given.present == ABSENT, 0, getattr(take, name))
    return replace(given, **arrays)
