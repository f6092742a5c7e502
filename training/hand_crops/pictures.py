# SPDX-License-Identifier: GPL-3.0-or-later
"""From a layer to a crop as taken by a camera and a tracker: background, focus, tone, noise, JPEG, and the cut.

One crop after another on the CPU: OpenCV's 8-bit operations are several times as fast as batches of floats.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.landmarks.formats import CROP_PX
from inference_core.shared.skeleton import LEFT
from training.hand_crops.layers import LAYER_PX, ROOM
from training.synthetic.background import procedural_bank
from training.synthetic.lens import noise_field
from training.synthetic.randomness import Randomness

# A crop's side in pixels of the picture that it is cut from, log-uniform; at the
# upper end a layer is not enlarged.
_SIDE_PX = (48.0, 420.0)
# Shares of crops: at the picture's border, whose last pixels are repeated beyond it;
# in motion; through JPEG; grey.
_AT_BORDER, _MOVING, _JPEG, _GREY = 0.12, 0.2, 0.45, 0.05
# A moving hand is smeared by up to this many pixels of its layer.
_FASTEST_PX = 36.0
# The share of backgrounds with the hue of skin, as faces and arms have, so that it does not tell of another hand.
_LIKE_SKIN, _SKIN_HUE = 0.15, (1.25, 0.9, 0.75)
_SHADE_CELL = 6
# Luma weights of RGB.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shots:
    """How N crops are taken, one row each, all drawn in advance.

    backgrounds: how many there are. side_px: of the crop in its picture. background (number), background_at
    (rotation, scale, flip, x, y), tint (3). shade: of contact. motion_px (2), of the layer; blur_px: of focus, in the
    picture. colour (3, 4): matrix on RGB 0..255 and offset; gamma. noise: deviation 0..255; noise_at (2); coarse.
    quality: of JPEG, 0 for none. border: the side of the layer beyond the picture's edge, 0 to 3, or -1; border_at:
    where that edge is, in layer sides.
    """

    backgrounds: int
    side_px: Floats
    background: NDArray[np.int64]
    background_at: Floats
    tint: Floats
    shade: Floats
    motion_px: Floats
    blur_px: Floats
    colour: Floats
    gamma: Floats
    noise: Floats
    noise_at: NDArray[np.int64]
    coarse: NDArray[np.bool_]
    quality: NDArray[np.int64]
    border: NDArray[np.int64]
    border_at: Floats


def draw_shots(random: Randomness, backgrounds: int) -> Shots:
    """How each crop is taken; random: one picture per crop."""
    low, high = np.log(_SIDE_PX)
    side_px = torch.exp(random.uniform("side px", low=low, high=high))
    turn = random.normal("background turn", std=0.3)
    at = torch.stack(
        [
            turn,
            random.uniform("background scale", low=0.3, high=0.9),
            torch.where(random.chance("background flip", 0.5), -1.0, 1.0),
            *random.uniform("background shift", 2, low=-1, high=1).unbind(1),
        ],
        1,
    )
    light = random.uniform("background light", 1, low=0.35, high=1.2)
    hue = torch.where(random.chance("background like skin", _LIKE_SKIN, 1), torch.tensor(_SKIN_HUE), 1.0)
    motion = random.uniform("motion way").square() * (_FASTEST_PX - 3) + 3
    motion = motion * random.chance("moves", _MOVING)
    angle = random.uniform("motion angle", high=torch.pi)
    blur = random.uniform("focus", low=0.3, high=1.1) + random.chance("out of focus", 0.1) * random.uniform(
        "far out of focus", low=0.3, high=1.3
    )
    noise = random.uniform("noise", high=1.0).square() * 12 * random.chance("noisy", 0.75)
    quality = random.uniform("quality", low=28, high=95) * random.chance("jpeg", _JPEG)
    border = torch.where(
        random.chance("at border", _AT_BORDER), random.integers("border", 4), -torch.ones_like(side_px).long()
    )
    return Shots(
        backgrounds=backgrounds,
        side_px=side_px.double().numpy(),
        background=random.integers("background", backgrounds).numpy(),
        background_at=at.double().numpy(),
        tint=(light * hue * (1 + random.normal("background tint", 3, std=0.06))).double().numpy(),
        shade=random.uniform("contact shade", high=0.65).double().numpy(),
        motion_px=(torch.stack([angle.cos(), angle.sin()], 1) * motion[:, None]).double().numpy(),
        blur_px=blur.double().numpy(),
        colour=_colour_matrices(random),
        gamma=torch.exp(random.normal("gamma", std=0.12)).double().numpy(),
        noise=noise.double().numpy(),
        noise_at=random.integers("noise at", 512, 2).numpy(),
        coarse=random.chance("coarse noise", 0.3).numpy(),
        quality=quality.round().long().numpy(),
        border=border.numpy(),
        border_at=random.uniform("border at", low=0.14, high=0.35).double().numpy(),
    )


def taken(
    rgba: Image,
    depth_m: NDArray[np.float32],
    window: Floats,
    square: Floats,
    shown: int,
    shots: Shots,
    n: int,
) -> Image:
    """Crop (CROP_PX, CROP_PX, 3) RGB of square (4,) as shot n of a layer (P, P, 4) around a window (4,)."""
    layer = _moved(_shaded(rgba, depth_m, float(shots.shade[n])), shots.motion_px[n])
    size = _picture_px(float(shots.side_px[n]))
    if size < LAYER_PX:
        layer = np.asarray(cv2.resize(layer, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
    picture = _before(_background(shots, n, size), layer)
    sigma = float(shots.blur_px[n])
    picture = cv2.GaussianBlur(picture, (0, 0), sigma) if sigma > 0.35 else picture
    picture = _toned(np.asarray(picture, np.uint8), shots, n)
    picture = _noisy(picture, shots, n)
    picture = _packed(picture, int(shots.quality[n]))
    picture = _ended(picture, int(shots.border[n]), float(shots.border_at[n]))
    matrix = _layer_to_crop(window, square, size)
    if shown == LEFT:
        matrix = np.stack([np.array([0, 0, CROP_PX - 1]) - matrix[0], matrix[1]])
    cut = cv2.warpAffine(
        picture, matrix, (CROP_PX, CROP_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(cut, np.uint8)


def _picture_px(side_px: float) -> int:
    """Side of the layer in pixels of the picture; divisible by 8."""
    return int(min(LAYER_PX, max(48, round(side_px * ROOM / 8) * 8)))


def _layer_to_crop(window: Floats, square: Floats, size: int) -> Floats:
    """(2, 3) from pixels of a layer of side `size` to those of the crop, both counted from pixel centres."""
    per_tangent, layer_per_tangent = CROP_PX / square[2], size / (ROOM * window[2])
    turn = window[3] - square[3]
    scale = per_tangent / layer_per_tangent
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    back = np.array([[np.cos(square[3]), np.sin(square[3])], [-np.sin(square[3]), np.cos(square[3])]])
    offset = per_tangent * back @ (window[:2] - square[:2]) + CROP_PX / 2 - linear @ np.full(2, size / 2)
    return np.concatenate([linear, (offset + linear @ np.full(2, 0.5) - 0.5)[:, None]], 1)


def _shaded(rgba: Image, depth_m: NDArray[np.float32], strength: float) -> Image:
    """The layer darkened where nearer surfaces are close, from the depth at a sixth of the resolution."""
    cells = (LAYER_PX // _SHADE_CELL, LAYER_PX // _SHADE_CELL)
    depth = cv2.resize(depth_m, cells, interpolation=cv2.INTER_AREA)
    cover = cv2.resize(rgba[..., 3], cells, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    around = cv2.blur(depth, (5, 5)) / np.maximum(cv2.blur(cover, (5, 5)), 1e-3)
    behind = (depth / np.maximum(cover, 1e-3) - around) * (cover > 0.05)
    dark = cv2.blur(np.clip((behind - 0.002) / 0.035, 0, 1), (3, 3)) * strength
    light = cv2.resize(
        (255 * (1 - dark)).astype(np.uint8), (LAYER_PX, LAYER_PX), interpolation=cv2.INTER_LINEAR
    )
    light = cv2.merge([light, light, light, np.full_like(light, 255)])
    return np.asarray(cv2.multiply(rgba, light, scale=1 / 255), np.uint8)


def _moved(layer: Image, motion_px: Floats) -> Image:
    """The layer blurred along the hand's motion during the exposure."""
    reach = int(np.ceil(np.abs(motion_px).max() / 2))
    if reach == 0:
        return layer
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for place in np.linspace(-0.5, 0.5, 4 * reach + 1):
        x, y = np.round(motion_px * place).astype(int) + reach
        kernel[y, x] += 1
    return np.asarray(cv2.filter2D(layer, -1, kernel / kernel.sum()), np.uint8)


