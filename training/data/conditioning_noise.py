# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated conditioning for a sample: its true landmarks degraded as the landmark networks and tracks would.

If the networks were run on the sample, their own output with more of it dropped. Everything is batched torch on the
sample's device, without waiting for it. B batch, S side, 21 landmarks.

Error sizes follow the networks' on rendered clips (benchmarks/conditioning.py): about 5 % of the hand's diagonal in
the picture, 9 % where hands overlap, 25 mm of world landmarks after the best rotation. On plain real footage they are
smaller (1.8 % between the networks' own 2D and world landmarks), so a hand's noise level is drawn from a wide range.
AS_FITTED imitates the conditioning that the predictor derives from them.
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from inference_core.geometry.rotations import exp, turn_to_ray
from inference_core.tracking.expected_hands import INTERPOLATED_FRAMES, INTERPOLATED_SCORE
from inference_core.two_hand.records import Conditioning
from training.data.sample import Sample, overlap

# Landmarks of each finger (thumb to pinky), root to tip, and their positions along the finger.
FINGERS_21 = torch.arange(1, 21).reshape(5, 4)
ALONG_FINGER = (0.1, 0.45, 0.8, 1.0)

# A hand with less than this share of its joints hidden is found as reliably as any.
_USUALLY_HIDDEN = 0.3


@dataclass(frozen=True)
class ConditioningNoise:
    """How conditioning is degraded. Probabilities are per sample or hand; `size` is the diagonal of the hand's
    box in the picture.

    dropped: no conditioning at all. focal_unknown, focal_spread: the focal length left out; else off by this (log).
    quality_spread: spread (log) of a hand's own noise level, which scales all of its errors; overlapping and hidden
    raise it. shift, turn_rad, stretch: errors of the whole hand in the picture (of size, radians, log). joint:
    independent error of each landmark, of size; hidden ones have (1 + hidden) times as much. finger_off, finger_shift:
    a finger found elsewhere, and how far its tip then is, of size; finger_missing: not found. tilt_rad, world_scale,
    world_joint_m, flatten: errors of the world landmarks (turn, log scale, each, depth's log scale). lost,
    lost_overlap, lost_hidden: a hand not found: always, times overlap, times hidden share. interpolated: of those, how
    many are known from neighbouring frames, up to interpolated_frames away; interpolated_shift, interpolated_level: how
    far they have moved since, of size, and how much of a plain hand's errors they have, for one frame (both grow with
    the root of their number). collapsed, collapsed_overlap: both landmark sets on one hand. ghost: an absent hand
    found on the present one. swapped, swapped_overlap: sides exchanged, mostly with a low side score. fitted: world
    landmarks are those of a hand model fitted to the landmarks, which knows where in the picture the hand lies.
    """

    dropped: float = 1 / 3
    focal_unknown: float = 0.2
    focal_spread: float = 0.1
    quality_spread: float = 0.6
    shift: float = 0.012
    turn_rad: float = 0.05
    stretch: float = 0.05
    joint: float = 0.015
    hidden: float = 2.0
    finger_off: float = 0.08
    finger_shift: float = 0.12
    finger_missing: float = 0.03
    tilt_rad: float = 0.15
    world_scale: float = 0.10
    world_joint_m: float = 0.007
    flatten: float = 0.15
    lost: float = 0.10
    lost_overlap: float = 0.5
    lost_hidden: float = 0.5
    interpolated: float = 0.7
    interpolated_frames: float = 12.0
    interpolated_shift: float = 0.06
    interpolated_level: float = 0.25
    collapsed: float = 0.005
    collapsed_overlap: float = 0.12
    ghost: float = 0.04
    swapped: float = 0.02
    swapped_overlap: float = 0.05
    fitted: bool = False


NO_CONDITIONING = ConditioningNoise(dropped=1.0)
# Conditioning as the predictor supplies it: read by the landmark head
# and fitted (benchmarks/conditioning.py).
AS_FITTED = ConditioningNoise(
    shift=0.0065,
    turn_rad=0.022,
    stretch=0.025,
    joint=0.0115,
    hidden=0.6,
    finger_off=0.02,
    finger_shift=0.1,
    finger_missing=0.0,
    tilt_rad=0.053,
    world_scale=0.053,
    world_joint_m=0.0019,
    flatten=0.04,
    interpolated_shift=0.035,
    interpolated_level=1.2,
    collapsed_overlap=0.03,
    swapped=0.01,
    swapped_overlap=0.02,
    fitted=True,
)


def degraded_conditioning(
    sample: Sample, noise: ConditioningNoise, generator: torch.Generator
) -> Conditioning:
    """Conditioning (B, ...) of a sample; the generator lives on the sample's device."""
    draw = _Draw(generator, sample.image.device)
    shared = overlap(sample.joints_uv, sample.present)[:, None]
    visibility = (
        sample.visibility if sample.visibility is not None else torch.ones_like(sample.joints_uv[..., 0])
    )
    hidden = 1 - visibility.mean(dim=-1)
    level = (noise.quality_spread * draw.normal(*hidden.shape)).exp() * (1 + shared) * (1 + hidden)

    if sample.conditioning is None:
        parts, found = _imagined(sample, visibility, level, noise, draw)
        much_hidden = (hidden - _USUALLY_HIDDEN).clamp(min=0)
        chance_lost = noise.lost + noise.lost_overlap * shared + noise.lost_hidden * much_hidden
    else:
        parts, found = sample.conditioning.arrays[:5], sample.conditioning.hand_score > 0
        chance_lost = noise.lost * (1 + shared)
    lost = sample.present & (draw.uniform(*hidden.shape) < chance_lost.clamp(max=0.85))
    parts, found = _lost(parts, found, lost, visibility, noise, draw)
    parts, found = _collapsed(parts, found, sample.present, shared[:, 0], noise, draw)
    parts, found = _swapped(parts, found, shared[:, 0], noise, draw)
    known = found & (draw.uniform(sample.batch, 1) >= noise.dropped)
    uv, landmark_score, rel_m, hand_score, side_score = (_kept(part, known) for part in parts)
    seen = (landmark_score > 0).to(uv.dtype)[..., None]
    return Conditioning(
        landmarks_uv=uv * seen,
        landmark_score=landmark_score,
        world_rel_m=rel_m * seen,
        hand_score=hand_score,
        side_score=side_score,
        focal_uv=_focal(sample, noise, draw),
    )


def with_degraded_conditioning(
    sample: Sample, noise: ConditioningNoise, generator: torch.Generator
) -> Sample:
    """The sample with conditioning of the given kind."""
    return dataclasses.replace(sample, conditioning=degraded_conditioning(sample, noise, generator))


@dataclass(frozen=True)
class _Draw:
    """Random numbers on one device from one generator."""

    generator: torch.Generator
    device: torch.device

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=self.device)

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=self.device)


