# SPDX-License-Identifier: GPL-3.0-or-later
"""Backgrounds: a bank of procedural pictures (rooms, cloth, people-like shapes, patterns), or a user's folder.

Pictures in the bank are larger than what is cut from them; every cut is placed, scaled, mirrored and tinted
differently, so that a small bank suffices.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.shared.errors import RequestError
from training.synthetic.lens import blurred, displayed
from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings
from training.synthetic.skin import skin_tones

BANK_PX = 288
_SHAPES = 9
_CHUNK = 32
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Bank:
    """pictures (N, 3, BANK_PX, BANK_PX) uint8, on the device that renders."""

    pictures: Tensor


@lru_cache(maxsize=4)
def procedural_bank(seed: int, count: int, device: torch.device) -> Bank:
    """`count` procedural backgrounds; equal for equal seeds."""
    parts = []
    for start in range(0, count, _CHUNK):
        index = torch.arange(start, min(start + _CHUNK, count))
        parts.append(_paint(Randomness(seed ^ 0x5BAC, index), device))
    return Bank(torch.cat(parts))


@lru_cache(maxsize=4)
def folder_bank(folder: Path, limit: int, device: torch.device) -> Bank:
    """Up to `limit` pictures from a folder and its subfolders, cropped to squares; unreadable ones are skipped.

    Raises RequestError if the folder holds no readable picture.
    """
    pictures = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in _PICTURE_SUFFIXES):
        if len(pictures) == limit:
            break
        image = _read(path)
        if image is not None:
            pictures.append(_square(image))
    if not pictures:
        raise RequestError(
            f"No readable picture in {folder}. Name a folder with JPEG or PNG pictures as background folder, "
            "or none to use generated backgrounds only."
        )
    return Bank(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous().to(device))


def cut_backgrounds(
    random: Randomness, settings: Settings, device: torch.device, size_px: tuple[int, int]
) -> Tensor:
    """Backgrounds (B, 3, H, W), display values 0..1, for each picture; size_px is W, H, W not less than H."""
    width, height = size_px
    bank = procedural_bank(random.seed, settings.backgrounds, device).pictures
    chosen = random.integers("background", settings.backgrounds)
    pictures = bank[chosen.to(device)]
    if settings.background_folder is not None:
        own = folder_bank(Path(settings.background_folder), 4096, device).pictures
        use = random.chance("own background", settings.folder_share)[:, None, None, None].to(device)
        number = random.integers("own background number", len(own)).to(device)
        pictures = torch.where(use, own[number], pictures)
    flat = height / width
    turn = random.normal("background turn", std=0.12)
    scale = random.uniform("background scale", low=0.35, high=0.95)
    flip = torch.where(random.chance("background flip", 0.5), -1.0, 1.0)
    free = (1 - scale * 1.2).clamp(min=0)
    shift = random.uniform("background shift", 2, low=-1, high=1) * free[:, None]
    theta = torch.stack(
        [
            torch.stack([scale * turn.cos() * flip, -scale * turn.sin() * flat, shift[:, 0]], -1),
            torch.stack([scale * turn.sin() * flip, scale * turn.cos() * flat, shift[:, 1]], -1),
        ],
        1,
    )
    grid = F.affine_grid(theta.to(device), [random.batch, 3, height, width], align_corners=False)
    image = F.grid_sample(pictures.float() / 255, grid, align_corners=False, padding_mode="reflection")
    light = random.uniform("background light", low=0.45, high=1.2)
    tint = light[:, None] * (1 + random.normal("background tint", 3, std=0.06))
    return (image * tint[:, :, None, None].to(device)).clamp(0, 1)


def _paint(random: Randomness, device: torch.device) -> Tensor:
    """(B, 3, P, P) uint8 procedural backgrounds."""
    grid = torch.linspace(-1, 1, BANK_PX, device=device)
    y, x = grid[:, None].expand(BANK_PX, BANK_PX), grid.expand(BANK_PX, BANK_PX)
    image = _gradient(random, x, y, device)
    image = image * _octaves(random, "texture", (2, 4, 9, 24, 72, 144), 0.55, device).exp()
    for number in range(_SHAPES):
        image = _shape(random, number, image, x, y, device)
    image = _person(random, image, x, y, device)
    sigma = (random.uniform("bank blur", low=-0.6, high=2.0)).clamp(min=0.05).to(device)
    return (blurred(displayed(image.clamp(0)), sigma) * 255).round().to(torch.uint8)


def _gradient(random: Randomness, x: Tensor, y: Tensor, device: torch.device) -> Tensor:
    angle = random.uniform("gradient angle", high=2 * torch.pi).to(device)[:, None, None]
    place = (0.5 + 0.35 * (x * angle.cos() + y * angle.sin()))[:, None].clamp(0, 1)
    first, second = _colour(random, "first colour"), _colour(random, "second colour")
    second = torch.where(random.chance("one colour", 0.5)[:, None], first * 0.8, second)
    first, second = (c.to(device)[:, :, None, None] for c in (first, second))
    return first + (second - first) * place


def _octaves(
    random: Randomness, name: str, cells: tuple[int, ...], strength: float, device: torch.device
) -> Tensor:
    """(B, 3, P, P) noise, partly coloured, a few octaves of random strength each."""
    coloured = random.uniform(f"{name} coloured", 1, 1, 1).pow(4).to(device)
    total = torch.zeros(random.batch, 3, BANK_PX, BANK_PX, device=device)
    for cell in cells:
        power = random.uniform(f"{name} power {cell}", 1, 1, 1).pow(3).to(device) * strength
        power = power * (0.45 if cell > 50 else 1)
        noise = random.normal(f"{name} noise {cell}", 4, cell, cell).to(device)
        noise = torch.lerp(noise[:, :1].expand(-1, 3, -1, -1), noise[:, 1:], coloured) * power
        total += F.interpolate(noise, size=(BANK_PX, BANK_PX), mode="bicubic", align_corners=False)
    return total


def _shape(
    random: Randomness, number: int, image: Tensor, x: Tensor, y: Tensor, device: torch.device
) -> Tensor:
    """One rotated box, ellipse or bar of a random (or skin) colour, with or without stripes."""

    def drawn(name: str, low: float, high: float) -> Tensor:
        return random.uniform(f"shape {number} {name}", low=low, high=high).to(device)[:, None, None]

    angle = drawn("angle", -0.25, 0.25)
    tilted = random.chance(f"shape {number} tilted", 0.35).to(device)[:, None, None]
    angle = torch.where(tilted, angle * 12, angle)
    dx, dy = x - drawn("x", -1.1, 1.1), y - drawn("y", -1.1, 1.1)
    along, across = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
    wide = drawn("wide", 0.0, 1.0).square() * 0.9 + 0.03
    tall = drawn("tall", 0.0, 1.0).square() * 0.9 + 0.03
    power = torch.where(random.chance(f"shape {number} round", 0.4), 2.0, 12.0).to(device)[:, None, None]
    size = ((along / wide).abs().clamp(max=4).pow(power) + (across / tall).abs().clamp(max=4).pow(power)).pow(
        1 / power
    )
    soft = torch.minimum(wide, tall) * drawn("edge", 1.5, 60.0)
    there = random.chance(f"shape {number} there", 0.6).to(device)[:, None, None]
    cover = (torch.sigmoid((1 - size) * soft * 20) * there)[:, None]
    colour = _colour(random, f"shape {number} colour")
    flesh = skin_tones(random, f"shape {number}") * random.uniform(
        f"shape {number} light", 1, low=0.3, high=1.1
    )
    colour = torch.where(random.chance(f"shape {number} flesh", 0.25)[:, None], flesh, colour)
    waves = torch.sin(along * drawn("waves", 8, 120)) * drawn("stripes", -0.5, 0.35).clamp(min=0)
    shaded = 1 + waves + 0.35 * (along / wide).clamp(-1, 1) * drawn("shading", -1, 1)
    # Broad shapes let some of the texture under them through: nothing in a room has a single flat colour.
    texture = (image / image.mean((2, 3), keepdim=True).clamp(min=1e-3)).clamp(0.3, 3).pow(0.4)
    paint = colour.to(device)[:, :, None, None] * shaded[:, None].clamp(min=0.05) * texture
    return torch.lerp(image, paint, cover)


def _person(random: Randomness, image: Tensor, x: Tensor, y: Tensor, device: torch.device) -> Tensor:
    """In about a third of the pictures a torso in folded cloth, often with a head above it."""

    def drawn(name: str, low: float, high: float) -> Tensor:
        return random.uniform(f"person {name}", low=low, high=high).to(device)[:, None, None]

    there = random.chance("person", 0.4).to(device)[:, None, None, None]
    middle, top, half = drawn("x", -0.7, 0.7), drawn("top", -0.7, 0.5), drawn("half", 0.35, 1.1)
    shoulder = top + 0.30 * half * ((x - middle) / half).square().clamp(max=1.5)
    body = torch.sigmoid((y - shoulder) * 40) * torch.sigmoid((half - (x - middle).abs()) * 30)
    folds = _octaves(random, "folds", (3, 7, 16, 40), 0.4, device)[:, :1]
    cloth = _colour(random, "person cloth").to(device)[:, :, None, None] * folds.exp()
    image = torch.lerp(image, cloth, body[:, None] * there)
    head = ((x - middle) / (0.36 * half)).square() + ((y - top + 0.42 * half) / (0.5 * half)).square()
    face = torch.sigmoid((1 - head) * 12)[:, None] * there
    lit = 1 + 0.35 * ((x - middle) / half).clamp(-1, 1) * drawn("lit", -1, 1)
    tone = (
        skin_tones(random, "person").to(device)[:, :, None, None]
        * lit[:, None]
        * drawn("light", 0.3, 0.9)[:, None]
    )
    has_head = random.chance("person head", 0.75).to(device)[:, None, None, None]
    image = torch.lerp(image, tone, face * has_head)
    hair = torch.sigmoid((top - 0.62 * half - y) * 30 / half)[:, None] * face * has_head
    dark = skin_tones(random, "person hair").to(device)[:, :, None, None] * 0.12
    return torch.lerp(image, dark, hair)


def _colour(random: Randomness, name: str) -> Tensor:
    """(B, 3) linear colours: mostly dull, from black to white."""
    value = random.uniform(f"{name} value", 1, low=0.03, high=1).square() * 0.95
    hue = random.uniform(f"{name} hue", 3, low=0.1)
    saturation = random.uniform(f"{name} saturation", 1).square()
    return value * torch.lerp(torch.ones_like(hue), hue / hue.amax(1, keepdim=True), saturation)


def _square(image: np.ndarray) -> np.ndarray:
    """The middle square of a BGR picture, as RGB of the bank's size."""
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[top : top + side, left : left + side, ::-1]
    return cv2.resize(np.ascontiguousarray(square), (BANK_PX, BANK_PX), interpolation=cv2.INTER_AREA)


def _read(path: Path) -> np.ndarray | None:
    """A BGR picture, or None if the file holds none: OpenCV returns that, whatever its stubs say."""
    return cv2.imread(str(path), cv2.IMREAD_COLOR)
