# SPDX-License-Identifier: GPL-3.0-or-later
"""The appearance of each picture's hands: skin of some tone and age, nails, sleeves, watches; and things' colours."""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.synthetic import skin_atlas as atlas
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings

# Linear RGB albedo of skin from light to dark, after the Fitzpatrick scale.
TONES = torch.tensor(
    [
        [0.93, 0.72, 0.62],
        [0.88, 0.65, 0.54],
        [0.80, 0.56, 0.44],
        [0.68, 0.45, 0.33],
        [0.52, 0.33, 0.23],
        [0.36, 0.22, 0.15],
        [0.25, 0.15, 0.10],
    ]
).pow(1.6)
_REDDER = (0.10, -0.42, -0.36)
_BLUER = (-0.9, -0.25, -0.15)


@dataclass(frozen=True)
class _Tint:
    """How one colour map of the atlas may change log albedo: weakest and strongest, and in what share of pictures."""

    name: str
    source: int
    direction: tuple[float, float, float]
    low: float
    high: float
    share: float = 1.0


_TINTS = (
    _Tint("crease", atlas.CREASE, (-0.55, -0.85, -0.85), 0.0, 0.75),
    _Tint("nail", atlas.NAIL, (0.35, 0.25, 0.35), 0.05, 0.5),
    _Tint("nail edge", atlas.NAIL_EDGE, (0.8, 1.0, 1.0), 0.05, 0.45),
    _Tint("red", atlas.RED, _REDDER, -0.1, 0.75),
    _Tint("vein", atlas.VEIN_A, _BLUER, -0.05, 0.22),
    _Tint("other vein", atlas.VEIN_B, _BLUER, -0.05, 0.10),
    _Tint("blotch", atlas.BLOTCH, (1.0, 1.0, 1.0), 0.0, 0.10),
    _Tint("red blotch", atlas.BLOTCH, _REDDER, 0.0, 0.12),
    _Tint("mottle", atlas.MOTTLE, (1.0, 1.0, 1.0), 0.0, 0.05),
    _Tint("red mottle", atlas.MOTTLE, _REDDER, 0.0, 0.14),
    _Tint("freckle", atlas.SPECKLE, (-0.5, -0.8, -0.9), 0.0, 0.7, 0.3),
    _Tint("grain", atlas.GRAIN, (1.0, 1.0, 1.0), 0.0, 0.035),
)
_THINGS = 2


@dataclass(frozen=True)
class Appearance:
    """Appearance of B pictures; every field has B first.

    tone (B, 2, 3): albedo of the two hands. palm (B, 3): what the palm adds to log albedo. strengths (B, T):
    of tints; each multiplies the atlas's colour map sources (T,) and adds that much of its direction to log
    albedo: directions (T, 3); these two are the same for all pictures. heights (B, 5): of creases, nails,
    veins, tendons and grain, metres. polish (B, 4): colour and presence of nail polish. sleeve_from_m (B, 2):
    where along the rest arm cloth begins (inf: never); sleeve (B, 2, 3) its colour; sleeve_swell_m (B, 2);
    weave (B, 3): stripes' wave number per metre, their strength, roughness. band (B, 2, 2): from, to along
    the rest arm; band_colour (B, 3). gloss (B, 2): strength and exponent of the skin's shine. thing (B, 2,
    3): colour; thing_gloss (B, 2); thing_stripes (B, 2).
    """

    tone: Tensor
    palm: Tensor
    strengths: Tensor
    sources: Tensor
    directions: Tensor
    heights: Tensor
    polish: Tensor
    sleeve_from_m: Tensor
    sleeve: Tensor
    sleeve_swell_m: Tensor
    weave: Tensor
    band: Tensor
    band_colour: Tensor
    gloss: Tensor
    thing: Tensor
    thing_gloss: Tensor
    thing_stripes: Tensor

    def to(self, device: torch.device | str) -> "Appearance":
        """The same appearance on another device."""
        return Appearance(**{name: value.to(device) for name, value in vars(self).items()})


