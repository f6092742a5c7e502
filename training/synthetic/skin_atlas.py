# SPDX-License-Identifier: GPL-3.0-or-later
"""Creases, nails, veins, tendons, blotches: maps over the rest hand, drawn from its own joints.

The hand at rest is flat, so its back and its palm, seen straight from above and below, are two
pictures of all its skin: x along the fingers, z across. The maps hold positions; strengths and colours
are drawn for every picture (see skin).
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.hand_model.hand import HandModel
from inference_core.shared.skeleton import RIGHT

BACK, PALM = 0, 1
# Colour maps: strength 0..1 (blotches about -1..1). Height maps, in metres, are given by their two slopes.
CREASE, NAIL, NAIL_EDGE, RED, VEIN_A, VEIN_B, BLOTCH, MOTTLE, SPECKLE, GRAIN = range(10)
HEIGHT_CREASE, HEIGHT_NAIL, HEIGHT_VEIN, HEIGHT_TENDON, HEIGHT_GRAIN = range(10, 20, 2)
CHANNELS = 20
_HEIGHTS = ((HEIGHT_CREASE, CREASE), (HEIGHT_NAIL, NAIL), (HEIGHT_VEIN, VEIN_A), (HEIGHT_GRAIN, GRAIN))

_TEXEL_M = 0.0007
_X_M, _Z_M = (-0.125, 0.345), (-0.085, 0.115)


@dataclass(frozen=True)
class SkinAtlas:
    """maps (2 * H * W, CHANNELS): back first, then palm, rows along z, columns along x."""

    maps: Tensor
    height: int
    width: int

    def to(self, device: torch.device | str) -> "SkinAtlas":
        """The same atlas on another device."""
        return SkinAtlas(self.maps.to(device), self.height, self.width)

    def look_up(self, x_m: Tensor, z_m: Tensor, back: Tensor) -> Tensor:
        """Maps (CHANNELS, N) at rest positions x, z (N,) on the back (N,) bool or the palm; nearest texel."""
        column = ((x_m - _X_M[0]) / _TEXEL_M).long().clamp(0, self.width - 1)
        row = ((z_m - _Z_M[0]) / _TEXEL_M).long().clamp(0, self.height - 1)
        layer = (~back).long() * (self.height * self.width)
        return self.maps.index_select(0, layer + row * self.width + column).T.contiguous()


@lru_cache(maxsize=4)
def draw_skin_atlas(model: HandModel) -> SkinAtlas:
    """The atlas of a model's right hand (the left one is its mirror image)."""
    joints_m = model.rest_joints_m[RIGHT].float()
    tips_m = model.template_m[RIGHT, model.tip_vertices[RIGHT]].float()
    fingers = _fingers(joints_m, tips_m)
    x = torch.arange(*_X_M, _TEXEL_M)
    z = torch.arange(*_Z_M, _TEXEL_M)
    place = torch.stack(torch.meshgrid(x, z, indexing="xy"), -1)
    generator = torch.Generator().manual_seed(7)
    maps = torch.zeros(2, len(z), len(x), CHANNELS)
    for layer in (BACK, PALM):
        maps[layer, ..., RED] = _redness(place, fingers, layer)
        for channel, cell_m in ((BLOTCH, 0.03), (MOTTLE, 0.009), (GRAIN, 0.0016)):
            maps[layer, ..., channel] = _noise(place.shape[:2], cell_m, cell_m, generator)
        maps[layer, ..., SPECKLE] = (_noise(place.shape[:2], 0.004, 0.004, generator) - 1.6).clamp(0, 1)
    maps[BACK, ..., CREASE] = _knuckle_wrinkles(place, fingers)
    maps[PALM, ..., CREASE] = torch.maximum(_finger_creases(place, fingers), _palm_creases(place, joints_m))
    maps[BACK, ..., NAIL], maps[BACK, ..., NAIL_EDGE] = _nails(place, fingers)
    for channel in (VEIN_A, VEIN_B):
        maps[BACK, ..., channel] = _veins(place, joints_m, generator)
        maps[PALM, ..., channel] = _wrist_veins(place, joints_m, generator)
    for height, channel in _HEIGHTS:
        maps[..., height : height + 2] = _slopes(maps[..., channel])
    maps[BACK, ..., HEIGHT_TENDON : HEIGHT_TENDON + 2] = _slopes(_tendons(place, joints_m)[None])[0]
    return SkinAtlas(maps.flatten(0, 2).contiguous(), len(z), len(x))


