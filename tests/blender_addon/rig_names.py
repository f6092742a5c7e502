# SPDX-License-Identifier: GPL-3.0-or-later
"""Bone names of common rigs, for arms and hands."""

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
    "METAHUMAN": _both(
        [
            "lowerarm_l",
            "hand_l",
            *(f"{finger}_metacarpal_l" for finger in ("index", "middle", "ring", "pinky")),
            *_fingers("{finger}_0{k}_l", 3),
            *_fingers("{finger}_0{k}_bulge_l", 3),
            *_fingers("{finger}_0{k}_half_l", 3),
        ],
        ("_l", "_r"),
        ("_rowerarm", "_lowerarm"),
    ),
    "VRM1": _both(
        [
            "LeftLowerArm",
            "LeftHand",
            *(f"LeftThumb{word}" for word in ("Metacarpal", "Proximal", "Distal")),
            *(
                f"Left{finger}{word}"
                for finger in ("Index", "Middle", "Ring", "Little")
                for word in ("Proximal", "Intermediate", "Distal")
            ),
        ],
        ("Left", "Right"),
    ),
    "AUTORIG": _both(
        [
            "forearm_stretch.l",
            "hand.l",
            "c_hand_fk.l",
            "c_hand_ik.l",
            *_fingers("c_{finger}1_base.l", 1),
            *_fingers("{finger}1.l", 1),
            *_fingers("c_{finger}{k}.l", 3),
        ],
        (".l", ".r"),
    ),
    "BIPED": _both(
        [
            "Bip001 L Forearm",
            "Bip001 L Hand",
            *(f"Bip001 L Finger{finger}{after}" for finger in range(5) for after in ("", "1", "2")),
        ],
        (" L ", " R "),
    ),
    "VALVE": _both(
        [
            "ValveBiped.Bip01_L_Forearm",
            "ValveBiped.Bip01_L_Hand",
            "ValveBiped.Anim_Attachment_LH",
            *(f"ValveBiped.Bip01_L_Finger{finger}{after}" for finger in range(5) for after in ("", "1", "2")),
        ],
        ("_L_", "_R_"),
        ("_LH", "_RH"),
    ),
    "MPFB": _both(
        [
            "lowerarm02.L",
            "wrist.L",
            *(f"metacarpal{k}.L" for k in range(1, 5)),
            *(f"finger{finger}-{k}.L" for finger in range(1, 6) for k in (1, 2, 3)),
        ],
        (".L", ".R"),
    ),
    "MBLAB": _both(
        [
            "lowerarm_L",
            "hand_L",
            *(f"{finger}00_L" for finger in ("index", "middle", "ring", "pinky")),
            *_fingers("{finger}0{k}_L", 3),
        ],
        ("_L", "_R"),
    ),
    "MMD": _both(
        [
            "ひじ.L",
            "手捩.L",
            "手首.L",
            *(f"親指{digit}.L" for digit in "０１２"),
            *(f"{finger}{digit}.L" for finger in ("人指", "中指", "薬指", "小指") for digit in "１２３"),
        ],
        (".L", ".R"),
    ),
    "ROKOKO": _both(
        [
            "LeftForeArm",
            "LeftHand",
            *(f"LeftFinger1{word}" for word in ("Metacarpal", "Proximal", "Distal", "Tip")),
            *(
                f"LeftFinger{finger}{word}"
                for finger in range(2, 6)
                for word in ("Metacarpal", "Proximal", "Medial", "Distal", "Tip")
            ),
        ],
        ("Left", "Right"),
    ),
    "Xsens": _both(
        [
            "LeftForeArm",
            "LeftCarpus",
            "LeftHand",
            *(f"LeftFirst{word}" for word in ("MC", "PP", "DP")),
            *(
                f"Left{count}{word}"
                for count in ("Second", "Third", "Fourth", "Fifth")
                for word in ("MC", "PP", "MP", "DP")
            ),
        ],
        ("Left", "Right"),
    ),
    "Auto-Rig Pro as exported": _both(
        [
            "forearm_stretch.l",
            "hand.l",
            *(f"c_{finger}1_base.l" for finger in ("index", "middle", "ring", "pinky")),
            *_fingers("{finger}1.l", 1),
            *_fingers("c_{finger}{k}.l", 2, first=2),
        ],
        (".l", ".r"),
    ),
    "Daz Genesis 9": _both(
        [
            "l_forearm",
            "l_hand",
            *(f"l_{finger}metacarpal" for finger in ("index", "mid", "ring", "pinky")),
            *(f"l_{finger}toe{k}" for finger in ("index", "mid", "ring", "pinky") for k in (1, 2)),
            *(name.replace("middle", "mid") for name in _fingers("l_{finger}{k}", 3)),
        ],
        ("l_", "r_"),
    ),
    "Character Creator": _both(
        [
            "CC_Base_L_Forearm",
            "CC_Base_L_Hand",
            *(f"CC_Base_L_{finger}Toe{k}" for finger in ("Index", "Mid", "Ring", "Pinky") for k in (1, 2, 3)),
            *(name.replace("Middle", "Mid") for name in _fingers("CC_Base_L_{Finger}{k}", 3)),
        ],
        ("_L_", "_R_"),
    ),
    "Source 2": _both(
        [
            "hand_L",
            *(f"finger_{finger}_meta_L" for finger in ("index", "middle", "ring", "pinky")),
            *_fingers("finger_{finger}_{k}_L", 3, first=0),
        ],
        ("_L", "_R"),
    ),
    "MMD in English": _both(
        [
            "elbow_L",
            "wrist_L",
            *(f"thumb{k}_L" for k in (0, 1, 2)),
            *(f"{finger}{k}_L" for finger in ("fore", "middle", "ring", "little") for k in (1, 2, 3)),
        ],
        ("_L", "_R"),
    ),
    "OpenXR": _both(
        [
            "PALM_L",
            "WRIST_L",
            *(f"THUMB_{word}_L" for word in ("METACARPAL", "PROXIMAL", "DISTAL", "TIP")),
            *(
                f"{finger}_{word}_L"
                for finger in ("INDEX", "MIDDLE", "RING", "LITTLE")
                for word in ("METACARPAL", "PROXIMAL", "INTERMEDIATE", "DISTAL", "TIP")
            ),
        ],
        ("_L", "_R"),
    ),
}
