# SPDX-License-Identifier: GPL-3.0-or-later
"""Bone names of rigs in use, as far as arms and hands go."""

_FINGERS = ("Thumb", "Index", "Middle", "Ring", "Pinky")


def _both(left: list[str], *words: tuple[str, str]) -> list[str]:
    right = left
    for one, other in words:
        right = [name.replace(one, other) for name in right]
    return [*left, *right]


def _fingers(pattern: str, count: int, first: int = 1) -> list[str]:
    return [
        pattern.format(Finger=finger, finger=finger.lower(), k=k)
        for finger in _FINGERS
        for k in range(first, first + count)
    ]


RIGS: dict[str, list[str]] = {
    "RIGIFY": _both(
        [
            "hand_ik.L",
            "hand_fk.L",
            "DEF-hand.L",
            "ORG-hand.L",
            "palm.L",
            *(name.replace("f_thumb", "thumb") for name in _fingers("f_{finger}.0{k}.L", 3)),
            *(name.replace("f_thumb", "thumb") for name in _fingers("f_{finger}.0{k}_master.L", 1)),
            *(name.replace("f_thumb", "thumb") for name in _fingers("DEF-f_{finger}.0{k}.L", 3)),
            *(name.replace("f_thumb", "thumb") for name in _fingers("ORG-f_{finger}.0{k}.L", 3)),
        ],
        (".L", ".R"),
    ),
    "MIXAMO": _both(
        ["mixamorig:LeftForeArm", "mixamorig:LeftHand", *_fingers("mixamorig:LeftHand{Finger}{k}", 4)],
        ("Left", "Right"),
    ),
    "UNREAL": _both(
        [
            "lowerarm_l",
            "hand_l",
            "ik_hand_l",
            *_fingers("{finger}_0{k}_l", 3),
            *(f"{finger}_metacarpal_l" for finger in ("index", "middle", "ring", "pinky")),
        ],
        ("_l", "_r"),
        ("_rowerarm", "_lowerarm"),
    ),
    "VRM": _both(
        [
            "J_Bip_L_LowerArm",
            "J_Bip_L_Hand",
            *(n.replace("Pinky", "Little") for n in _fingers("J_Bip_L_{Finger}{k}", 3)),
        ],
        ("_L_", "_R_"),
    ),
    "SMPLX": _both(["left_elbow", "left_wrist", *_fingers("left_{finger}{k}", 3)], ("left", "right")),
    "words": _both(
        [
            "Hand.Left",
            *(
                f"{finger} {word}.Left"
                for finger in ("Thumb", "Index Finger", "Middle Finger", "Ring Finger", "Little Finger")
                for word in ("Proximal", "Intermediate", "Distal")
            ),
        ],
        ("Left", "Right"),
    ),
    "counted from 0": _both(["l_hand", *_fingers("l_{finger}_0{k}", 3, first=0)], ("l_", "r_")),
}
