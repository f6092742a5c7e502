# SPDX-License-Identifier: GPL-3.0-or-later
"""Results with hands picture by picture, as written by HaMeR, WiLoR and programs that call them.

Both estimate every hand as a right one: a left hand's picture is mirrored before the network and its mesh after it, so
a left hand's parameters are those of a right hand and have to be mirrored. Some calling programs have mirrored them
already; the joints that most files contain show whether they have.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.exchange.engine_hands import EngineHands, Floats, empty_hands, pinhole
from inference_core.exchange.result_file import as_array
from inference_core.geometry.mirror import mirror
from inference_core.hand_model.load import load_open_hand
from inference_core.shared import quaternions
from inference_core.shared.errors import RequestError
from inference_core.shared.skeleton import LEFT, RIGHT

# Both networks' convention: a focal length of 5000 px on crops of 256 px, at the picture's scale.
FOCAL_OF_WIDER_SIDE = 5000 / 256

_ROOT, _FINGERS, _BETAS = ("global_orient",), ("hand_pose", "body_pose"), ("betas",)
_PLACES = ("pred_cam_t_full", "cam_t_full", "cam_trans", "cam_t", "camera_translation", "transl")
_SIDES = ("is_right", "right")
_JOINTS = ("pred_keypoints_3d", "keypoints_3d", "joints_3d", "joints")
_FOCALS = ("scaled_focal_length", "focal_length_full", "img_focal")
_SIZES = ("img_size", "image_size")
_BOXES, _SCORES = ("hand_bbox", "bbox"), ("score", "confidence")


@dataclass(frozen=True)
class _Hand:
    """One hand in one picture: root (3, 3), fingers (15, 3, 3), betas (10,), place_m (3,), joints_m (21, 3) or None."""

    side: int
    root: Floats
    fingers: Floats
    betas: Floats
    place_m: Floats
    joints_m: Floats | None
    score: float
    focal_px: float | None
    size_px: tuple[int, int] | None


def frame_hands(results: Sequence[tuple[str, Any]], engine: str, first: int | None) -> EngineHands:
    """The hands of files (name, content): one file per picture, or one for all.

    first: number of the footage's first frame in the pictures' names, None if unknown. RequestError without hands.
    """
    pictures = list(_pictures(results))
    if not any(hands for _, hands in pictures):
        raise RequestError(
            f"{results[0][0]} holds no hands of {engine}: no dictionaries with global_orient, hand_pose and a "
            "camera translation. docs/exchange.md lists what is read."
        )
    numbers = _numbers([name for name, _ in pictures], first)
    frames: dict[int, list[_Hand]] = {}
    for number, (_, hands) in zip(numbers.tolist(), pictures, strict=True):
        frames.setdefault(number, []).extend(hands)  # a file may hold one hand of a picture
    order = sorted(frames)
    return _filled(empty_hands(engine, np.array(order, np.int64)), [frames[number] for number in order])


def _pictures(results: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, list[_Hand]]]:
    """The name and the hands of every picture."""
    for name, content in results:
        hands = _hands(content, name)
        if hands is not None:
            yield name, hands
        elif isinstance(content, Mapping):
            for key, value in content.items():
                yield str(key), _hands(value, str(key)) or []
        elif isinstance(content, list):
            for index, value in enumerate(content):
                yield str(index), _hands(value, f"picture {index}") or []


def _hands(value: Any, name: str) -> list[_Hand] | None:
    """The hands of a picture; None if the value is not a picture's result."""
    try:
        if isinstance(value, Mapping):
            return _hands_of_mapping(value)
        if isinstance(value, list) and all(isinstance(item, Mapping) and _is_hand(item) for item in value):
            return [hand for item in value for hand in _batch(item)]
    except (ValueError, TypeError, LookupError, OverflowError) as fault:
        raise RequestError(f"The hands of {name} are damaged ({fault}). Write the results again.") from fault
    return None


