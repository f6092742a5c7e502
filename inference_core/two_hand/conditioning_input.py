# SPDX-License-Identifier: GPL-3.0-or-later
"""The network's input beside the picture: heat maps, a first guess, and features of hands and joints.

This is ours, not the paper's. Landmarks found in the picture become heat maps added to the backbone's
features. They also give a closed-form first guess (palm frame, swing of each bone, weak-perspective fit),
which stage 0 corrects. At each later stage every joint gets the offset of its landmark from the previous
stage's estimate. Missing values are zero.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference_core.geometry import rotations as so3
from inference_core.hand_model.hand import HandModel
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.two_hand.blocks import SIDE_COUNT
from inference_core.two_hand.hand_parameters import HandParameters, numbers_of
from inference_core.two_hand.joint_graph import JOINT_COUNT
from inference_core.two_hand.records import OFFSET_UNIT_M, Conditioning, HandStage

# Landmarks in the hand's frame, in the crop, and in the crop about the hand's centre; scores; the guess's 64
# numbers; hand and side score and focal length; the offset.
HAND_CONDITIONING_CHANNELS = JOINT_COUNT * (3 + 2 + 2 + 1) + 64 + 3 + 3
# Offset to the landmark in the crop and in the hand's frame; landmark and joint in the hand's frame;
# scores of landmark, hand and side.
JOINT_CONDITIONING_CHANNELS = 2 + 3 + 3 + 3 + 3

_MAP_CHANNELS = SIDE_COUNT * (JOINT_COUNT + 1)
_SIGMA_PX = 1.0
# The 21-joint indices of each finger's knuckles and tip, in MANO's order of fingers.
_FINGER_POINTS = ((5, 6, 7, 8), (9, 10, 11, 12), (17, 18, 19, 20), (13, 14, 15, 16), (1, 2, 3, 4))
_WRIST, _INDEX_MCP, _MIDDLE_MCP, _PINKY_MCP = 0, 5, 9, 17
_PALM = (_WRIST, _INDEX_MCP, _MIDDLE_MCP, _PINKY_MCP)

# The scale of a hand that fills about half of the crop, used if nothing is known.
_UNKNOWN_SCALE = 5.0
_SCALE_RANGE = (1.0, 30.0)
_LARGEST_DEPTH_OFFSET_M = 0.3
# Factors that bring lengths in the crop to a magnitude of one.
_UV_GAIN = 4.0


class ConditioningMaps(nn.Module):
    """Heat maps of both hands' landmarks, mixed into one level (B, C, N, N) of the backbone's features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(_MAP_CHANNELS, channels, 1)
        nn.init.normal_(self.convolution.weight, std=0.01)
        nn.init.zeros_(self.convolution.get_parameter("bias"))

    def forward(self, level: Tensor, conditioning: Conditioning) -> Tensor:
        """The level (B, C, N, N) with the conditioning added."""
        size = level.shape[-1]
        scores = conditioning.landmark_score * conditioning.hand_score[..., None]
        heat = heat_maps(conditioning.landmarks_uv, scores, size)
        planes = conditioning.side_score[:, :, None, None, None].expand(-1, -1, 1, size, size)
        return level + self.convolution(torch.cat([heat, planes], 2).flatten(1, 2))


def heat_maps(uv: Tensor, scores: Tensor, size: int) -> Tensor:
    """(B, S, J, N, N): a Gaussian with a sigma of one pixel at each landmark uv (B, S, J, 2), scaled by its score."""
    centres = (torch.arange(size, device=uv.device, dtype=uv.dtype) + 0.5) * (2 / size) - 1
    sigma = _SIGMA_PX * 2 / size
    falls = torch.exp(-0.5 * ((centres - uv[..., None]) / sigma).square())
    return (scores[..., None] * falls[..., 1, :])[..., :, None] * falls[..., 0, :][..., None, :]


def first_guess(conditioning: Conditioning, hand: HandModel) -> HandParameters:
    """Both hands estimated from the landmarks alone; without landmarks, a flat hand raised before the camera.

    The root rotates the rest palm (wrist and knuckles of index, middle, pinky) onto the world landmarks. Every finger
    joint swings its rest bone onto the landmarks' bone, within the joint's limits. The camera is the weak perspective
    that best maps the world landmarks to those in the crop.
    """
    with torch.no_grad(), torch.autocast(conditioning.landmarks_uv.device.type, enabled=False):
        rest = _rest_landmarks(hand)
        seen = _palm_seen(conditioning)
        frames = torch.where(
            seen[..., None, None], palm_frames(conditioning.world_rel_m), _raised_frames(rest)
        )
        root = frames @ palm_frames(rest).transpose(-1, -2)
        local = conditioning.world_rel_m @ root
        known = (conditioning.landmark_score > 0) & seen[..., None]
        pose = _swung_fingers(local, known, rest, hand).flatten(-2)
        camera = _weak_camera(conditioning, seen)
        betas = camera.new_zeros(*camera.shape[:2], 10)
        return numbers_of(root, pose, betas, camera, _guessed_offset(conditioning, camera, seen))


