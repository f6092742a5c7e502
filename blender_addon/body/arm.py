# SPDX-License-Identifier: GPL-3.0-or-later
"""Target motion of an arm and its hand, frame by frame: from the body, from the captured hand, or from both."""

from collections.abc import Sequence
from typing import Final

import bpy
import numpy as np

from inference_core.shared import quaternions
from inference_core.shared.errors import RequestError

from ..retarget import arms, elbows
from ..retarget.arm_chain import ArmChain
from ..retarget.bone_map import HAND
from ..scene.axes import Floats
from ..scene.shot import place_of
from . import reach
from .placement import Moves
from .reach import Joints
from .sampling import Shown
from .settings import JoinSettings
from .side import Side, Wanted, anatomical_turns, bone_turns

_OPPOSITE: Final = -0.999999  # cosine: of such arms any way round is as near


def wanted(
    target: bpy.types.Object, side: Side, body: Shown, moves: Moves, at: Floats, settings: JoinSettings
) -> Wanted:
    """Targets of the wrist, the hand and all bones to be keyed, on frames at (F,)."""
    limb = side.limb
    captured = moves.turns @ side.motion.turns[HAND]
    hand = anatomical_turns(side, body.turns[limb.seen_hand])
    turned = np.broadcast_to(np.eye(3), hand.shape)
    wrist, beyond = body.places[limb.seen_hand], np.zeros(len(at))
    turns: dict[str, Floats] = {}
    places: dict[str, Floats] = {}
    if settings.wrists == "HANDS":
        arm, poles, beyond, turned, turns = _follow(target, side, body, moves, at, settings)
        wrist = arm.wrist
        if limb.pole is not None:
            places[limb.pole], turns[limb.pole] = poles, body.turns[limb.pole]
        if limb.fore is None:
            places[limb.hand] = wrist
        else:
            hand = turned @ hand
    if settings.turns == "HANDS":
        hand = captured
    if settings.turns == "HANDS" or limb.hand in places:
        turns[limb.hand] = bone_turns(side, HAND, hand)
    within = hand @ side.motion.turns[HAND].transpose(0, 2, 1)
    for name, bone in side.bones.items():
        if name != HAND:
            turns[bone] = bone_turns(side, name, within @ side.motion.turns[name])
    if settings.spread_twist and limb.twists and limb.seen_fore is not None:
        turns |= _twists(side, turned @ body.turns[limb.seen_fore], hand)
    return Wanted(wrist, hand, beyond, turns, places)


def _follow(
    target: bpy.types.Object, side: Side, body: Shown, moves: Moves, at: Floats, settings: JoinSettings
) -> tuple[Joints, Floats, Floats, Floats, dict[str, Floats]]:
    """The arm that reaches for the captured wrist, points (F, 3) to which its elbow points, how far the wrist is out of
    reach, the forearm's rotation from the body's (F, 3, 3), and the rotations of the arm's bones.
    """
    limb = side.limb
    if limb.seen_upper is None or limb.seen_fore is None:
        raise RequestError(
            f"{target.name} has no upper arm and forearm above {limb.hand}. Let the body keep its wrists instead."
        )
    old = Joints(*(body.places[name] for name in (limb.seen_upper, limb.seen_fore, limb.seen_hand)))
    wrist = moves.points(side.motion.wrist[:, None])[:, 0]
    old_poles = _body_poles(side, old, at)
    poles = _carried_poles(old, old_poles, wrist)
    filmed = arms.filmed_forearms(side.rig) if settings.elbow == "HANDS" else None
    if filmed is not None:
        poles = _filmed_poles(side, filmed, old, poles, wrist, moves, at, settings.offset)
    new = reach.reached(old, wrist, poles)
    seen = (body.turns[limb.seen_upper], body.turns[limb.seen_fore])
    now = reach.carried_turns(seen, old, old_poles, new, poles)
    changed = [after @ before.transpose(0, 2, 1) for after, before in zip(now, seen, strict=True)]
    turns = {
        name: change @ body.turns[name]
        for name, change in zip((limb.upper, limb.fore), changed, strict=True)
        if name is not None
    }
    return new, poles, reach.beyond(old, wrist), changed[1], turns