@dataclass(frozen=True)
class _Finger:
    """One finger at rest in the x, z plane: joints (4, 2) from knuckle (thumb: root) to tip."""

    joints: Tensor
    is_thumb: bool

    def along(self, place: Tensor, bone: int, share: float) -> tuple[Tensor, Tensor]:
        """Distances of positions along and across the bone, from a point at a share of its length."""
        start, end = self.joints[bone], self.joints[bone + 1]
        direction = F.normalize(end - start, dim=0)
        across = torch.stack([-direction[1], direction[0]])
        relative = place - (start + share * (end - start))
        return relative @ direction, relative @ across


def _fingers(joints_m: Tensor, tips_m: Tensor) -> list[_Finger]:
    chains = []
    for first, tip in ((1, 1), (4, 2), (7, 4), (10, 3), (13, 0)):
        chain = torch.cat([joints_m[first : first + 3], tips_m[tip : tip + 1]])
        chains.append(_Finger(chain[:, [0, 2]], first == 13))
    return chains


def _bump(distance: Tensor, width_m: float) -> Tensor:
    return torch.exp(-(distance / width_m).square())


def _inside(distance: Tensor, half_m: float, soft_m: float = 0.002) -> Tensor:
    return torch.sigmoid((half_m - distance.abs()) / soft_m * 4)


def _finger_creases(place: Tensor, fingers: list[_Finger]) -> Tensor:
    """Flexion creases of the palm side: one at the finger's root, two at the middle joint, one at the end."""
    lines = torch.zeros(place.shape[:2])
    for finger in fingers:
        marks = ((0, 0.5, 0.7), (1, -0.03, 1.0), (1, 0.05, 0.7), (2, 0.0, 0.9))
        for bone, share, strength in marks[1:] if finger.is_thumb else marks:
            along, across = finger.along(place, bone, share)
            bowed = along + across.square() * 12
            line = strength * _bump(bowed, 0.0007) * _inside(across, 0.009)
            lines = torch.maximum(lines, line)
    return lines


def _palm_creases(place: Tensor, joints_m: Tensor) -> Tensor:
    """Heart, head and life line, and two across the wrist."""
    wrist, index, middle, pinky, ring = (joints_m[j, [0, 2]] for j in (0, 1, 4, 7, 10))
    ulnar, radial = pinky + 0.28 * (wrist - pinky), index + 0.22 * (wrist - index)
    ulnar = ulnar + 0.18 * (pinky - index)
    radial = radial + 0.18 * (index - pinky)
    heart = (ulnar, ring + 0.30 * (wrist - ring), (index + middle) / 2 + 0.02 * (wrist - middle))
    head = (radial, (index + pinky) / 2 + 0.38 * (wrist - middle), pinky + 0.55 * (wrist - pinky))
    life = (radial, middle + 0.55 * (wrist - middle), wrist + 0.12 * (index - wrist))
    lines = torch.zeros(place.shape[:2])
    for curve, width_m in ((heart, 0.0009), (head, 0.0009), (life, 0.0010)):
        lines = torch.maximum(lines, 0.9 * _bump(_curve_distance(place, *curve), width_m))
    across = place[..., 1] - wrist[1]
    for behind_m in (0.004, 0.010):
        bowed = place[..., 0] - wrist[0] - behind_m + across.square() * 3
        lines = torch.maximum(lines, 0.6 * _bump(bowed, 0.0008) * _inside(across, 0.026))
    return lines


def _curve_distance(place: Tensor, start: Tensor, control: Tensor, end: Tensor) -> Tensor:
    """Distance of places to a quadratic Bezier curve, by 40 points on it."""
    t = torch.linspace(0, 1, 40)[:, None]
    curve = (1 - t).square() * start + 2 * t * (1 - t) * control + t.square() * end
    return torch.cdist(place.flatten(0, 1), curve).amin(1).view(place.shape[:2])


def _knuckle_wrinkles(place: Tensor, fingers: list[_Finger]) -> Tensor:
    """Short arcs across the back of the middle and end joints."""
    lines = torch.zeros(place.shape[:2])
    for finger in fingers:
        for bone, spread in ((1, (-2.4, -1.2, 0.0, 1.2, 2.5)), (2, (-1.1, 0.0, 1.1))):
            for number, offset in enumerate(spread):
                along, across = finger.along(place, bone, 0.0)
                bow = 10.0 if offset > 0 else -10.0
                bowed = along - 0.0014 * offset + across.square() * bow
                strength = (0.9, 0.6, 1.0, 0.55, 0.8)[number]
                line = strength * _bump(bowed, 0.00055) * _inside(across, 0.0055, 0.004)
                lines = torch.maximum(lines, line)
    return lines


