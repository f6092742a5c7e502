# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings two hands together until named places meet, with adaptable fingers: damped Gauss-Newton on spheres.

Everything is in the right hand's own frame: its wrist is at the origin, not rotated. The left hand moves as a whole,
and the fingers of both bend. N pairs are solved at once.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.geometry.rotations import exp, hat, log
from inference_core.hand_model.hand import PosedHands, ShapedHands
from inference_core.shared.skeleton import LEFT, PARENTS_16, RIGHT
from training.synthetic.poses import within
from training.synthetic.spheres import ARM_M, Spheres, first_contact, sphere_centres

# The adaptable angles, as (joint, axis): every flexion, the knuckles' spread, the thumb's root in all three.
_FREE = [(joint, 0) for joint in range(15)] + [(joint, 1) for joint in (0, 3, 6, 9, 12)] + [(12, 2)]
_FREE_JOINT = torch.tensor([joint for joint, _ in _FREE])
_FREE_AXIS = torch.tensor([axis for _, axis in _FREE])
_DEEPEST = 64  # the number of sphere pairs pushed apart in one step
_STEPS = 18
_PULL_M = 0.012  # places farther apart than this pull no harder
# The scale of a residual of one.
_MEETING_M, _GIVE_M, _DRAW_M, _ANGLE_RAD, _TURN_RAD = 0.004, 0.0012, 0.002, 0.20, 0.20
# How deep spheres may intersect: skin is soft.
PRESSED_M = 0.001
# Hands that intersect deeper are stuck.
STUCK_M = 0.003
PADDING_M = 0.0014
_DAMP = 4.0
_LONGEST_STEP = 0.14  # radians; metres are ten times smaller


@dataclass(frozen=True)
class Together:
    """angles_rad (N, S, 15, 3); turn (N, 3, 3) and wrist_m (N, 3) of the left hand in the right one's frame."""

    angles_rad: Tensor
    turn: Tensor
    wrist_m: Tensor


@dataclass(frozen=True)
class Meeting:
    """What is to meet: anchors (N, M, S) indices of points, weight (N, M), 0 for none.

    slide_m (N, M, 3) is added to the right hand's places; arms (N,) bool: whether forearms may meet as well:
    otherwise they are bent apart later.
    """

    anchors: Tensor
    weight: Tensor
    slide_m: Tensor
    arms: Tensor


def bring_together(
    shaped: ShapedHands,
    spheres: Spheres,
    points: Spheres,
    wanted: Together,
    start: Together,
    meeting: Meeting,
    steps: int = _STEPS,
) -> Together:
    """The pair near the wanted one whose places meet without intersecting hands, solved from `start`."""
    state = start
    for _ in range(steps):
        state = _improved(shaped, spheres, points, wanted, state, meeting)
    return state


def posed_together(shaped: ShapedHands, pair: Together) -> PosedHands:
    """The hands in the right hand's frame."""
    fingers = shaped.model.rotations_from_angles(pair.angles_rad)
    turns = torch.stack([pair.turn, torch.eye(3).to(pair.turn).expand_as(pair.turn)], 1)
    wrists_m = torch.stack([pair.wrist_m, torch.zeros_like(pair.wrist_m)], 1)
    return shaped.with_pose(torch.cat([turns[:, :, None], fingers], 2), wrists_m)


def _improved(
    shaped: ShapedHands,
    spheres: Spheres,
    points: Spheres,
    wanted: Together,
    state: Together,
    meeting: Meeting,
) -> Together:
    posed = posed_together(shaped, state)
    bend = _Bend.of(shaped, posed, state)
    rows, residuals = [], []
    for jacobian, residual in (
        _meeting_rows(sphere_centres(points, posed), points, meeting, bend),
        _pressing_rows(sphere_centres(spheres, posed), spheres, meeting, bend),
    ):
        rows.append(jacobian)
        residuals.append(residual)
    prior_scale, prior = _prior(wanted, state)
    jacobian, residual = torch.cat(rows, 1), torch.cat(residuals, 1)
    normal = jacobian.mT @ jacobian + torch.diag(prior_scale.square() * (1 + _DAMP))
    right = (jacobian.mT @ residual[..., None])[..., 0] + prior_scale * prior
    step = -torch.cholesky_solve(right[..., None], torch.linalg.cholesky(normal))[..., 0]
    return _moved(state, step, shaped.model.joint_limits_rad)


