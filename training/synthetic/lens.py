# SPDX-License-Identifier: GPL-3.0-or-later
"""From light to file: contact shade, motion and focus blur, tone, sensor noise, JPEG."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from training.synthetic.randomness import Randomness
from training.synthetic.settings import Settings

_NOISE_PX = 512
_BLUR_TAPS = 4
_MOTION_TAPS = 5
# The luminance and chrominance tables of the JPEG standard's annex K.
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
)
_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


@dataclass(frozen=True)
class Lens:
    """How B pictures are taken.

    shade (B,): strength of contact shade. motion_px (B, 2): the hands' motion during the exposure; moving (M,): the
    pictures with motion. blur_px (B,): overall focus; noise (B,): its deviation, 0..1, and noise_scale (B,): 1 fine
    or 2 coarse. noise_at (B, 2): position in the noise field. contrast, gamma (B,); balance (B, 3); saturation (B,).
    jpeg (N,): pictures that pass through JPEG; quality (N,).
    """

    shade: Tensor
    motion_px: Tensor
    moving: Tensor
    blur_px: Tensor
    noise: Tensor
    noise_at: Tensor
    coarse: Tensor
    contrast: Tensor
    gamma: Tensor
    balance: Tensor
    saturation: Tensor
    jpeg: Tensor
    quality: Tensor

    def to(self, device: torch.device | str) -> "Lens":
        """The same lens on another device."""
        return Lens(**{name: value.to(device) for name, value in vars(self).items()})


def draw_lens(random: Randomness, settings: Settings) -> Lens:
    """How each picture is taken; with settings.clean, sharp, still and free of noise."""
    size = settings.size_px
    angle = random.uniform("motion angle", high=torch.pi)
    way = random.uniform("motion way", low=0.008, high=0.055) * size
    moves = random.chance("motion", 0.0 if settings.clean else settings.motion_blur)
    motion = torch.stack([angle.cos(), angle.sin()], -1) * (way * moves)[:, None]
    blur = random.uniform("focus", low=0.15, high=1.1) + random.chance("out of focus", 0.12) * random.uniform(
        "far out of focus", low=0.3, high=1.2
    )
    noise = random.uniform("noise", high=0.04).square() * 25 * random.chance("noisy", 0.75)
    packed = random.chance("jpeg", 0.0 if settings.clean else settings.jpeg).nonzero()[:, 0]
    grey = random.chance("grey", 0.06)
    still = 0.0 if settings.clean else 1.0
    return Lens(
        shade=random.uniform("contact shade", high=0.65),
        motion_px=motion,
        moving=moves.nonzero()[:, 0],
        blur_px=blur * still * size / 256,
        noise=noise * still,
        noise_at=random.integers("noise at", _NOISE_PX, 2),
        coarse=random.chance("coarse noise", 0.3),
        contrast=1 + random.normal("contrast", std=0.09 * still),
        gamma=torch.exp(random.normal("gamma", std=0.10 * still)),
        balance=1 + random.normal("balance", 3, std=0.03 * still),
        saturation=torch.where(grey, 0.0, 1 + random.normal("saturation", std=0.15)) * still + (1 - still),
        jpeg=packed,
        quality=random.uniform("quality", low=28, high=95)[packed],
    )


def contact_shade(layer: Tensor, depth_m: Tensor, strength: Tensor) -> Tensor:
    """A premultiplied layer (B, 4, H, W), darkened where nearer surfaces are close.

    depth_m (B, 1, H, W), multiplied by coverage. This is the ambient occlusion between hands, from the depth buffer
    at a quarter of the resolution.
    """
    cover = layer[:, 3:]
    small_depth, small_cover = F.avg_pool2d(depth_m, 4), F.avg_pool2d(cover, 4)
    around = F.avg_pool2d(small_depth, 7, 1, 3) / F.avg_pool2d(small_cover, 7, 1, 3).clamp(min=1e-4)
    behind = (small_depth / small_cover.clamp(min=1e-4) - around) * (small_cover > 0.02)
    dark = ((behind - 0.002) / 0.035).clamp(0, 1)
    dark = F.avg_pool2d(dark, 3, 1, 1)
    dark = F.interpolate(dark, size=tuple(cover.shape[-2:]), mode="bilinear", align_corners=False)
    return torch.cat([layer[:, :3] * (1 - strength[:, None, None, None] * dark), cover], 1)


def displayed(linear: Tensor) -> Tensor:
    """Display values 0..1 of linear light: highlights rolled off, then the usual gamma of 2.2."""
    # Linear below 0.7, then approaching 1: a film's shoulder instead of clipped white.
    over = (linear - 0.7).clamp(min=0)
    rolled = torch.where(linear > 0.7, 0.7 + 0.3 * (1 - torch.exp(-over / 0.3)), linear)
    return rolled.clamp(0, 1).pow(1 / 2.2)


def moved(layer: Tensor, lens: Lens) -> Tensor:
    """A layer (B, C, H, W), blurred along each moving picture's motion."""
    chosen = layer[lens.moving]
    if chosen.shape[0] == 0:
        return layer
    height, width = layer.shape[-2:]
    step = lens.motion_px[lens.moving] * layer.new_tensor([2 / width, 2 / height])
    theta = torch.eye(2, 3, device=layer.device).expand(len(chosen), 2, 3).clone()
    total = torch.zeros_like(chosen)
    for place in torch.linspace(-0.5, 0.5, _MOTION_TAPS).tolist():
        theta[:, :, 2] = step * place
        grid = F.affine_grid(theta, list(chosen.shape), align_corners=False)
        total += F.grid_sample(chosen, grid, align_corners=False, padding_mode="border")
    return layer.index_copy(0, lens.moving, total / _MOTION_TAPS)