def draw_appearance(random: Randomness, settings: Settings) -> Appearance:
    """Appearance of each picture."""
    sleeved = random.chance("sleeves", settings.sleeves)
    rolled = random.uniform("sleeve from", 1, low=0.078, high=0.21) + random.normal(
        "sleeve pull", 2, std=0.012
    )
    band_from = random.uniform("band from", 1, low=0.075, high=0.115)
    wears = random.chance("band", 0.22, 2) & random.chance("any band", 0.5, 1)
    band_from = torch.where(wears, band_from, torch.inf)
    band_wide = random.uniform("band width", 1, low=0.004, high=0.026)
    polished = random.chance("polish", 0.14)[:, None]
    # Wet and soapy hands are as glossy as lacquer.
    wet = random.chance("wet", 0.12).float()
    return Appearance(
        tone=_skin_tone(random),
        palm=_palm_tint(random),
        strengths=torch.stack([_strength(random, number) for number in range(len(_TINTS))], 1),
        sources=torch.tensor([tint.source for tint in _TINTS]),
        directions=torch.tensor([tint.direction for tint in _TINTS]),
        heights=torch.tensor([-2.6e-4, 4.0e-4, 3.2e-4, 7.0e-4, 4.0e-5])
        * random.uniform("heights", 5, low=0.2, high=1.6),
        polish=torch.cat([_cloth_colour(random, "polish colour"), polished.float()], 1),
        sleeve_from_m=torch.where(sleeved[:, None], rolled, torch.inf),
        sleeve=_cloth_colour(random, "sleeve colour")[:, None]
        * random.uniform("sleeve fade", 2, 1, low=0.92),
        sleeve_swell_m=random.uniform("sleeve swell", 1, low=0.0015, high=0.010).expand(-1, 2),
        weave=torch.stack(
            [
                random.uniform("weave waves", low=60, high=900),
                random.uniform("weave strength", high=0.35) * random.chance("weave", 0.5),
                random.uniform("weave roughness", high=0.16),
            ],
            1,
        ),
        band=torch.stack([band_from, band_from + band_wide], -1),
        band_colour=_cloth_colour(random, "band colour"),
        gloss=torch.stack(
            [
                random.uniform("gloss", high=0.16) * random.chance("glossy", 0.85)
                + wet * random.uniform("wet gloss", low=0.2, high=0.7),
                random.uniform("gloss size", low=10, high=40)
                * (1 + wet * random.uniform("wet gloss size", high=1.5)),
            ],
            1,
        ),
        thing=torch.stack([_cloth_colour(random, f"thing colour {k}") for k in range(_THINGS)], 1),
        thing_gloss=random.uniform("thing gloss", _THINGS, high=0.6).square(),
        thing_stripes=random.uniform("thing stripes", _THINGS, high=0.7)
        * random.chance("striped", 0.35, _THINGS),
    )


def skin_tones(random: Randomness, name: str, *shape: int) -> Tensor:
    """Albedos (B, *shape, 3), light ones somewhat more frequent, with natural variation in hue."""
    last = len(TONES) - 1
    place = random.uniform(f"{name} tone", *shape).pow(1.25) * last
    low = place.long().clamp(max=last - 1)
    tone = torch.lerp(TONES[low], TONES[low + 1], (place - low)[..., None])
    return tone * random.uniform(f"{name} hue", *shape, 3, low=0.9, high=1.1)


def _skin_tone(random: Randomness) -> Tensor:
    one = skin_tones(random, "skin", 1)
    return (one * (1 + random.normal("skin sides", 2, 3, std=0.02))).clamp(0.01, 0.95)


def _palm_tint(random: Randomness) -> Tensor:
    """Palms are lighter, far more so on dark skin, and redder."""
    lighter = random.uniform("palm light", 1, low=0.02, high=0.22)
    place = random.uniform("skin tone", 1).pow(1.25)
    red = random.uniform("palm red", 1, high=0.16)
    return lighter * (1 + 2.2 * place) + red * torch.tensor([0.35, -0.55, -0.35])


def _cloth_colour(random: Randomness, name: str) -> Tensor:
    """(B, 3) linear albedo: grey or coloured, from black to white."""
    value = random.uniform(f"{name} value", 1, low=0.02, high=0.92).square()
    hue = random.uniform(f"{name} hue", 3, low=0.15, high=1.0)
    saturation = random.uniform(f"{name} saturation", 1) * random.chance(f"{name} coloured", 0.7, 1)
    colour = value * torch.lerp(torch.ones_like(hue), hue / hue.amax(1, keepdim=True), saturation)
    return colour.clamp(0.004, 0.9)


def _strength(random: Randomness, number: int) -> Tensor:
    tint = _TINTS[number]
    strength = random.uniform(f"tint {tint.name}", low=tint.low, high=tint.high)
    return strength * random.chance(f"tinted {tint.name}", tint.share)
