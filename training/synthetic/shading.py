# SPDX-License-Identifier: GPL-3.0-or-later
"""Lighting of skin, cloth and things: three lights with one cast shadow, sky and ground, highlights, subsurface glow.

Lambert's law with light wrapped past the edge of the lit side, more so in red, imitates scattering under the skin;
Blinn-Phong's highlight imitates its gloss. Colours are linear.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from training.synthetic import skin_atlas as atlas
from training.synthetic.meshes import PART_THING
from training.synthetic.randomness import Randomness
from training.synthetic.raster import inverse_depth_of, rasterise
from training.synthetic.settings import Settings
from training.synthetic.skin import Appearance
from training.synthetic.skin_atlas import SkinAtlas
from training.synthetic.surface import Surface, unit

_SHADOW_PX = 176
_LIFT_M = 0.0035  # along the normal, so that a face does not shadow itself


@dataclass(frozen=True)
class Lights:
    """The lights of B pictures; the first casts the shadow.

    towards (B, 3, 3): unit directions to the lights; colour (B, 3, 3); wrap (B,): how far light on skin reaches past
    the edge. sky, ground (B, 3): light from above and below. shadow (B,): darkness, 0 none; softness_px (B,) of its
    edge on the shadow map. exposure (B,).
    """

    towards: Tensor
    colour: Tensor
    wrap: Tensor
    sky: Tensor
    ground: Tensor
    shadow: Tensor
    softness_px: Tensor
    exposure: Tensor

    def to(self, device: torch.device | str) -> "Lights":
        """The same lights on another device."""
        return Lights(**{name: value.to(device) for name, value in vars(self).items()})


@dataclass(frozen=True)
class ShadowMap:
    """Orthographic view from the first light: basis (B, 3, 3), origin (B, 2) and scale (B,) to its pixels.

    height_m (B, P, P): how near the light the surface comes, -1 where there is none.
    """

    basis: Tensor
    origin: Tensor
    scale: Tensor
    height_m: Tensor


def draw_lights(random: Randomness, settings: Settings) -> Lights:
    """The lights of each picture: mostly above and in front of the hands, sometimes anywhere."""
    towards = random.normal("light", 3, 3)
    before = -towards[..., 2].abs() * random.uniform("light before", 3, low=0.3, high=1.5)
    towards = torch.cat([towards[..., :2], before[..., None]], -1)
    lamp = torch.stack(
        [
            random.normal("lamp x", std=0.7),
            -torch.ones(random.batch),
            -random.uniform("lamp z", low=0.1, high=1.4),
        ],
        -1,
    )
    above = random.chance("lamp above", 0.6)[:, None]
    towards = torch.cat([torch.where(above, lamp, towards[:, 0])[:, None], towards[:, 1:]], 1)
    warm = random.normal("warmth")[:, None] * torch.tensor([0.10, 0.0, -0.14])
    white = 1 + warm + torch.tensor([0.0, 0.03, 0.0]) * random.normal("tint", 1)
    power = torch.tensor([[0.45, 0.0, 0.0], [1.25, 0.5, 0.3]])
    power = power[0] + (power[1] - power[0]) * random.uniform("light power", 3)
    colour = power[..., None] * white[:, None] * (1 + random.normal("light colour", 3, 3, std=0.06))
    ambient = random.uniform("ambient", 1, low=0.10, high=0.55)
    sky = ambient * white * (1 + random.normal("sky colour", 3, std=0.05))
    ground = (
        ambient * random.uniform("ground", 1, low=0.3) * (1 + random.normal("ground colour", 3, std=0.06))
    )
    dark = random.chance("dark", 0.2)
    exposure = torch.where(
        dark,
        random.uniform("dark exposure", low=0.10, high=0.7),
        random.uniform("exposure", low=0.7, high=1.25),
    )
    return Lights(
        towards=F.normalize(towards, dim=-1),
        colour=colour.clamp(0),
        wrap=random.uniform("wrap", low=0.05, high=0.35),
        sky=sky.clamp(0),
        ground=ground.clamp(0),
        shadow=random.uniform("shadow", low=0.5) * random.chance("casts shadow", settings.shadows),
        softness_px=random.uniform("shadow softness", low=0.5, high=3.0),
        exposure=exposure,
    )


def draw_shadow_map(
    lights: Lights, vertices_m: Tensor, faces: Tensor, shown: Tensor, focus: Tensor
) -> ShadowMap:
    """The first light's shadow map.

    vertices_m (B, V, 3); shown (B, V): those that exist; focus (V,) bool: the vertices that the map must contain (the
    hands: of long arms only the part near them matters).
    """
    towards = lights.towards[:, 0]
    helper = torch.where(
        towards[:, 2:].abs() < 0.9, towards.new_tensor([0.0, 0, 1]), towards.new_tensor([1.0, 0, 0])
    )
    right = F.normalize(torch.linalg.cross(towards, helper, dim=-1), dim=-1)
    basis = torch.stack([right, torch.linalg.cross(towards, right, dim=-1), towards], 1)
    seen = vertices_m @ basis.mT
    held = (shown & focus)[..., None]
    low = torch.where(held, seen[..., :2], torch.inf).amin(1).clamp(max=1e3) - 0.01
    high = torch.where(held, seen[..., :2], -torch.inf).amax(1).clamp(min=-1e3) + 0.01
    scale = _SHADOW_PX / (high - low).amax(1).clamp(min=0.05)
    xy = (seen[..., :2] - low[:, None]) * scale[:, None, None]
    # The rasteriser takes positive depths; nothing is farther than 5 m from the camera.
    height = torch.where(shown, seen[..., 2] + 5, 0)
    keys = rasterise(torch.cat([xy, height[..., None]], -1), faces, _SHADOW_PX, _SHADOW_PX, cull=False)
    return ShadowMap(basis, low, scale, inverse_depth_of(keys) - 5)


def shade(
    surface: Surface, appearance: Appearance, lights: Lights, shadow: ShadowMap, skin: SkinAtlas
) -> Tensor:
    """Linear RGB (3, N) of the surface's samples."""
    material = _material(surface, appearance, skin)
    picture, normal = surface.picture, material.normal
    to_eye = -unit(surface.place_m)
    sky, ground = _of(lights.sky, picture), _of(lights.ground, picture)
    light = torch.lerp(ground, sky, 0.5 - 0.5 * normal[1])
    shine = torch.zeros_like(light)
    sunlit = _sunlit(surface, lights, shadow)
    # Red light travels farthest under the skin.
    wrap = _of(lights.wrap, picture) * material.is_skin * light.new_tensor([[1.7], [0.9], [0.7]]) + 0.03
    towards = _of(lights.towards.flatten(1), picture).unflatten(0, (3, 3))
    colour = _of(lights.colour.flatten(1), picture).unflatten(0, (3, 3))
    for number in range(3):
        power = colour[number] * sunlit if number == 0 else colour[number]
        facing = (normal * towards[number]).sum(0)
        light = light + power * ((facing + wrap) / (1 + wrap)).clamp(0, 1)
        half = unit(towards[number] + to_eye)
        highlight = (normal * half).sum(0).clamp(min=1e-4).pow(material.gloss_size)
        shine = shine + power * (highlight * material.gloss * (facing > 0))
    grazing = (1 - (normal * to_eye).sum(0).clamp(0, 1)).square().square() * material.gloss
    shine = shine + sky * (0.7 * grazing)
    return (material.albedo * light + shine) * _of(lights.exposure, picture)