@dataclass(frozen=True)
class _Bend:
    """How points move: axis (N, S, D, 3) and its moment about the origin; above (16, D): which angles move a bone."""

    axis: Tensor
    moment: Tensor
    above: Tensor
    wrist_m: Tensor

    @staticmethod
    def of(shaped: ShapedHands, posed: PosedHands, state: Together) -> "_Bend":
        axes = shaped.model.joint_axes
        vectors = (axes @ state.angles_rad[..., None])[..., 0]
        world = posed.global_rotations[:, :, 1:] @ _right_jacobian(vectors) @ axes
        axis = world[:, :, _FREE_JOINT, :, _FREE_AXIS].permute(1, 2, 0, 3)
        origin = posed.joints16_m[:, :, 1 + _FREE_JOINT]
        return _Bend(axis, torch.linalg.cross(axis, origin, dim=-1), _followers().to(axis), state.wrist_m)

    def rows(self, side: int, point_m: Tensor, bone: Tensor, direction: Tensor) -> Tensor:
        """(N, R, D) the motion of points (N, R, 3) on bones (N, R) along directions (N, R, 3) with each angle."""
        arm = torch.linalg.cross(point_m, direction, dim=-1)
        moved = arm @ self.axis[:, side].mT - direction @ self.moment[:, side].mT
        return moved * F.embedding(bone, self.above)

    def row(self, points_m: Tensor, bones: Tensor, direction: Tensor) -> Tensor:
        """(N, R, 6 + 2 D) the change of the distance from left to right points (N, R, S, 3) along directions."""
        left_m = points_m[:, :, LEFT]
        turned = torch.linalg.cross(left_m - self.wrist_m[:, None], direction, dim=-1)
        left = self.rows(LEFT, left_m, bones[..., LEFT], direction)
        right = self.rows(RIGHT, points_m[:, :, RIGHT], bones[..., RIGHT], direction)
        return torch.cat([-turned, -direction, -left, right], -1)


def _meeting_rows(points_m: Tensor, points: Spheres, meeting: Meeting, bend: _Bend) -> tuple[Tensor, Tensor]:
    """Rows and residuals (N, 3 M) of the meeting places."""
    batch, count = meeting.weight.shape
    pair = torch.arange(batch, device=points_m.device)[:, None, None]
    side = torch.arange(2, device=points_m.device)
    chosen_m = points_m[pair, side, meeting.anchors]
    bones = points.bone[meeting.anchors]
    scale = (meeting.weight / _MEETING_M)[..., None]
    apart_m = chosen_m[:, :, RIGHT] + meeting.slide_m - chosen_m[:, :, LEFT]
    far = apart_m.norm(dim=-1, keepdim=True).clamp(min=_PULL_M)
    apart = apart_m * (_PULL_M / far) * scale
    direction = torch.eye(3).to(points_m).expand(batch, count, 3, 3).flatten(1, 2)
    rows = bend.row(chosen_m.repeat_interleave(3, 1), bones.repeat_interleave(3, 1), direction)
    return rows * scale.repeat_interleave(3, 1), apart.flatten(1)


def _pressing_rows(
    centres_m: Tensor, spheres: Spheres, meeting: Meeting, bend: _Bend
) -> tuple[Tensor, Tensor]:
    """Rows and residuals (N, _DEEPEST) of the deepest intersections of spheres."""
    left, right = centres_m[:, LEFT], centres_m[:, RIGHT]
    depth = depths_m(centres_m, spheres, meeting.arms)
    # Each sphere counts with its deepest intersection only, which spreads the rows over all of the contact.
    of_left, of_right = depth.max(2), depth.max(1)
    every = torch.arange(depth.shape[1], device=depth.device).expand(len(depth), -1)
    deepest, number = torch.cat([of_left.values, of_right.values], 1).topk(_DEEPEST, 1)
    first = torch.cat([every, of_right.indices], 1).gather(1, number)
    second = torch.cat([of_left.indices, every], 1).gather(1, number)
    pair = torch.arange(len(left), device=left.device)[:, None]
    points_m = torch.stack([left[pair, first], right[pair, second]], 2)
    direction = F.normalize(points_m[:, :, RIGHT] - points_m[:, :, LEFT], dim=-1)
    excess = (deepest - PRESSED_M).clamp(min=0)
    active = (excess > 0) / _GIVE_M
    # The nearest spheres of hands that do not touch yet attract each other.
    apart_m = (deepest[:, :1] + PRESSED_M / 2).clamp(max=0)
    excess = torch.cat([excess[:, :1] + apart_m, excess[:, 1:]], 1)
    active = torch.cat([active[:, :1] + (apart_m < 0) / _DRAW_M, active[:, 1:]], 1)
    bones = torch.stack([spheres.bone[first], spheres.bone[second]], -1)
    return bend.row(points_m, bones, direction) * active[..., None], -excess * active