def hand_conditioning(conditioning: Conditioning, start: HandParameters) -> Tensor:
    """(B, S, HAND_CONDITIONING_CHANNELS): everything known about each hand, in the frame of the first guess."""
    score = conditioning.landmark_score * _palm_seen(conditioning)[..., None]
    known = (score > 0).to(score.dtype)[..., None]
    local = conditioning.world_rel_m @ start.root_rotation / OFFSET_UNIT_M * known
    focal = conditioning.focal_uv
    inverse_focal = torch.where(focal > 0, 1 / focal.clamp(min=0.1), torch.zeros_like(focal))
    inverse_focal = inverse_focal[:, None].expand_as(conditioning.hand_score)
    single = torch.stack([conditioning.hand_score, conditioning.side_score, inverse_focal], -1)
    offset = start.offset[:, None].expand(-1, SIDE_COUNT, -1)
    uv = conditioning.landmarks_uv * known
    middle = uv.sum(2, keepdim=True) / known.sum(2, keepdim=True).clamp(min=1)
    # Also in units of 0.15 m, seen by the guess's camera.
    own_uv = (uv - middle) * known / (start.camera[..., None, :1] * OFFSET_UNIT_M)
    parts = [
        local.flatten(2),
        uv.flatten(2),
        own_uv.flatten(2),
        score,
        start.parameters,
        single,
        offset,
    ]
    return torch.cat(parts, -1)


def joint_conditioning(conditioning: Conditioning, stage: HandStage) -> Tensor:
    """(B, S, 21, JOINT_CONDITIONING_CHANNELS): differences between landmarks and the
    stage's joints, in the hand's frame.
    """
    score = conditioning.landmark_score * _palm_seen(conditioning)[..., None]
    known = (score > 0).to(score.dtype)[..., None]
    root, joints = stage.root_rotation.detach(), stage.joints_m.detach()
    to_landmark_uv = (conditioning.landmarks_uv - stage.joints_uv.detach()) * known * _UV_GAIN
    landmark = conditioning.world_rel_m @ root / OFFSET_UNIT_M * known
    joint = joints @ root / OFFSET_UNIT_M
    hand = torch.stack([conditioning.hand_score, conditioning.side_score], -1)[:, :, None].expand(
        -1, -1, JOINT_COUNT, -1
    )
    return torch.cat([to_landmark_uv, landmark - joint * known, landmark, joint, score[..., None], hand], -1)


def palm_frames(points: Tensor) -> Tensor:
    """Rotations (..., 3, 3) from 21 points (..., 21, 3). Columns: across the palm, towards
    the middle knuckle, palm normal.
    """
    wrist = points[..., _WRIST, :]
    along = F.normalize(points[..., _MIDDLE_MCP, :] - wrist, dim=-1)
    index, pinky = points[..., _INDEX_MCP, :] - wrist, points[..., _PINKY_MCP, :] - wrist
    normal = torch.linalg.cross(index, pinky, dim=-1)
    normal = F.normalize(normal - (normal * along).sum(-1, keepdim=True) * along, dim=-1)
    return torch.stack([torch.linalg.cross(along, normal, dim=-1), along, normal], -1)


def _rest_landmarks(hand: HandModel) -> Tensor:
    """(S, 21, 3) MediaPipe's landmarks of the mean hand at rest, relative to the wrist joint."""
    template = hand.template_m
    betas = template.new_zeros(SIDE_COUNT, 10)
    identity = torch.eye(3, dtype=template.dtype, device=template.device).expand(SIDE_COUNT, 16, 3, 3)
    return hand.with_shape(betas).with_pose(identity, template.new_zeros(SIDE_COUNT, 3)).landmarks21_m


def _raised_frames(rest: Tensor) -> Tensor:
    """(S, 3, 3) palm frames of hands with fingers up and the palm facing the camera."""
    across = {LEFT: -1.0, RIGHT: 1.0}
    return torch.stack([torch.diag(rest.new_tensor([across[s], -1.0, -across[s]])) for s in (LEFT, RIGHT)])


