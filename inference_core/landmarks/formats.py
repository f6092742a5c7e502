# SPDX-License-Identifier: GPL-3.0-or-later
"""The landmark networks' weights files, and the sizes of what the networks take and give."""

from pathlib import Path

WEIGHTS_FOLDER = Path(__file__).parent
PALM_WEIGHTS = "palm_detection_full.safetensors"
LANDMARK_WEIGHTS = "hand_landmark_full.safetensors"
PAIR_WEIGHTS = "pair_detector.safetensors"
PERSON_WEIGHTS, BODY_WEIGHTS = "pose_detection.safetensors", "pose_landmark_full.safetensors"
SQUARE_WEIGHTS = "hand_recrop.safetensors"

# Of a two-hand network's weights folder: the landmark head, and the partner network.
HEAD_FILE, PARTNER_FILE = "landmark_head.safetensors", "partner_network.safetensors"

PALM_PX = 192
# A box (centre x, y, width, height) and seven key points.
PALM_VALUES = 4 + 2 * 7
# Of a cell of the pair detector and a side: presence; the middle's offset, in cells; size (logarithm) and direction of
# the crop; whether these four are right within the bounds of `training.pair_detector`.
PAIR_VALUES = 7
CROP_PX = 224
LANDMARKS = 21
# The landmark network's early features: local detail, not yet the hand's side or pose.
FEATURES = (112, 14, 14)
PERSON_PX, BODY_PX, SQUARE_PX = 224, 256, 256
# A box (centre x, y, width, height) and four key points.
PERSON_VALUES = 4 + 2 * 4
