# SPDX-License-Identifier: GPL-3.0-or-later
"""Light on skin, cloth and things: three lights with one cast shadow, sky and ground, shine, skin's glow.

Lambert's law with light wrapped past the edge of the lit side, more so in red, stands for what scatters
under the skin; Blinn and Phong's highlight for its shine. Colours are linear.
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
from training.synthetic.skin import Looks
from training.synthetic.skin_atlas import SkinAtlas
from training.synthetic.surface import Surface

_SHADOW_PX = 176
_LIFT_M = 0.0035  # along the normal, so that a face does not shade itself


@dataclass(frozen=True)
class Lights:
    """Lights of B pictures, the first casts the shadow.

    towards (B, 3, 3): unit directions to the lights; colour (B, 3, 3); wrap (B,): how far skin's light
    reaches past the edge. sky, ground (B, 3): light from above and below. shadow (B,): how dark, 0 none;
    softness_px (B,) of its edge on the shadow map. exposure (B,).
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
    """Lights of each picture: mostly from above and before the hands, sometimes from anywhere."""
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
    power = torch.tensor([[0.55, 0.0, 0.0], [1.5, 0.55, 0.35]])
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
        random.uniform("dark exposure", low=0.25, high=0.7),
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
    """The map of the first light's shadows.

    vertices_m (B, V, 3); shown (B, V): those that exist; focus (V,) bool: the vertices it must hold (the
    hands: of long arms only what is near them matters).
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


def shade(surface: Surface, looks: Looks, lights: Lights, shadow: ShadowMap, skin: SkinAtlas) -> Tensor:
    """Linear RGB (N, 3) of the surface's samples."""
    albedo, normal, gloss, gloss_size, is_skin = _material(surface, looks, skin)
    picture = surface.picture
    to_eye = -F.normalize(surface.place_m, dim=-1)
    upward = 0.5 - 0.5 * normal[:, 1:2]
    light = torch.lerp(lights.ground[picture], lights.sky[picture], upward)
    shine = torch.zeros_like(albedo)
    sunlit = _sunlit(surface, lights, shadow)
    wrap = (lights.wrap[picture] * is_skin)[:, None] * light.new_tensor([1.7, 0.9, 0.7]) + 0.03
    towards, colour = lights.towards[picture], lights.colour[picture]
    for number in range(3):
        to_light = towards[:, number]
        power = colour[:, number] * sunlit[:, None] if number == 0 else colour[:, number]
        facing = (normal * to_light).sum(-1, keepdim=True)
        light = light + power * ((facing + wrap) / (1 + wrap)).clamp(0, 1)
        half = F.normalize(to_light + to_eye, dim=-1)
        highlight = (normal * half).sum(-1).clamp(min=0).pow(gloss_size) * gloss * (facing[:, 0] > 0)
        shine = shine + power * highlight[:, None]
    grazing = (1 - (normal * to_eye).sum(-1).clamp(0, 1)).pow(4) * gloss * 0.7
    shine = shine + lights.sky[picture] * grazing[:, None]
    return (albedo * light + shine) * lights.exposure[picture][:, None]