def _background(shots: Shots, n: int, size: int) -> Image:
    """(size, size, 3) cut from the bank, rotated, scaled, mirrored and tinted."""
    picture = _bank(shots.backgrounds)[shots.background[n]]
    turn, scale, flip, x, y = shots.background_at[n]
    full = picture.shape[0]
    step = scale * full / size
    linear = step * np.array([[np.cos(turn) * flip, -np.sin(turn)], [np.sin(turn) * flip, np.cos(turn)]])
    free = max(0.0, 1 - 1.2 * scale) / 2
    middle = full / 2 + free * full * np.array([x, y])
    matrix = np.concatenate([linear, (middle - linear @ np.full(2, size / 2))[:, None]], 1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cut = cv2.warpAffine(picture, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(cv2.multiply(cut, np.append(shots.tint[n], 0.0)), np.uint8)


def _before(background: Image, layer: Image) -> Image:
    """The layer, whose colours are multiplied by coverage, over a background."""
    rest = cv2.cvtColor(255 - layer[..., 3], cv2.COLOR_GRAY2RGB)
    return np.asarray(
        cv2.add(np.ascontiguousarray(layer[..., :3]), cv2.multiply(background, rest, scale=1 / 255)), np.uint8
    )


def _toned(picture: Image, shots: Shots, n: int) -> Image:
    matrix = shots.colour[n].astype(np.float32)
    picture = np.asarray(cv2.transform(picture, matrix), np.uint8)
    table = (255 * (np.arange(256) / 255) ** shots.gamma[n]).round().astype(np.uint8)
    return np.asarray(cv2.LUT(picture, table), np.uint8)


def _noisy(picture: Image, shots: Shots, n: int) -> Image:
    if shots.noise[n] < 0.3:
        return picture
    size = picture.shape[0]
    x, y = shots.noise_at[n]
    if shots.coarse[n]:
        small = _noise()[y : y + (size + 1) // 2, x : x + (size + 1) // 2]
        noise = cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)
    else:
        noise = _noise()[y : y + size, x : x + size]
    return np.asarray(
        cv2.scaleAdd(noise, float(shots.noise[n]), picture.astype(np.float32)).clip(0, 255), np.uint8
    )


def _packed(picture: Image, quality: int) -> Image:
    if quality == 0:
        return picture
    _, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)


def _ended(picture: Image, border: int, at: float) -> Image:
    """The picture cut off at one side, its last pixels repeated as by `landmarks.crop_squares.cut`."""
    if border < 0:
        return picture
    turned = np.rot90(picture, border).copy()
    last = int(turned.shape[0] * (0.5 + at))
    turned[last:] = turned[last - 1]
    return np.ascontiguousarray(np.rot90(turned, -border))


def _colour_matrices(random: Randomness) -> Floats:
    """(N, 3, 4) saturation, balance and contrast of each picture, as one matrix on RGB 0..255."""
    saturation = torch.where(random.chance("grey", _GREY), 0.0, 1 + random.normal("saturation", std=0.2))
    balance = 1 + random.normal("balance", 3, std=0.06)
    contrast = 1 + random.normal("contrast", std=0.12)
    luma = torch.from_numpy(_LUMA).expand(3, 3)
    matrix = torch.lerp(luma, torch.eye(3), saturation[:, None, None])
    matrix = matrix * balance[:, :, None] * contrast[:, None, None]
    added = 127.5 * (1 - contrast)[:, None, None].expand(-1, 3, 1)
    return torch.cat([matrix, added], 2).double().numpy()


@lru_cache(maxsize=2)
def _bank(count: int) -> Image:
    """(count, P, P, 3) procedural backgrounds."""
    pictures = procedural_bank(0, int(count), torch.device("cpu")).pictures
    return np.ascontiguousarray(pictures.permute(0, 2, 3, 1).numpy())


@lru_cache(maxsize=1)
def _noise() -> NDArray[np.float32]:
    """(1024, 1024, 3) unit noise: four copies of the field, so that windows need not wrap around."""
    field = noise_field(torch.device("cpu")).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(np.tile(field, (2, 2, 1)), np.float32)