def _palm_seen(conditioning: Conditioning) -> Tensor:
    """(B, S) bool: hands whose palm is known well enough for a first guess."""
    return (conditioning.hand_score > 0) & (conditioning.landmark_score[..., list(_PALM)] > 0).all(-1)


def _swung_fingers(local: Tensor, known: Tensor, rest: Tensor, hand: HandModel) -> Tensor:
    """(B, S, 15, 3) joint angles that swing the rest bones onto the landmarks' bones, in the hand's frame."""
    index = torch.tensor(_FINGER_POINTS, device=local.device)
    bones, rest_bones = _steps(local[:, :, index]), _steps(rest[:, index])
    known_bones = known[:, :, index][..., 1:] & known[:, :, index][..., :-1]
    axes = hand.joint_axes.unflatten(1, (5, 3))
    limits = hand.joint_limits_rad.unflatten(0, (5, 3))
    usual = (axes.transpose(-1, -2) @ hand.hands_mean.unflatten(1, (5, 3, 3))[..., None])[..., 0]
    turn = torch.eye(3, dtype=local.dtype, device=local.device)
    angles = []
    for level in range(3):
        bone = (bones[..., level, None, :] @ turn)[..., 0, :]
        swing = _swing(rest_bones[:, :, level].expand_as(bone), bone)
        angle = (axes[:, :, level].transpose(-1, -2) @ swing[..., None])[..., 0]
        angle = torch.maximum(torch.minimum(angle, limits[:, level, :, 1]), limits[:, level, :, 0])
        angle = torch.where(known_bones[..., level, None], angle, usual[:, :, level])
        turn = turn @ so3.exp((axes[:, :, level] @ angle[..., None])[..., 0])
        angles.append(angle)
    return torch.stack(angles, -2).flatten(-3, -2)


def _steps(points: Tensor) -> Tensor:
    """(..., N - 1, 3) from each point to the next."""
    return points[..., 1:, :] - points[..., :-1, :]


def _swing(start: Tensor, end: Tensor) -> Tensor:
    """Axis-angles (..., 3) of the shortest rotation from some directions (..., 3) to others."""
    cross = torch.linalg.cross(start, end, dim=-1)
    angle = torch.atan2(cross.norm(dim=-1), (start * end).sum(-1))
    return F.normalize(cross, dim=-1, eps=1e-12) * angle[..., None]


def _weak_camera(conditioning: Conditioning, seen: Tensor) -> Tensor:
    """(B, S, 3) scale and shift that best map the world landmarks to the crop (least squares, weighted by score)."""
    weights = conditioning.landmark_score[..., None]
    total = weights.sum(-2, keepdim=True).clamp(min=1e-6)
    xy, uv = conditioning.world_rel_m[..., :2], conditioning.landmarks_uv
    mean_xy, mean_uv = (
        (weights * xy).sum(-2, keepdim=True) / total,
        (weights * uv).sum(-2, keepdim=True) / total,
    )
    spread = (weights * (xy - mean_xy).square()).sum((-2, -1)).clamp(min=1e-9)
    scale = (weights * (xy - mean_xy) * (uv - mean_uv)).sum((-2, -1)) / spread
    scale = torch.where(seen, scale.clamp(*_SCALE_RANGE), torch.full_like(scale, _UNKNOWN_SCALE))
    other_scale, other_seen = scale.flip(1), seen.flip(1)
    scale = torch.where(~seen & other_seen, other_scale, scale)
    shift = (mean_uv - scale[..., None, None] * mean_xy)[..., 0, :]
    return torch.cat([scale[..., None], torch.where(seen[..., None], shift, torch.zeros_like(shift))], -1)


def _guessed_offset(conditioning: Conditioning, camera: Tensor, seen: Tensor) -> Tensor:
    """(B, 3), units of 0.15 m: right wrist minus left wrist according to the two weak cameras and the focal length."""
    scale, shift = camera[..., :1], camera[..., 1:]
    across = (shift / scale)[:, RIGHT] - (shift / scale)[:, LEFT]
    depths = conditioning.focal_uv[:, None] / camera[..., 0]
    depth = depths[:, RIGHT:] - depths[:, :RIGHT]
    depth = depth.clamp(-_LARGEST_DEPTH_OFFSET_M, _LARGEST_DEPTH_OFFSET_M)
    offset = torch.cat([across, depth], -1) / OFFSET_UNIT_M
    return torch.where(seen.all(1, keepdim=True), offset, torch.zeros_like(offset))