def _nails(place: Tensor, fingers: list[_Finger]) -> tuple[Tensor, Tensor]:
    """Nails, and on them the white free edge less the dark line of the cuticle (1 white, -1 dark)."""
    nails, edges = torch.zeros(place.shape[:2]), torch.zeros(place.shape[:2])
    for number, finger in enumerate(fingers):
        half_length, half_width = (0.0062, 0.0048) if number != 2 else (0.0052, 0.0040)
        back_m, aside_m = 0.0062, 0.0
        if finger.is_thumb:
            half_length, half_width, back_m, aside_m = 0.0075, 0.0055, 0.0075, 0.0035
        along, across = finger.along(place, 2, 1.0)
        along, across = along + back_m, across + aside_m
        power = 3.0 if not finger.is_thumb else 2.6
        size = ((along / half_length).abs() ** power + (across / half_width).abs() ** power) ** (1 / power)
        nail = torch.sigmoid((1 - size) * 14)
        white = torch.sigmoid((along - 0.66 * half_length) / 0.0004)
        cuticle = _bump(size - 1.0, 0.10) * (along < 0.5 * half_length)
        nails = torch.maximum(nails, nail)
        edges = edges + nail * white - cuticle
    return nails, edges.clamp(-1, 1)


def _redness(place: Tensor, fingers: list[_Finger], layer: int) -> Tensor:
    """Fingertips on both sides, knuckles on the back, the pads and the heel on the palm."""
    red = torch.zeros(place.shape[:2])
    for finger in fingers:
        red = torch.maximum(red, 0.8 * _bump((place - finger.joints[3]).norm(dim=-1), 0.013))
        for joint in (0, 1, 2):
            width, strength = ((0.011, 0.9), (0.008, 1.0), (0.006, 0.7))[joint]
            if layer == PALM:
                width, strength = 0.010, 0.35
            red = torch.maximum(red, strength * _bump((place - finger.joints[joint]).norm(dim=-1), width))
    return red


def _veins(place: Tensor, joints_m: Tensor, generator: torch.Generator) -> Tensor:
    """A net of veins on the back of hand and forearm, stretched along it; none on the fingers."""
    net = _noise(place.shape[:2], 0.034, 0.013, generator)
    knuckles = joints_m[[1, 4, 7, 10], 0].mean()
    region = torch.sigmoid((place[..., 0] - knuckles - 0.006) / 0.004)
    return torch.exp(-(net / 0.13).square()) * region


def _wrist_veins(place: Tensor, joints_m: Tensor, generator: torch.Generator) -> Tensor:
    net = _noise(place.shape[:2], 0.05, 0.012, generator)
    region = torch.sigmoid((place[..., 0] - joints_m[0, 0] + 0.012) / 0.006)
    return 0.7 * torch.exp(-(net / 0.12).square()) * region


def _tendons(place: Tensor, joints_m: Tensor) -> Tensor:
    """Ridges from the wrist to the four knuckles."""
    height = torch.zeros(place.shape[:2])
    wrist = joints_m[0, [0, 2]]
    for knuckle in (1, 4, 7, 10):
        end = joints_m[knuckle, [0, 2]]
        direction = F.normalize(end - wrist, dim=0)
        relative = place - wrist
        along = relative @ direction / (end - wrist).norm()
        across = relative @ torch.stack([-direction[1], direction[0]])
        ridge = _bump(across, 0.0028) * torch.sigmoid((along - 0.3) * 12) * torch.sigmoid((1.02 - along) * 16)
        height = height + ridge
    return height


def _noise(shape: torch.Size, cell_x_m: float, cell_z_m: float, generator: torch.Generator) -> Tensor:
    """Smooth noise (H, W) of unit variance, cells of the given size along x and z."""
    rows = max(int(shape[0] * _TEXEL_M / cell_z_m), 2)
    columns = max(int(shape[1] * _TEXEL_M / cell_x_m), 2)
    cells = torch.randn(1, 1, rows, columns, generator=generator)
    noise = F.interpolate(cells, size=tuple(shape), mode="bicubic", align_corners=False)[0, 0]
    return noise / noise.std()


def _slopes(height: Tensor) -> Tensor:
    """Change of a map (L, H, W) of unit height per metre along x and z: (L, H, W, 2)."""
    across, along = torch.gradient(height, spacing=_TEXEL_M, dim=(1, 2))
    return torch.stack([along, across], -1)