def _hands_of_mapping(value: Mapping[str, Any]) -> list[_Hand] | None:
    if "mano" in value and "cam_trans" in value:  # tracked hands, a list of each
        pairs = zip(value["mano"], value["cam_trans"], strict=True)
        return [hand for mano, place in pairs for hand in _batch({**mano, "cam_trans": place})]
    return _batch(value) if _is_hand(value) else None


def _is_hand(value: Mapping[str, Any]) -> bool:
    inner = _inner(value)
    return _found(inner, _ROOT) is not None and _found(inner, _FINGERS) is not None


def _inner(value: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, taken out of the dictionary around them."""
    flat = dict(value)
    for name in ("wilor_preds", "pred_mano_params", "mano_params", "mano", "camera"):
        held = flat.get(name)
        if isinstance(held, Mapping):
            flat |= {key: part for key, part in held.items() if key not in flat}
    return flat


def _batch(value: Mapping[str, Any]) -> list[_Hand]:
    """The hands of a dictionary, whose arrays may hold several along their first axis."""
    held = _inner(value)
    place = _found(held, _PLACES)
    if place is None:
        raise ValueError("no camera translation: pred_cam_t_full, cam_t or cam_trans is required")
    places = as_array(place).reshape(-1, 3)
    count = len(places)
    roots = _rotations(_found(held, _ROOT)).reshape(count, 3, 3)
    fingers = _rotations(_found(held, _FINGERS)).reshape(count, 15, 3, 3)
    betas = as_array(_or(_found(held, _BETAS), np.zeros((count, 10)))).reshape(count, -1)[:, :10]
    rights = np.broadcast_to(as_array(_or(_found(held, _SIDES), 1.0)).reshape(-1), count)
    joints = _found(held, _JOINTS)
    points = None if joints is None else as_array(joints).reshape(count, 21, 3)
    return [
        _Hand(
            side=RIGHT if rights[row] > 0.5 else LEFT,
            root=roots[row],
            fingers=fingers[row],
            betas=betas[row],
            place_m=places[row],
            joints_m=None if points is None else points[row],
            score=_score(held),
            focal_px=_focal(held),
            size_px=_size(held),
        )
        for row in range(count)
    ]


def _rotations(value: Any) -> Floats:
    """Rotation matrices (n, 3, 3) from matrices or axis-angles of any shape; ValueError if they are neither."""
    array = as_array(value)
    if array.shape[-2:] == (3, 3) and _are_rotations(array.reshape(-1, 3, 3)):
        return array.reshape(-1, 3, 3)
    return quaternions.to_matrix(quaternions.exp(array.reshape(-1, 3)))


def _are_rotations(matrices: Floats) -> bool:
    off = np.abs(matrices @ matrices.swapaxes(-1, -2) - np.eye(3)).max(initial=0)
    return bool(off < 0.02 and (np.linalg.det(matrices) > 0).all())


def _score(held: Mapping[str, Any]) -> float:
    given = _found(held, _SCORES)
    if given is not None:
        return float(np.clip(as_array(given).reshape(-1)[0], 0, 1))
    box = _found(held, _BOXES)
    values = np.zeros(0) if box is None else as_array(box).reshape(-1)
    return float(np.clip(values[4], 0, 1)) if len(values) == 5 else 1.0


def _focal(held: Mapping[str, Any]) -> float | None:
    given = _found(held, _FOCALS)
    return None if given is None else float(as_array(given).reshape(-1)[0])


def _size(held: Mapping[str, Any]) -> tuple[int, int] | None:
    given = _found(held, _SIZES)
    if given is None or as_array(given).size < 2:
        return None
    width, height = as_array(given).reshape(-1)[:2]
    return int(width), int(height)


def _numbers(names: Sequence[str], first: int | None) -> NDArray[np.int64]:
    """Frame numbers: the last digits that differ most in the pictures' names, or the pictures' order if there are none.

    By default numbers count from 1, as written by ffmpeg, or from 0 if there is a 0.
    """
    found = [re.findall(r"\d+", _stem(name)) for name in names]
    if not all(found):
        return np.arange(len(names), dtype=np.int64)
    if len({len(digits) for digits in found}) == 1:  # frame_0001_0: the second is the hand
        differing = [len(set(column)) for column in zip(*found, strict=True)]
        place = len(differing) - 1 - int(np.argmax(differing[::-1]))
        found = [[digits[place]] for digits in found]
    numbers = np.array([int(digits[-1][-15:]) for digits in found], np.int64)
    return numbers - (min(int(numbers.min()), 1) if first is None else first)


def _stem(name: str) -> str:
    return re.sub(r"\.[A-Za-z]\w*$", "", name.replace("\\", "/").rsplit("/", 1)[-1])


def _filled(hands: EngineHands, pictures: Sequence[Sequence[_Hand]]) -> EngineHands:
    seen = [hand for found in pictures for hand in found]
    mirrors = _left_mirrors([hand for hand in seen if hand.side == LEFT])
    for row, found in enumerate(pictures):
        for hand in sorted(found, key=lambda hand: hand.score):  # the best one is put last, and stays
            _put(hands, row, hand, mirrors)
    size = next((hand.size_px for hand in seen if hand.size_px), None)
    focal = next((hand.focal_px for hand in seen if hand.focal_px), None)
    if focal is None and size is not None:
        focal = FOCAL_OF_WIDER_SIDE * max(size)
    if (
        size is None and focal is not None
    ):  # the engines' own convention: the size follows from the focal length
        return replace(hands, focal_px=focal, assumes_lens=True)
    K = None if size is None or focal is None else pinhole(focal, np.array(size) / 2)
    return replace(hands, K=K, size_px=size, focal_px=focal, assumes_lens=True)


def _put(hands: EngineHands, row: int, hand: _Hand, mirrors: tuple[bool, bool]) -> None:
    side = hand.side
    turned, points_turned = mirrors if side == LEFT else (False, False)
    hands.present[row, side] = True
    hands.confidence[row, side] = hand.score
    hands.root[row, side] = mirror(hand.root, "matrix") if turned else hand.root
    hands.fingers[row, side] = mirror(hand.fingers, "matrix") if turned else hand.fingers
    hands.betas[row, side, : len(hand.betas)] = hand.betas
    hands.transl_m[row, side] = hand.place_m
    if hand.joints_m is not None:
        points = mirror(hand.joints_m, "point") if points_turned else hand.joints_m
        hands.joints_m[row, side] = points + hand.place_m


def _left_mirrors(lefts: Sequence[_Hand]) -> tuple[bool, bool]:
    """Whether left hands' rotations, and their joints, are a right hand's and have to be mirrored.

    The one of the four that moves the open hand's joints closest to the file's; without joints both are mirrored.
    """
    told = [hand for hand in lefts if hand.joints_m is not None]
    if not told:
        return True, True
    pose = np.stack([np.concatenate([hand.root[None], hand.fingers]) for hand in told])
    joints = np.stack([hand.joints_m for hand in told])  # pyright: ignore[reportArgumentType, reportCallIssue]
    shaped = load_open_hand().with_shape(np.zeros((2, 10)))
    both = shaped.with_pose(np.stack([pose, pose], 1)).joints21_m
    errors = {
        (turned, points_turned): _distance(
            mirror(both[:, RIGHT], "point") if turned else both[:, LEFT],
            mirror(joints, "point") if points_turned else joints,
        )
        for turned in (True, False)
        for points_turned in (True, False)
    }
    return min(errors, key=lambda choice: errors[choice])


def _distance(first: Floats, second: Floats) -> float:
    """Median distance of joints (N, 21, 3) about their wrists."""
    apart = (first - first[:, :1]) - (second - second[:, :1])
    return float(np.median(np.linalg.norm(apart, axis=-1)))


def _found(held: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((held[name] for name in names if held.get(name) is not None), None)


def _or(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value