_Parts = tuple[Tensor, ...]


def _imagined(
    sample: Sample, visibility: Tensor, level: Tensor, noise: ConditioningNoise, draw: _Draw
) -> tuple[_Parts, Tensor]:
    """Landmarks of every present hand, from the truth."""
    hidden, shared = 1 - visibility.mean(dim=-1), overlap(sample.joints_uv, sample.present)[:, None]
    uv, rel_m = _seen_landmarks(sample, noise.fitted)
    missing = draw.uniform(*hidden.shape, 5) < noise.finger_missing * (1 + hidden[..., None])
    uv, rel_m = _with_errors(uv, rel_m, visibility, level, noise, draw)
    hand_score = (1 - 0.12 * level * draw.uniform(*hidden.shape)).clamp(min=0.5)
    landmark_score = _landmark_scores(hand_score, visibility, missing, draw)
    side_score = 1 - 0.25 * draw.uniform(*hidden.shape) ** 2 * (1 + shared)
    return (uv, landmark_score, rel_m, hand_score, side_score), sample.present


def _lost(
    parts: _Parts, found: Tensor, lost: Tensor, visibility: Tensor, noise: ConditioningNoise, draw: _Draw
) -> tuple[_Parts, Tensor]:
    """Some hands are lost; most are still interpolated, with errors that grow with the distance to their neighbours."""
    uv, landmark_score, rel_m, hand_score, side_score = parts
    frames = 1 + (noise.interpolated_frames - 1) * draw.uniform(*lost.shape)
    old_uv, old_rel_m = _with_errors(
        uv, rel_m, visibility, noise.interpolated_level * frames.sqrt(), noise, draw
    )
    size = (uv.amax(dim=-2) - uv.amin(dim=-2)).norm(dim=-1)[..., None, None]
    away = noise.interpolated_shift * frames.sqrt()[..., None, None] * size
    old_uv = old_uv + away * draw.normal(*lost.shape, 1, 2)
    score = INTERPOLATED_SCORE * torch.exp(-frames / INTERPOLATED_FRAMES)
    interpolated = lost & found & (hand_score >= 0.5) & (draw.uniform(*lost.shape) < noise.interpolated)
    moved = (
        _where(interpolated, old_uv, uv),
        _where(interpolated, score[..., None].expand_as(landmark_score), landmark_score),
        _where(interpolated, old_rel_m, rel_m),
        _where(interpolated, score, hand_score),
        side_score,
    )
    return moved, found & (interpolated | ~lost)