def _usual(side: Side) -> Floats:
    limb = side.limb
    names: Sequence[str] = [
        name for name in (limb.seen_upper, limb.seen_fore, limb.seen_hand) if name is not None
    ]
    return arms.usual_elbow(
        limb.side, arms.Arm(ArmChain((names[0],), (names[1],)), *(side.rest.heads[name] for name in names))
    )


def _body_poles(side: Side, old: Joints, at: Floats) -> Floats:
    """Points (F, 3) to which the body's own elbow points; for a nearly straight arm, its usual direction."""
    usual = _carried(np.broadcast_to(_usual(side), old.shoulder.shape), side, old)
    along = old.elbow - old.wrist
    forearms = elbows.Forearms(at, along / np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9))
    return elbows.poles(forearms, at, old.wrist, old.shoulder, usual)


def _carried(usual: Floats, side: Side, old: Joints) -> Floats:
    """The usual direction of the elbow (F, 3), rotated with the arm from its rest."""
    limb = side.limb
    names = (limb.seen_upper or "", limb.seen_hand)
    rest = side.rest.heads[names[1]] - side.rest.heads[names[0]]
    return _turned_along(np.broadcast_to(rest, old.shoulder.shape), old.wrist - old.shoulder, usual)


def _carried_poles(old: Joints, old_poles: Floats, wrist: Floats) -> Floats:
    """The elbow's direction, rotated along as the arm swings from its old wrist to the new one by the shortest way."""
    was = old.wrist - old.shoulder
    return old.shoulder + _turned_along(was, wrist - old.shoulder, old_poles - old.shoulder)


def _filmed_poles(
    side: Side,
    filmed: elbows.Forearms,
    old: Joints,
    usual_poles: Floats,
    wrist: Floats,
    moves: Moves,
    at: Floats,
    offset: float,
) -> Floats:
    """Points to which the filmed elbow points; the usual ones where it is not visible."""
    place = np.array(place_of(side.rig.shot).matrix_world.normalized(), np.float64)[:3, :3]
    seen = np.stack([np.interp(at - offset, filmed.frames, part) for part in filmed.towards_elbow.T], axis=-1)
    towards = np.einsum("fab,fb->fa", moves.turns, seen @ place.T)
    forearms = elbows.Forearms(at, towards, filmed.cuts + offset)
    return elbows.poles(forearms, at, wrist, old.shoulder, usual_poles - old.shoulder)


def _twists(side: Side, fore: Floats, hand: Floats) -> dict[str, Floats]:
    """Rotations (F, 3, 3) of the twist bones, each with its share of the hand's twist against the forearm (F, 3, 3)."""
    limb, rest = side.limb, side.rest
    name = limb.seen_fore or ""
    axis = rest.heads[limb.seen_hand] - rest.heads[name]
    axis = axis / max(float(np.linalg.norm(axis)), 1e-12)
    fore_turned = fore @ rest.turns[name].T
    angles = reach.twists(fore_turned, hand @ rest.frames[HAND].T, axis)
    axes = fore_turned @ axis
    return {
        item.bone: reach.twisted(fore_turned @ rest.turns[item.bone], axes, item.share * angles)
        for item in limb.twists
    }


def _turned_along(before: Floats, after: Floats, vectors: Floats) -> Floats:
    """Vectors (F, 3) rotated like directions from `before` (F, 3) to `after` (F, 3) by the shortest way."""
    one = before / np.maximum(np.linalg.norm(before, axis=-1, keepdims=True), 1e-12)
    two = after / np.maximum(np.linalg.norm(after, axis=-1, keepdims=True), 1e-12)
    cosine = np.maximum((one * two).sum(-1), _OPPOSITE)
    turn = np.concatenate([(1 + cosine)[:, None], np.cross(one, two)], axis=-1)
    return np.einsum("fab,fb->fa", quaternions.to_matrix(turn), vectors)
