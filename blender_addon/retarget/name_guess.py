# SPDX-License-Identifier: GPL-3.0-or-later
"""Guesses which bone is which from an armature's names and hierarchy: whole fingers or none. No bpy here.

Names that differ only in a number (or in proximal, distal ...) form a chain. A chain is valid if it has three
segments in order, each the parent of the next as far as the hierarchy is known. Of several chains, the one with the
fewest words is the finger; rigs' internal bones come last, helpers (bulge, half, tip ...) never count.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import dist
from typing import Final

from inference_core.shared.skeleton import FINGERS

from .bone_map import HAND, SUFFIXES, BoneMap

_SIDES: Final = {"l": 0, "left": 0, "lft": 0, "左": 0, "r": 1, "right": 1, "rgt": 1, "右": 1}
_FINGERS: Final = {
    **{finger: finger for finger in FINGERS},
    **{"pollex": "thumb", "pointer": "index", "forefinger": "index", "mid": "middle", "pinkie": "pinky"},
    **{"ind": "index", "lit": "pinky"},  # BlenRig
    **{"little": "pinky", "small": "pinky", "親指": "thumb", "人指": "index", "人差指": "index"},
    **{"人差し指": "index", "中指": "middle", "薬指": "ring", "小指": "pinky"},
}
_ORDERS: Final = {
    **{"metacarpal": 0, "meta": 0, "proximal": 1, "prox": 1, "intermediate": 2, "inter": 2},
    **{"medial": 2, "distal": 3, "dist": 3},
    **{"mc": 0, "pp": 1, "mp": 2, "dp": 3},
    **{"start": 0, "knuckle": 1},  # ARKit, visionOS
}
_HELPERS: Final = frozenset(
    {
        *("arm", "forearm", "elbow", "palm", "carpal", "weapon", "attachment", "socket"),
        *(
            "tip",
            "end",
            "nub",
            "master",
            "ik",
            "tweak",
            "twist",
            "parent",
            "target",
            "pole",
            "roll",
            "offset",
        ),
        *("bulge", "half", "corrective", "helper", "inner", "outer", "dummy", "toe", "toes", "foot"),
    }
)
_INNER: Final = frozenset(
    {"org", "mch", "def", "vis", "wgt"}
)  # Rigify's internal bones; controls are preferred
_HANDS: Final = frozenset({"hand", "wrist", "手首"})
# Xsens numbers the fingers and appends the bone: FirstMC, SecondPP.
_COUNTED: Final = dict(zip(("first", "second", "third", "fourth", "fifth"), FINGERS, strict=True))
# visionOS calls the bones after the joints between which they lie.
_JOINTS: Final = {("intermediate", "base"): "intermediate", ("intermediate", "tip"): "distal"}
_LETTERS: Final = "abcd"
_CONTROL: Final = "c"  # Auto-Rig Pro's
_COPY: Final = re.compile(r"\.\d{3}$")
_WORDS: Final = re.compile(
    r"左|右|親指|人差し指|人差指|人指|中指|薬指|小指|手首|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+"
)
_ORDER_OF_METACARPAL: Final = 0
_NEAR_THE_WRIST: Final = 0.6  # a metacarpal begins within this share of its length from the wrist
_AT_THE_KNUCKLES: Final = (
    0.6  # SMPL's hand begins less than this share of the wrist's distance from a knuckle
)


@dataclass(frozen=True)
class _Segment:
    """A possible finger bone: its position in its chain, and the chain's name."""

    name: str
    side: int
    finger: str
    order: int
    by_word: bool
    pattern: tuple[str, ...]


@dataclass(frozen=True)
class _Hierarchy:
    """Parents of bones, and where bones begin, as far as they are known."""

    parents: Mapping[str, str]
    heads: Mapping[str, Sequence[float]]

    def descends(self, names: list[str]) -> bool:
        """Whether each bone is an ancestor of the next; true without a hierarchy."""
        if not any(name in self.parents for name in names[1:]):
            return True
        return all(above in self._ancestors(name) for above, name in pairwise(names))

    def begins_at(self, wrist: str | None, first: str, second: str) -> bool | None:
        """Whether the first bone is a metacarpal, judging by where it begins; None if that cannot be told."""
        if wrist is None or not {wrist, first, second} <= self.heads.keys():
            return None
        length = dist(self.heads[first], self.heads[second])
        return dist(self.heads[wrist], self.heads[first]) < _NEAR_THE_WRIST * length if length else None

    def wrist_of(self, wrist: str, hand: str, knuckle: str | None) -> str:
        """Which of two bones of one arm, called wrist and hand, turns the hand: SMPL's hand is its knuckles alone."""
        above = self._ancestors(knuckle) if knuckle is not None else []
        if hand not in above or knuckle is None:
            return wrist
        if wrist not in above or not {wrist, hand, knuckle} <= self.heads.keys():
            return hand
        reach = dist(self.heads[wrist], self.heads[knuckle])
        return wrist if dist(self.heads[hand], self.heads[knuckle]) < _AT_THE_KNUCKLES * reach else hand

    def _ancestors(self, name: str) -> list[str]:
        found: list[str] = []
        while name in self.parents and len(found) < 100:
            name = self.parents[name]
            found.append(name)
        return found