def _seen_landmarks(sample: Sample, fitted: bool) -> tuple[Tensor, Tensor]:
    """Landmarks in the picture, and relative to the wrist.

    The latter in the crop's axes for a fitted hand, else along the hand's own line of sight: a landmark
    network sees an upright crop of one hand and does not know its place in the picture, so that what it calls
    depth is the direction of the ray.
    """
    uv = sample.landmarks_uv if sample.landmarks_uv is not None else sample.joints_uv
    rel_m = sample.landmarks_rel_m if sample.landmarks_rel_m is not None else sample.joints_rel_m
    return uv, rel_m if fitted else rel_m @ turn_to_ray(sample.wrist_cam_m)


def _with_errors(
    uv: Tensor, rel_m: Tensor, visibility: Tensor, level: Tensor, noise: ConditioningNoise, draw: _Draw
) -> tuple[Tensor, Tensor]:
    lead = uv.shape[:2]
    size = (uv.amax(dim=-2) - uv.amin(dim=-2)).norm(dim=-1)[..., None, None]
    level = level[..., None, None]
    each = level * (1 + noise.hidden * (1 - visibility[..., None])) * (0.5 * draw.normal(*lead, 21, 1)).exp()

    centre = uv.mean(dim=-2, keepdim=True)
    angle = (noise.turn_rad * level * draw.normal(*lead, 1, 1))[..., 0]
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=-1).reshape(*lead, 2, 2)
    uv = (uv - centre) @ turn.mT * (noise.stretch * level * draw.normal(*lead, 1, 1)).exp() + centre
    uv = (
        uv
        + size * level * noise.shift * draw.normal(*lead, 1, 2)
        + size * noise.joint * each * draw.normal(*lead, 21, 2)
    )

    tilt = exp(noise.tilt_rad * level[..., 0] * draw.normal(*lead, 3) * uv.new_tensor([1.0, 1.0, 0.5]))
    depth = (noise.flatten * draw.normal(*lead, 1, 1)).exp()
    rel_m = rel_m * torch.cat([torch.ones_like(depth), torch.ones_like(depth), depth], dim=-1)
    rel_m = rel_m @ tilt.mT * (noise.world_scale * draw.normal(*lead, 1, 1)).exp()
    rel_m = rel_m + noise.world_joint_m * each * draw.normal(*lead, 21, 3) * uv.new_tensor([1.0, 1.0, 1.5])

    uv_shift, rel_shift = _finger_errors(size, visibility, noise, draw)
    uv, rel_m = uv + uv_shift, rel_m + rel_shift
    return uv, rel_m - rel_m[..., :1, :]


