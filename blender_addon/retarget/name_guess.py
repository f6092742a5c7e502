# SPDX-License-Identifier: GPL-3.0-or-later
"""Which bone is which, guessed from an armature's names and hierarchy: whole fingers or none. No bpy here.

The names of one finger that differ in their number (or in proximal, distal ...) alone are a chain. A chain counts where
it has three segments in order, each above the next where the hierarchy tells. Of several chains the one of the fewest
words is the finger; inner bones of rigs come last, helpers (bulge, half, tip ...) never.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from inference_core.shared.skeleton import FINGERS

from .bone_map import HAND, SUFFIXES, BoneMap

_SIDES: Final = {"l": 0, "left": 0, "lft": 0, "左": 0, "r": 1, "right": 1, "rgt": 1, "右": 1}
_FINGERS: Final = {
    **{finger: finger for finger in FINGERS},
    **{"pollex": "thumb", "pointer": "index", "forefinger": "index", "mid": "middle", "pinkie": "pinky"},
    **{"little": "pinky", "small": "pinky", "親指": "thumb", "人指": "index", "人差指": "index"},
    **{"人差し指": "index", "中指": "middle", "薬指": "ring", "小指": "pinky"},
}
_ORDERS: Final = {
    **{"metacarpal": 0, "meta": 0, "proximal": 1, "prox": 1, "intermediate": 2, "inter": 2},
    **{"medial": 2, "distal": 3, "dist": 3},
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
        *("bulge", "half", "corrective", "helper", "inner", "outer", "dummy"),
    }
)
_INNER: Final = frozenset({"org", "mch", "def", "vis", "wgt"})  # Rigify's inner bones; controls come first
_HANDS: Final = frozenset({"hand", "wrist", "手首"})
_COPY: Final = re.compile(r"\.\d{3}$")
_WORDS: Final = re.compile(
    r"左|右|親指|人差し指|人差指|人指|中指|薬指|小指|手首|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+"
)
_ORDER_OF_METACARPAL: Final = 0


@dataclass(frozen=True)
class _Segment:
    """A bone that may be a finger's: where it stands in its chain, and what its chain is called."""

    name: str
    side: int
    finger: str
    order: int
    by_word: bool
    pattern: tuple[str, ...]


def guessed_map(present: Iterable[str], parents: Mapping[str, str] | None = None) -> BoneMap:
    """The bones of both hands by our names; incomplete fingers are left out.

    parents: of bones that have one; the hierarchy goes unchecked where no bone has any.
    """
    known = sorted(set(present))
    parents = parents or {}
    copies = {name for name in known if _COPY.search(name) and _COPY.sub("", name) in known}
    words = {name: _words(name) for name in known if name not in copies}
    base = min((number for item in words.values() if (number := _finger_number(item)) is not None), default=1)
    segments = [item for name in words if (item := _segment(name, words[name], min(base, 1))) is not None]
    found: BoneMap = {}
    for side in (0, 1):
        thumb_counts = len(_chains(segments, side, "thumb", parents, False))
        for finger in FINGERS:
            chain = _chains(segments, side, finger, parents, bool(thumb_counts))
            for k, name in enumerate(chain, 1):
                found[f"{finger}_{k:02d}{SUFFIXES[side]}"] = name
        hand = _hand(words, side, [words[name] for name in found.values()])
        if hand and any(name.endswith(SUFFIXES[side]) for name in found):
            found[f"{HAND}{SUFFIXES[side]}"] = hand
    return found


def _words(name: str) -> list[str]:
    """The name's words in lower case, numbers apart, without a namespace."""
    bare = unicodedata.normalize("NFKC", name).rpartition(":")[2]
    return [word.lower() for word in _WORDS.findall(bare)]


def _finger_number(words: list[str]) -> int | None:
    """The number behind the word finger, where no finger is named."""
    if "finger" not in words or any(word in _FINGERS for word in words):
        return None
    after = words[words.index("finger") + 1 :]
    return int(after[0][0]) if after and after[0].isdigit() else None


def _segment(name: str, words: list[str], base: int) -> _Segment | None:
    side = next((_SIDES[word] for word in words if word in _SIDES), None)
    if side is None or _HELPERS.intersection(words):
        return None
    at = next((index for index, word in enumerate(words) if word in _FINGERS), None)
    numbers = [word for word in words if word.isdigit()]
    word_order = next((_ORDERS[word] for word in words if word in _ORDERS), None)
    if at is not None:
        finger = _FINGERS[words[at]]
        order = word_order if word_order is not None else int(numbers[-1]) if numbers else None
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
    pattern = tuple(
        word for word in words if not word.isdigit() and word not in _ORDERS and word not in _FINGERS
    )
    return _Segment(name, side, finger, order, word_order is not None, pattern)


def _chains(
    segments: list[_Segment], side: int, finger: str, parents: Mapping[str, str], thumb_has_three: bool
) -> list[str]:
    """Names of the finger's three bones by the best of its chains; empty where none is whole."""
    groups: dict[tuple[str, ...], list[_Segment]] = {}
    for item in segments:
        if (item.side, item.finger) == (side, finger):
            groups.setdefault(item.pattern, []).append(item)
    ranked = sorted(
        groups.items(), key=lambda group: (bool(_INNER.intersection(group[0])), len(group[0]), group[0])
    )
    for _, chain in ranked:
        three = _three(sorted(chain, key=lambda item: item.order), finger, thumb_has_three)
        if three and _descends([item.name for item in three], parents):
            return [item.name for item in three]
    return []


def _three(chain: list[_Segment], finger: str, thumb_has_three: bool) -> list[_Segment]:
    """The three phalanges of a chain in order; none where two bones claim one place or too few are there.

    A fourth bone is the metacarpal where it is called so or counted 0; else the last one is a tip. The thumb's
    metacarpal is its first bone.
    """
    orders = [item.order for item in chain]
    if len(set(orders)) != len(orders):
        return []
    metacarpal = bool(chain) and chain[0].order == _ORDER_OF_METACARPAL
    if len(chain) == 4 and metacarpal and (chain[0].by_word or (finger != "thumb" and thumb_has_three)):
        chain = chain[1:]
    elif len(chain) == 3 and metacarpal and chain[0].by_word and finger != "thumb":
        return []
    return chain[:3] if len(chain) in (3, 4) else []


def _descends(names: list[str], parents: Mapping[str, str]) -> bool:
    """Whether each bone stands above the next in the hierarchy; true where there is none."""
    if not parents or not any(name in parents for name in names[1:]):
        return True
    return all(above in _ancestors(name, parents) for above, name in pairwise(names))


def _ancestors(name: str, parents: Mapping[str, str]) -> list[str]:
    found: list[str] = []
    while name in parents and len(found) < 100:
        name = parents[name]
        found.append(name)
    return found


def _hand(words: Mapping[str, list[str]], side: int, fingers: list[list[str]]) -> str | None:
    """The hand's bone: a control where the fingers are (c_ in Auto-Rig Pro), inner bones last."""
    begin = {item[0] for item in fingers}
    found = [
        ("c" in begin and item[0] != "c", bool(_INNER.intersection(item)), len(item), name)
        for name, item in words.items()
        if _HANDS.intersection(item)
        and not _HELPERS.intersection(item)
        and not any(word in _FINGERS or word == "finger" for word in item)
        and next((_SIDES[word] for word in item if word in _SIDES), None) == side
    ]
    return min(found)[-1] if found else None
