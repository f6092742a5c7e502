# SPDX-License-Identifier: GPL-3.0-or-later
"""The hand: load it, give it a shape, give it a pose, ask for vertices, joints or landmarks.

    model = load_hand_model()                     # the open hand; load_hand_model(folder) for a user's MANO files
    shaped = model.with_shape(betas)              # (..., S, 10)
    posed = shaped.with_pose(rotations, wrist_m)  # (..., S, 16, 3, 3), (..., S, 3)
    posed.joints21_m, posed.landmarks21_m, posed.vertices_m

Import from the modules below: load, hand, arrays, anatomy, mano_file. This file imports nothing.
"""