def padded(spheres: Spheres) -> Spheres:
    """The hand's spheres enlarged to the average skin around them, because they do not fill it completely."""
    is_hand = torch.arange(len(spheres.bone), device=spheres.bone.device) < len(spheres.bone) - len(ARM_M)
    return replace(spheres, radius_m=spheres.radius_m + PADDING_M * is_hand)


def parted(shaped: ShapedHands, spheres: Spheres, pair: Together, arms: Tensor) -> tuple[Together, Tensor]:
    """The pairs with stuck left hands moved straight out of the right ones, and the gaps (N,)."""
    centres_m = sphere_centres(spheres, posed_together(shaped, pair))
    depth_m, number = depths_m(centres_m, spheres, arms).flatten(1).max(1)
    row, count = torch.arange(len(number), device=number.device), len(spheres.bone)
    out = centres_m[row, LEFT, number // count] - centres_m[row, RIGHT, number % count]
    out = F.normalize(out, dim=-1)
    # Forearms that are bent apart later do not count.
    counted = slice(0, count - len(ARM_M))
    way_m = first_contact(centres_m[:, :, counted], spheres.radius_m[counted], out).clamp(min=0)
    stuck = (depth_m > STUCK_M) & ~arms
    way_m = torch.where(stuck, way_m - PRESSED_M, 0.0)
    pair = replace(pair, wrist_m=pair.wrist_m + way_m[:, None] * out)
    return pair, torch.where(stuck, -PRESSED_M, -depth_m)


def depths_m(centres_m: Tensor, spheres: Spheres, arms: Tensor) -> Tensor:
    """(N, K, K) how deep left spheres intersect right ones, negative if they do not; arms (N,): see Meeting."""
    reach = spheres.radius_m[:, None] + spheres.radius_m
    is_arm = torch.arange(len(spheres.bone), device=reach.device) > len(spheres.bone) - len(ARM_M)
    skipped = (is_arm[:, None] | is_arm) & ~arms[:, None, None]
    return torch.where(skipped, -1.0, reach - torch.cdist(centres_m[:, LEFT], centres_m[:, RIGHT]))


def _prior(wanted: Together, state: Together) -> tuple[Tensor, Tensor]:
    """Scale (6 + 2 D,) and residual (N, 6 + 2 D) of staying near the wanted pair; positions are nearly free."""
    angle = (state.angles_rad - wanted.angles_rad)[:, :, _FREE_JOINT, _FREE_AXIS].flatten(1) / _ANGLE_RAD
    turn = log(state.turn @ wanted.turn.mT) / _TURN_RAD
    place = (state.wrist_m - wanted.wrist_m) / 0.05
    scale = angle.new_full((6 + angle.shape[1],), 1 / _ANGLE_RAD)
    scale[:3], scale[3:6] = 1 / _TURN_RAD, 1 / 0.05
    return scale, torch.cat([turn, place, angle], 1)


def _moved(state: Together, step: Tensor, limits_rad: Tensor) -> Together:
    longest = torch.cat([step[:, :3], step[:, 3:6] * 10, step[:, 6:]], 1).abs().amax(1, keepdim=True)
    step = step * (_LONGEST_STEP / longest.clamp(min=_LONGEST_STEP))
    angles = state.angles_rad.clone()
    angles[:, :, _FREE_JOINT, _FREE_AXIS] += step[:, 6:].unflatten(1, (2, -1))
    turn = exp(step[:, :3]) @ state.turn
    return replace(
        state, angles_rad=within(angles, limits_rad), turn=turn, wrist_m=state.wrist_m + step[:, 3:6]
    )


def _followers() -> Tensor:
    """(16, D): 1 where an angle moves a bone of MANO's."""
    follows = torch.zeros(16, 16)
    for bone in range(16):
        joint = bone
        while joint >= 0:
            follows[joint, bone] = 1
            joint = int(PARENTS_16[joint])
    return follows[1 + _FREE_JOINT].T.contiguous()


def _right_jacobian(vectors: Tensor) -> Tensor:
    """(..., 3, 3): exp(v + dv) is about exp(v) exp(J dv)."""
    angle = vectors.norm(dim=-1, keepdim=True).clamp(min=1e-6)[..., None]
    cross = hat(vectors / angle[..., 0])
    eye = torch.eye(3).to(vectors)
    return eye - (1 - angle.cos()) / angle * cross + (1 - angle.sin() / angle) * cross @ cross