@dataclass(frozen=True)
class _Material:
    """albedo (3, N), bumped unit normal (3, N), gloss, its exponent and skinness (N,)."""

    albedo: Tensor
    normal: Tensor
    gloss: Tensor
    gloss_size: Tensor
    is_skin: Tensor


def _material(surface: Surface, appearance: Appearance, skin: SkinAtlas) -> _Material:
    picture, part = surface.picture, surface.part
    is_thing = part >= PART_THING
    sided = picture * 2 + part % 2
    x, facing = surface.rest_m[0], surface.rest_normal[1]
    maps = skin.look_up(x, surface.rest_m[2], facing > 0)
    # Details fade before the rim where the two maps meet; blotches and grain continue.
    flat = ((facing.abs() - 0.08) / 0.3).clamp(0, 1)
    details = torch.cat([maps[: atlas.BLOTCH] * flat, maps[atlas.BLOTCH : atlas.HEIGHT_CREASE]])
    palm = (0.5 - facing * 0.9).clamp(0, 1) * ((0.085 - x) / 0.04).clamp(0, 1)
    strengths = _of(appearance.strengths, picture)
    tint = appearance.directions.T @ (details.index_select(0, appearance.sources) * strengths) + palm * _of(
        appearance.palm, picture
    )
    albedo = _of(appearance.tone.flatten(0, 1), sided) * tint.clamp(-3, 1).exp()
    nail = details[atlas.NAIL]
    polish = _of(appearance.polish, picture)
    albedo = torch.lerp(albedo, polish[:3], nail * polish[3])
    gloss, gloss_size = _of(appearance.gloss, picture)
    gloss, gloss_size = gloss * (1 + 1.5 * nail) + 0.05 * nail, gloss_size * (1 + nail)

    # Cloth: folds and weave from the same noise maps, stripes around the arm.
    sleeved = x > _of(appearance.sleeve_from_m.flatten(), sided)
    waves, striped, rough = _of(appearance.weave, picture)
    pattern = torch.sin(x * waves) * striped + (maps[atlas.GRAIN] + maps[atlas.MOTTLE]) * rough
    band_from, band_to = _of(appearance.band.flatten(0, 1), sided)
    banded = (x > band_from) & (x < band_to) & ~sleeved
    cloth = _of(appearance.sleeve.flatten(0, 1), sided) * (1 + pattern.clamp(-0.9, 0.9))
    albedo = torch.where(sleeved, cloth, torch.where(banded, _of(appearance.band_colour, picture), albedo))
    gloss = torch.where(sleeved, 0.0, torch.where(banded, 0.12, gloss))

    is_skin = ~(sleeved | banded | is_thing)
    slopes = maps[atlas.HEIGHT_CREASE :].unflatten(0, (5, 2)) * _of(appearance.heights, picture)[:, None]
    slope = slopes.sum(0) * (flat * is_skin)
    normal = unit(surface.normal - slope[0] * surface.slope_u - slope[1] * surface.slope_v)

    numbered = picture * 2 + (part - PART_THING).clamp(0, 1)
    stripe = (torch.sin(surface.rest_m[2] * 14) > 0.3) * _of(appearance.thing_stripes.flatten(), numbered)
    albedo = torch.where(is_thing, _of(appearance.thing.flatten(0, 1), numbered) * (1 - stripe), albedo)
    return _Material(
        albedo=albedo,
        normal=normal,
        gloss=torch.where(is_thing, _of(appearance.thing_gloss.flatten(), numbered), gloss),
        gloss_size=torch.where(is_thing, 40.0, gloss_size),
        is_skin=is_skin.float(),
    )