def blurred(image: Tensor, sigma_px: Tensor) -> Tensor:
    """Images (B, C, H, W), blurred by Gaussians of deviations (B,) of at most 2 pixels."""
    reach = torch.arange(-_BLUR_TAPS, _BLUR_TAPS + 1, device=image.device)
    taps = torch.exp(-0.5 * (reach / sigma_px.clamp(min=0.05)[:, None]).square())
    taps = (taps / taps.sum(1, keepdim=True))[:, None, None, None, :]
    height, width = image.shape[-2:]
    wide = F.pad(image, (_BLUR_TAPS, _BLUR_TAPS, 0, 0), mode="replicate")
    rows = torch.zeros_like(image)
    for tap in range(len(reach)):
        rows.addcmul_(wide[..., tap : tap + width], taps[..., tap])
    tall = F.pad(rows, (0, 0, _BLUR_TAPS, _BLUR_TAPS), mode="replicate")
    columns = torch.zeros_like(image)
    for tap in range(len(reach)):
        columns.addcmul_(tall[..., tap : tap + height, :], taps[..., tap])
    return columns


def exposed(image: Tensor, lens: Lens) -> Tensor:
    """Images (B, 3, H, W), 0..1, with the lens's focus, tone and noise."""
    image = blurred(image, lens.blur_px)

    def per_picture(values: Tensor) -> Tensor:
        return values[:, None, None, None]

    grey = image.mean(1, keepdim=True)
    image = grey + (image - grey) * per_picture(lens.saturation)
    image = (image * lens.balance[:, :, None, None] - 0.5) * per_picture(lens.contrast) + 0.5
    image = image.clamp(0, 1).pow(per_picture(lens.gamma))
    return image + _noise(lens, image.shape[-2], image.shape[-1], image.device)


def compressed(image: Tensor, lens: Lens) -> Tensor:
    """Images (B, 3, H, W), 0..1, with those named by the lens passed through JPEG with halved colour resolution."""
    chosen = image[lens.jpeg]
    if chosen.shape[0] == 0:
        return image
    return image.index_copy(0, lens.jpeg, jpeg(chosen, lens.quality))


def jpeg(image: Tensor, quality: Tensor) -> Tensor:
    """Images (B, 3, H, W), 0..1, after JPEG of quality (B,) 1..100; H and W multiples of 16.

    The standard's quantisation (annex K) scaled as libjpeg scales it; entropy coding loses nothing.
    """
    device = image.device
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None, None] / 100
    ycc = torch.einsum("oc,bchw->bohw", torch.tensor(_YCC, device=device), image.clamp(0, 1) * 255)
    tables = [
        (torch.tensor(table, device=device) * scale + 0.5).floor().clamp(1, 255)
        for table in (_LUMINANCE, _CHROMINANCE)
    ]
    luma = _quantised(ycc[:, :1] - 128, tables[0]) + 128
    chroma = _quantised(F.avg_pool2d(ycc[:, 1:], 2), tables[1])
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    full = torch.cat([luma, chroma], 1)
    return torch.einsum("oc,bchw->bohw", torch.tensor(_RGB, device=device), full).div(255).clamp(0, 1)


def _quantised(plane: Tensor, table: Tensor) -> Tensor:
    """Planes (B, C, H, W) with their 8 x 8 cosine transforms rounded to multiples of tables (B, 8, 8)."""
    batch, channels, height, width = plane.shape
    basis = _cosines().to(plane.device)
    blocks = plane.view(batch, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    waves = basis @ blocks @ basis.T
    table = table[:, None, None, None]
    waves = (waves / table).round() * table
    return (basis.T @ waves @ basis).transpose(3, 4).reshape(batch, channels, height, width)


@lru_cache(maxsize=1)
def _cosines() -> Tensor:
    """(8, 8) orthonormal cosine transform, one wave per row."""
    place = torch.arange(8) + 0.5
    waves = torch.cos(torch.pi / 8 * place * torch.arange(8)[:, None]) / 2
    waves[0] /= 2**0.5
    return waves


def _noise(lens: Lens, height: int, width: int, device: torch.device) -> Tensor:
    field = noise_field(device)
    fine = _window(field, lens.noise_at, height, width)
    rough = _window(field, lens.noise_at, (height + 1) // 2, (width + 1) // 2)
    rough = F.interpolate(rough, size=(height, width), mode="bilinear", align_corners=False)
    noise = torch.where(lens.coarse[:, None, None, None], rough, fine)
    return noise * lens.noise[:, None, None, None]


@lru_cache(maxsize=4)
def noise_field(device: torch.device) -> Tensor:
    """(3, 512, 512) unit noise, partly shared by the colours, that wraps round; the same on every device."""
    generator = torch.Generator().manual_seed(11)
    noise = torch.randn(3, _NOISE_PX, _NOISE_PX, generator=generator)
    return (0.8 * noise + 0.6 * noise.roll(1, 0).mean(0, keepdim=True) * 3**0.5).to(device)


def _window(field: Tensor, at: Tensor, height: int, width: int) -> Tensor:
    """(B, 3, height, width) windows of the field, wrapped round, from corners (B, 2)."""
    rows = (at[:, :1] + torch.arange(height, device=field.device)) % _NOISE_PX
    columns = (at[:, 1:] + torch.arange(width, device=field.device)) % _NOISE_PX
    return field[:, rows[:, :, None], columns[:, None, :]].transpose(0, 1)