def guessed_map(
    present: Iterable[str],
    parents: Mapping[str, str] | None = None,
    heads: Mapping[str, Sequence[float]] | None = None,
) -> BoneMap:
    """The bones of both hands by our names; incomplete fingers are left out.

    parents: of bones that have one; heads: where bones begin (3,). Unknown values are not checked.
    """
    known = sorted(set(present))
    hierarchy = _Hierarchy(parents or {}, heads or {})
    copies = {name for name in known if _COPY.search(name) and _COPY.sub("", name) in known}
    words = {name: _words(name) for name in known if name not in copies}
    base = min((number for item in words.values() if (number := _finger_number(item)) is not None), default=1)
    segments = [item for name in words if (item := _segment(name, words[name], min(base, 1))) is not None]
    found: BoneMap = {}
    for side in (0, 1):
        fingers = _fingers(segments, side, hierarchy, _hand(words, side, [], hierarchy))
        for finger, chain in fingers.items():
            for k, name in enumerate(chain, 1):
                found[f"{finger}_{k:02d}{SUFFIXES[side]}"] = name
        hand = _hand(words, side, [chain[0] for chain in fingers.values() if chain], hierarchy)
        if hand and any(fingers.values()):
            found[f"{HAND}{SUFFIXES[side]}"] = hand
    return found


def _words(name: str) -> list[str]:
    """The name's words in lower case, numbers separate, without a namespace; other rigs' words replaced by ours."""
    bare = unicodedata.normalize("NFKC", name).rpartition(":")[2]
    words = [word.lower() for word in _WORDS.findall(bare)]
    found: list[str] = []
    skip = False
    for word, after in pairwise([*words, ""]):
        if skip:
            skip = False
        elif word in _COUNTED and after in _ORDERS:
            found.append(_COUNTED[word])
        elif (word, after) in _JOINTS:
            found.append(_JOINTS[word, after])
            skip = True
        elif word == "fore" and after.isdigit():
            found.append("index")
        elif word == "digit":
            found.append("finger")
        elif word[:1] in ("l", "r") and word[1:] in _FINGERS:
            found += [word[0], word[1:]]
        else:
            found.append(word)
    return found


def _finger_number(words: list[str]) -> int | None:
    """The number after the word finger, if no finger is named."""
    if "finger" not in words or any(word in _FINGERS for word in words):
        return None
    after = words[words.index("finger") + 1 :]
    return int(after[0][0]) if after and after[0].isdigit() else None


def _segment(name: str, words: list[str], base: int) -> _Segment | None:
    side = _side_of(words)
    if side is None or _HELPERS.intersection(words):
        return None
    at = next((index for index, word in enumerate(words) if word in _FINGERS), None)
    numbers = [word for word in words if word.isdigit()]
    word_order = next((_ORDERS[word] for word in words if word in _ORDERS), None)
    if at is not None:
        finger = _FINGERS[words[at]]
        order = word_order if word_order is not None else int(numbers[-1]) if numbers else _letter(words[at:])
        if at > 0 and words[at - 1] == "fore":
            return None
    else:
        number = _finger_number(words)
        if number is None or not 0 <= number - base < len(FINGERS):
            return None
        finger, after = FINGERS[number - base], words[words.index("finger") + 1 :]
        digits = "".join(word for word in after if word.isdigit())
        order = word_order if word_order is not None else int(digits[1:] or 0)
    if order is None:
        return None
    letters = _LETTERS if at is not None and not numbers and word_order is None else ""
    pattern = tuple(
        word
        for word in words
        if not word.isdigit() and word not in _ORDERS and word not in _FINGERS and word not in [*letters]
    )
    return _Segment(name, side, finger, order, word_order is not None, pattern)


def _side_of(words: Sequence[str]) -> int | None:
    """The side that the name's last such word says; earlier ones may be the character's name."""
    return next((_SIDES[word] for word in reversed(words) if word in _SIDES), None)


def _letter(words: list[str]) -> int | None:
    """The position of a bone that is lettered rather than numbered: index_A, index_B, index_C."""
    return next((_LETTERS.index(word) + 1 for word in words[1:] if word in [*_LETTERS]), None)