def _material(
    surface: Surface, looks: Looks, skin: SkinAtlas
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Albedo (N, 3), bumped normal (N, 3), gloss, its exponent and skinness (N,)."""
    picture, part = surface.picture, surface.part
    is_thing = part >= PART_THING
    side = part % 2
    x, z = surface.rest_m[:, 0], surface.rest_m[:, 2]
    facing = surface.rest_normal[:, 1]
    maps = skin.look_up(x, z, facing > 0)
    # Details end before the rim where the two maps meet; blotches and grain may run on.
    flat = ((facing.abs() - 0.08) / 0.3).clamp(0, 1)[:, None]
    details = torch.cat([maps[:, : atlas.BLOTCH] * flat, maps[:, atlas.BLOTCH : atlas.HEIGHT_CREASE]], 1)
    palm = (0.5 - facing * 0.9).clamp(0, 1) * ((0.085 - x) / 0.04).clamp(0, 1)
    tint = palm[:, None] * looks.palm[picture] + (details[:, None] @ looks.tints[picture])[:, 0]
    albedo = looks.tone[picture, side] * tint.clamp(-3, 1).exp()
    polish = looks.polish[picture]
    painted = (details[:, atlas.NAIL] * polish[:, 3])[:, None]
    albedo = torch.lerp(albedo, polish[:, :3], painted)
    nail = details[:, atlas.NAIL]
    skin_gloss = looks.gloss[picture]
    gloss, gloss_size = skin_gloss[:, 0] * (1 + 1.5 * nail) + 0.05 * nail, skin_gloss[:, 1] * (1 + nail)

    heights = looks.heights[picture]
    slope = (maps[:, atlas.HEIGHT_CREASE :].unflatten(1, (5, 2)) * heights[..., None]).sum(1) * flat
    # Cloth: folds and weave from the same noise maps, stripes round the arm.
    sleeved = x > looks.sleeve_from_m[picture, side]
    weave = looks.weave[picture]
    stripes = (
        torch.sin(x * weave[:, 0]) * weave[:, 1]
        + (maps[:, atlas.GRAIN] + maps[:, atlas.MOTTLE]) * weave[:, 2]
    )
    cloth = looks.sleeve[picture, side] * (1 + stripes.clamp(-0.9, 0.9))[:, None]
    band = looks.band[picture, side]
    banded = (x > band[:, 0]) & (x < band[:, 1]) & ~sleeved
    covered = sleeved | banded
    worn = torch.where(banded[:, None], looks.band_colour[picture], cloth)
    albedo = torch.where(covered[:, None], worn, albedo)
    slope = torch.where(covered[:, None], torch.zeros_like(slope), slope)
    normal = surface.normal - slope[:, :1] * surface.slope_u - slope[:, 1:] * surface.slope_v
    gloss = torch.where(covered, torch.where(banded, 0.12, 0.0), gloss)

    number = ((part - PART_THING).clamp(min=0)).clamp(max=1)
    stripe = torch.sin(surface.rest_m[:, 2] * 14) > 0.3
    thing = looks.thing[picture, number] * (1 - looks.thing_stripes[picture, number] * stripe)[:, None]
    albedo = torch.where(is_thing[:, None], thing, albedo)
    normal = torch.where(is_thing[:, None], surface.normal, normal)
    gloss = torch.where(is_thing, looks.thing_gloss[picture, number], gloss)
    gloss_size = torch.where(is_thing, 40.0, gloss_size)
    is_skin = (~is_thing & ~covered).float()
    return albedo, F.normalize(normal, dim=-1), gloss, gloss_size, is_skin


def _sunlit(surface: Surface, lights: Lights, shadow: ShadowMap) -> Tensor:
    """(N,) how much of the first light arrives, by five looks into the shadow map."""
    picture = surface.picture
    lifted = surface.place_m + _LIFT_M * surface.normal
    seen = (shadow.basis[picture] @ lifted[..., None])[..., 0]
    at = (seen[:, :2] - shadow.origin[picture]) * shadow.scale[picture][:, None]
    flat_map = shadow.height_m.flatten()
    base = picture * (_SHADOW_PX * _SHADOW_PX)
    spread = lights.softness_px[picture]
    lit = torch.zeros_like(spread)
    for dx, dy in ((0.0, 0.0), (1.0, 0.4), (-0.4, 1.0), (-1.0, -0.4), (0.4, -1.0)):
        column = (at[:, 0] + dx * spread).long().clamp(0, _SHADOW_PX - 1)
        row = (at[:, 1] + dy * spread).long().clamp(0, _SHADOW_PX - 1)
        lit = lit + (flat_map[base + row * _SHADOW_PX + column] <= seen[:, 2] + 0.002).float()
    return 1 - lights.shadow[picture] * (1 - lit / 5)