def _finger_errors(
    size: Tensor, visibility: Tensor, noise: ConditioningNoise, draw: _Draw
) -> tuple[Tensor, Tensor]:
    """Shifts (B, S, 21, 2) in the picture and (B, S, 21, 3), metres, of misplaced fingers."""
    lead = visibility.shape[:2]
    fingers = FINGERS_21.to(visibility.device)
    chance = noise.finger_off * (1 + 3 * (1 - visibility[..., fingers].mean(dim=-1)))
    off = (draw.uniform(*lead, 5) < chance).to(size.dtype)[..., None]
    tip = noise.finger_shift * draw.normal(*lead, 5, 3) * off
    along = tip[..., None, :] * visibility.new_tensor(ALONG_FINGER)[:, None]
    shift = torch.cat([torch.zeros_like(along[..., :1, 0, :]), along.flatten(-3, -2)], dim=-2)
    # A hand's diagonal in the picture is about its length: 0.19 m converts shares of it to metres.
    return shift[..., :2] * size, shift * 0.19


def _landmark_scores(hand_score: Tensor, visibility: Tensor, missing: Tensor, draw: _Draw) -> Tensor:
    """(B, S, 21): the hand's score; in half of the hands lower where hidden, and 0 for missing fingers."""
    lead = hand_score.shape
    knows = (draw.uniform(*lead, 1) < 0.5).to(visibility.dtype)
    score = hand_score[..., None] * (1 - 0.6 * knows * (1 - visibility) * draw.uniform(*lead, 21))
    fingers = missing[..., None].expand(*lead, 5, 4).flatten(-2)
    gone = torch.cat([torch.zeros_like(fingers[..., :1]), fingers], dim=-1)
    return torch.where(gone, torch.zeros_like(score), score)


def _collapsed(
    parts: _Parts, found: Tensor, present: Tensor, shared: Tensor, noise: ConditioningNoise, draw: _Draw
) -> tuple[_Parts, Tensor]:
    """Both landmark sets on one hand: a side gets the other's landmarks and score, with a lower side score."""
    batch = shared.shape[0]
    chance = noise.collapsed + noise.collapsed_overlap * shared
    victim = torch.nn.functional.one_hot((draw.uniform(batch) < 0.5).long(), 2).bool()
    both = found.all(dim=1, keepdim=True)
    taken = (both & (draw.uniform(batch, 1) < chance[:, None])) & victim
    alone = ~present & found.flip(1)
    taken = taken | (alone & (draw.uniform(batch, 2) < noise.ghost))
    uv, landmark_score, rel_m, hand_score, side_score = parts
    jitter = 0.01 * draw.normal(batch, 2, 1, 2)
    moved = (
        _where(taken, uv.flip(1) + jitter, uv),
        _where(taken, landmark_score.flip(1), landmark_score),
        _where(taken, rel_m.flip(1), rel_m),
        _where(taken, hand_score.flip(1) * (1 - 0.4 * draw.uniform(batch, 2)), hand_score),
        _where(taken, draw.uniform(batch, 2) * 0.7, side_score),
    )
    return moved, found | taken


def _swapped(
    parts: _Parts, found: Tensor, shared: Tensor, noise: ConditioningNoise, draw: _Draw
) -> tuple[_Parts, Tensor]:
    """Sides swapped; in three of four such samples with a low side score."""
    batch = shared.shape[0]
    wrong = (draw.uniform(batch) < noise.swapped + noise.swapped_overlap * shared)[:, None].expand(batch, 2)
    low = draw.uniform(batch, 2) * torch.where(draw.uniform(batch, 1) < 0.75, 0.5, 1.0)
    *rest, side_score = (_where(wrong, part.flip(1), part) for part in parts)
    return (*rest, _where(wrong, low, side_score)), _where(wrong, found.flip(1), found)


def _focal(sample: Sample, noise: ConditioningNoise, draw: _Draw) -> Tensor:
    focal_uv = sample.K[:, 0, 0] / (sample.image.shape[-1] / 2)
    focal_uv = focal_uv * (noise.focal_spread * draw.normal(sample.batch)).exp()
    return torch.where(draw.uniform(sample.batch) < noise.focal_unknown, torch.zeros_like(focal_uv), focal_uv)


def _where(mask: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
    return torch.where(mask.reshape(mask.shape + (1,) * (other.ndim - mask.ndim)), chosen, other)


def _kept(part: Tensor, known: Tensor) -> Tensor:
    return _where(known, part, torch.zeros_like(part))
