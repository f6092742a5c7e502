# SPDX-License-Identifier: GPL-3.0-or-later
"""The two joint orders and the map between them: MANO's 16 joints and the usual 21.

Standard library and numpy only: Blender's side shares this file.
"""

import numpy as np

LEFT, RIGHT = 0, 1
SIDES = ("left", "right")

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
MANO_FINGERS = ("index", "middle", "pinky", "ring", "thumb")

JOINTS_16 = ("wrist", *(f"{finger}_{k:02d}" for finger in MANO_FINGERS for k in (1, 2, 3)))
PARENTS_16 = np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14])

JOINTS_21 = ("wrist", *(f"{finger}_{k:02d}" for finger in FINGERS for k in (1, 2, 3, 4)))
PARENTS_21 = np.array([-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19])
TIPS_21 = np.array([4, 8, 12, 16, 20])

# Index into the concatenation of MANO's 16 joints and the five fingertips (thumb to pinky).
JOINTS_21_FROM_16_AND_TIPS = np.array(
    [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]
)
# For each of the 21 joints the MANO joint that moves it (a fingertip rides on its last phalanx).
DRIVER_16_OF_21 = np.array([0, 13, 14, 15, 15, 1, 2, 3, 3, 4, 5, 6, 6, 10, 11, 12, 12, 7, 8, 9, 9])

MIDDLE_MCP_21 = 9
