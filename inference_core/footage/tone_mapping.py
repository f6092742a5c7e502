# SPDX-License-Identifier: GPL-3.0-or-later
"""High dynamic range (PQ and HLG, BT.2100) converted to the sRGB pictures that everything else works on.

Code values become linear light by a table, relative to diffuse white (203 cd/m2, BT.2408); BT.2020's primaries become
sRGB's; highlights are compressed towards white rather than clipped.
"""

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Transfer = Literal["sdr", "pq", "hlg"]

_WHITE_NITS = 203.0
_HLG_PEAK_NITS, _HLG_GAMMA = 1000.0, 1.2
_CODES = 4096  # finer than the resolution of any footage
_LUMINANCE_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)
_SRGB_FROM_2020 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
# Up to here light is unchanged; the remaining range is shared by everything brighter.
_SHOULDER = 0.75


def to_srgb(codes: NDArray[np.uint16], transfer: Transfer) -> NDArray[np.uint8]:
    """sRGB (H, W, 3) of BT.2020 R'G'B' code values (H, W, 3) over the full range of 16 bits."""
    light = _light_table(transfer)[codes >> 4]
    if transfer == "hlg":
        luminance = light @ _LUMINANCE_2020
        light *= (luminance ** (_HLG_GAMMA - 1) * (_HLG_PEAK_NITS / _WHITE_NITS))[..., None]
    linear = np.maximum(light @ _SRGB_FROM_2020.T, 0)
    over = (linear - _SHOULDER) / (1 - _SHOULDER)
    linear = np.where(over > 0, _SHOULDER + (1 - _SHOULDER) * np.tanh(over), linear)
    return srgb_from_linear(linear)


def srgb_from_linear(linear: NDArray[np.float32]) -> NDArray[np.uint8]:
    """sRGB values 0..255 of linear ones (...), clipped to 0..1, by IEC 61966-2-1's curve; NaN becomes 0."""
    values = np.clip(np.nan_to_num(linear, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
    encoded = np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)
    return (encoded * 255 + 0.5).astype(np.uint8)


@cache
def _light_table(transfer: Transfer) -> NDArray[np.float32]:
    """Linear light of each code value: for PQ in units of diffuse white, for HLG scene light, 0..1."""
    code = np.linspace(0, 1, _CODES)
    if transfer == "pq":
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        root = code ** (1 / m2)
        nits = 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
        return (nits / _WHITE_NITS).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12).astype(np.float32)