def _sunlit(surface: Surface, lights: Lights, shadow: ShadowMap) -> Tensor:
    """(N,) how much of the first light arrives, from five samples of the shadow map."""
    picture = surface.picture
    refined = surface.place_m + _LIFT_M * surface.normal
    basis = _of(shadow.basis.flatten(1), picture).unflatten(0, (3, 3))
    across, down, height = ((basis[k] * refined).sum(0) for k in range(3))
    origin, scale = _of(shadow.origin, picture), _of(shadow.scale, picture)
    across, down = (across - origin[0]) * scale, (down - origin[1]) * scale
    height = height + 0.002
    flat_map = shadow.height_m.flatten()
    base = picture * (_SHADOW_PX * _SHADOW_PX)
    spread = _of(lights.softness_px, picture)
    lit = torch.zeros_like(height)
    for dx, dy in ((0.0, 0.0), (1.0, 0.4), (-0.4, 1.0), (-1.0, -0.4), (0.4, -1.0)):
        column = (across + dx * spread).clamp(0, _SHADOW_PX - 1).long()
        row = (down + dy * spread).clamp(0, _SHADOW_PX - 1).long()
        lit += flat_map.index_select(0, base + row * _SHADOW_PX + column) <= height
    return 1 - _of(lights.shadow, picture) * (1 - lit / 5)


def _of(values: Tensor, picture: Tensor) -> Tensor:
    """Each sample's value from its picture's (B, C) or (B,): (C, N) or (N,); for a single picture (C, 1) or (1,)."""
    if len(values) == 1:
        return values.T if values.dim() == 2 else values
    if values.dim() == 1:
        return values.index_select(0, picture)
    return values.T.contiguous().index_select(1, picture)
