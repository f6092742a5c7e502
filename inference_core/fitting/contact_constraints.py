# SPDX-License-Identifier: GPL-3.0-or-later
"""Contact that the user sets or rules out.

A picture does not show depth, so hands marked as touching first move along their rays until the parts meet, each by
half unless one is pinned. The solve starts there, and pulls the parts together far harder than inferred contact does.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from inference_core.fitting.arrays import Floats, Indices, lengths
from inference_core.fitting.capsules import BONES, Capsules
from inference_core.fitting.contact import (
    TIP_CAPSULES,
    Contact,
    Outlines,
    averaged,
    seen_at_one_depth,
    unbroken_runs,
)
from inference_core.fitting.observations import Observations, pairs
from inference_core.fitting.parameterisation import JOINTS, HandParameterisation, HandState, pose_points
from inference_core.fitting.solve_constraints import HARD_PIN, Apart, SolveConstraints, Touch, doubted
from inference_core.shared.skeleton import FINGERS

# How much harder a contact set by the user pulls than an inferred one.
_USER_STRENGTH = 60.0
# For fingertips that are to meet where they are near: the same finger's, nearer
# than about this in the picture.
_NEAR_M = 0.01
# The movement along the rays is averaged over this many frames to either side.
_SMOOTHED = 3

PART_CAPSULES: dict[str, tuple[int, ...] | None] = {
    **{name: (capsule,) for name, capsule in zip(FINGERS, TIP_CAPSULES, strict=True)},
    "palm": tuple(range(15, len(BONES))),
    "nearest": None,
    "any": None,
}


def without_denied(seen: Observations, contact: Contact, constraints: SolveConstraints) -> Contact:
    """The contact without what the constraints rule out or doubt."""
    left, right = pairs(seen)
    doubt = doubted(seen, constraints)
    contact = replace(contact, hands=contact.hands * (1 - np.maximum(doubt[left], doubt[right])))
    for apart in constraints.aparts:
        contact = _denied(contact, apart, seen.frame[left])
    return contact


def with_touches(
    parameterisation: HandParameterisation,
    seen: Observations,
    start: HandState,
    capsules: Capsules,
    contact: Contact,
    touches: Sequence[Touch],
) -> tuple[Observations, HandState, Contact]:
    """Observations, contact and a state of the hand frames, moved until these parts touch."""
    left, right = hands_of = pairs(seen)
    frame = seen.frame[left]
    weights = [touch.weight[frame] for touch in touches]
    if not any((weight > 0).any() for weight in weights):
        return seen, start, contact
    posed = pose_points(parameterisation, seen.side, start)
    first, second = (capsules.ends_m(posed.points_m[at, JOINTS]) for at in hands_of)
    middle = (start.image_depth[left, 2] + start.image_depth[right, 2]) / 2
    view = seen_at_one_depth(first, second, middle, capsules)
    parts = contact.of_all(contact.parts)
    share = np.zeros_like(parts)
    for touch, weight in zip(touches, weights, strict=True):
        if (weight > 0).any():
            share = np.maximum(share, (weight > 0)[:, None, None] * _meeting(touch, weight, view))
    strength = np.max(weights, 0)
    way_m = _way_to_meet(view, share, capsules)
    way_m = strength * averaged(way_m, unbroken_runs(frame), _SMOOTHED)
    seen, start = _moved_along_rays(seen, start, hands_of, way_m)
    hands = np.maximum(contact.hands, strength)
    kept = (contact.hands / np.maximum(hands, 1e-9))[:, None, None]
    pull = np.where(strength < 1, strength, _USER_STRENGTH)[:, None, None]
    outlines = None if contact.outlines is None else contact.of_all(contact.outlines) * kept
    return seen, start, Contact.of(hands, np.maximum(parts * kept, pull * share), outlines)


def _denied(contact: Contact, apart: Apart, frame: Indices) -> Contact:
    here = apart.frames[frame]
    if apart.left is None and apart.right is None:
        return replace(contact, hands=np.where(here, 0.0, contact.hands))
    size = contact.parts.shape[1]
    rows, columns = np.zeros(size, bool), np.zeros(size, bool)
    rows[list(apart.left or range(size))] = True
    columns[list(apart.right or range(size))] = True
    those = here[contact.pair][:, None, None] & rows[:, None] & columns
    outlines = None if contact.outlines is None else np.where(those, 0.0, contact.outlines)
    return replace(contact, parts=np.where(those, 0.0, contact.parts), outlines=outlines)


def _meeting(touch: Touch, weight: Floats, view: Outlines) -> Floats:
    """(P, C, C) 1 for the two capsules that meet; of fingertips, also for all others that come near."""
    rows, columns = (list(part or TIP_CAPSULES) for part in (touch.left, touch.right))
    near = (view.gap_m * weight[:, None, None]).sum(0)[rows][:, columns]
    best = int(near.argmin())
    share = np.zeros_like(view.gap_m)
    share[:, rows[best // len(columns)], columns[best % len(columns)]] = 1.0
    if touch.left is None and touch.right is None:
        ends = [hand[:, TIP_CAPSULES, 1] for hand in view.flat_m]
        apart = lengths(ends[0] - ends[1]) / _NEAR_M
        share[:, TIP_CAPSULES, TIP_CAPSULES] += np.exp(-0.5 * apart**2)
    return np.minimum(share, 1)


def _way_to_meet(view: Outlines, share: Floats, capsules: Capsules) -> Floats:
    """(P,) metres by which the left hands are farther away than where the parts would touch, by their shares."""
    reach_m = capsules.radii_m[0][:, None] + capsules.radii_m[1]
    across_m = view.gap_m + reach_m
    touching_m = np.sqrt(np.maximum(reach_m**2 - across_m**2, 0))
    way_m = view.behind_m - np.clip(view.behind_m, -touching_m, touching_m)
    return (way_m * share).sum((1, 2)) / np.maximum(share.sum((1, 2)), 1e-9)


def _moved_along_rays(
    seen: Observations, start: HandState, hands_of: tuple[Indices, Indices], way_m: Floats
) -> tuple[Observations, HandState]:
    """Both hands moved along their rays by half of the distance (P,) each, and the
    evidence of distance moved with them.
    """
    left, right = hands_of
    network = seen.network
    free = np.ones(len(seen)) if network is None else (network.confidence < HARD_PIN).astype(np.float64)
    halves = np.maximum(free[left] + free[right], 1)
    shift = np.zeros(len(seen))
    for at, way in ((left, -way_m), (right, way_m)):
        farther = 1 + way * free[at] / halves / np.exp(start.image_depth[at, 2])
        shift[at] = np.log(np.clip(farther, 0.5, 2.0))
    image_depth = start.image_depth.copy()
    image_depth[:, 2] += shift
    moved = replace(start, image_depth=image_depth)
    if network is not None:
        moved_m = moved.wrist_m - start.wrist_m
        from_other_m = network.from_other_m.copy()
        from_other_m[left] += moved_m[left] - moved_m[right]
        from_other_m[right] += moved_m[right] - moved_m[left]
        wrist_m = network.wrist_m * np.exp(shift)[:, None]
        network = replace(network, wrist_m=wrist_m, from_other_m=from_other_m)
    return replace(seen, size_error=seen.size_error + shift, network=network), moved