def _fingers(
    segments: list[_Segment], side: int, hierarchy: _Hierarchy, wrist: str | None
) -> dict[str, list[str]]:
    """Names of each finger's three bones from its best chain; empty if none is complete."""
    chains = {finger: _chains(segments, side, finger) for finger in FINGERS}
    thumb_bones = next((len(chain) for chain in chains["thumb"] if len(chain) >= 3), 0)
    found: dict[str, list[str]] = {}
    ends_in_tips = False
    for finger in (*FINGERS[1:], FINGERS[0]):  # the other fingers' bones tell how the thumb's are counted
        found[finger] = []
        for chain in chains[finger]:
            names = [item.name for item in chain]
            if finger == "thumb":
                begin = _thumb_begins(chain, ends_in_tips)
            else:
                begin = _finger_begins(chain, thumb_bones, hierarchy.begins_at(wrist, *names[:2]))
            if begin is not None and hierarchy.descends(names[begin : begin + 3]):
                found[finger] = names[begin : begin + 3]
                ends_in_tips |= len(chain) > begin + 3
                break
    return {finger: found[finger] for finger in FINGERS}


def _chains(segments: list[_Segment], side: int, finger: str) -> list[list[_Segment]]:
    """The finger's chains, most likely first; chains in which two bones claim one position are left out."""
    mine = [item for item in segments if (item.side, item.finger) == (side, finger)]
    groups: dict[tuple[str, ...], list[_Segment]] = {}
    for item in mine:
        groups.setdefault(item.pattern, []).append(item)
    ranked = sorted(
        groups.items(), key=lambda group: (bool(_INNER.intersection(group[0])), len(group[0]), group[0])
    )
    without_control: dict[tuple[str, ...], list[_Segment]] = {}
    for item in mine:
        bare = tuple(word for word in item.pattern if word != _CONTROL)
        without_control.setdefault(bare, []).append(item)
    chains = [_in_order(chain) for chain in (*(chain for _, chain in ranked), *without_control.values())]
    return [chain for chain in chains if len({item.order for item in chain}) == len(chain) >= 3]


def _in_order(chain: list[_Segment]) -> list[_Segment]:
    """The bones by number; a bone called metacarpal beside numbers from 0 is none of the three."""
    counted = {item.order for item in chain if not item.by_word}
    if _ORDER_OF_METACARPAL in counted:
        chain = [item for item in chain if not item.by_word]
    return sorted(chain, key=lambda item: item.order)


def _thumb_begins(chain: list[_Segment], others_end_in_tips: bool) -> int | None:
    """Index at which the thumb's three bones begin, the metacarpal first. A fourth bone
    is a tip, or lies in the wrist.
    """
    if len(chain) == 4 and chain[0].order == _ORDER_OF_METACARPAL:
        return 0 if others_end_in_tips and not chain[0].by_word else 1
    return 0 if len(chain) in (3, 4) else None


def _finger_begins(chain: list[_Segment], thumb_bones: int, begins_at_wrist: bool | None) -> int | None:
    """Index at which the finger's three phalanges begin: after a metacarpal, before a
    tip. None if that cannot be told.
    """
    from_zero = chain[0].order == _ORDER_OF_METACARPAL
    called = from_zero and chain[0].by_word
    if len(chain) == 3:
        return None if called else 0
    if len(chain) == 4 and not called and begins_at_wrist is None:
        # Tips would be on the thumb too.
        return {3: 1, 4: None if from_zero else 0}.get(thumb_bones, 0)
    metacarpal = called or bool(begins_at_wrist)
    if len(chain) == 5:
        return 1 if metacarpal or from_zero else None
    return int(metacarpal) if len(chain) == 4 else None


def _hand(
    words: Mapping[str, list[str]], side: int, knuckles: Sequence[str], hierarchy: _Hierarchy
) -> str | None:
    """The hand's bone: a control if the fingers are controls (c_ in Auto-Rig Pro); internal bones come last.

    knuckles: the first bones of the fingers found.
    """
    begin = {words[name][0] for name in knuckles}
    found = [
        ("c" in begin and item[0] != "c", bool(_INNER.intersection(item)), len(item), name)
        for name, item in words.items()
        if _HANDS.intersection(item)
        and not _HELPERS.intersection(item)
        and not any(word in _FINGERS or word == "finger" for word in item)
        and _side_of(item) == side
    ]
    if not found:
        return None
    best = min(found)[-1]
    pair = {word: _called(words, words[best], word) for word in ("wrist", "hand")}
    if pair["wrist"] is None or pair["hand"] is None:
        return best
    return hierarchy.wrist_of(pair["wrist"], pair["hand"], knuckles[-1] if knuckles else None)


def _called(words: Mapping[str, list[str]], item: Sequence[str], word: str) -> str | None:
    """The bone of the same words but for hand or wrist, which is `word`."""
    wanted = [word if other in ("hand", "wrist") else other for other in item]
    return next((name for name, own in words.items() if own == wanted), None)
