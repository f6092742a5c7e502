# SPDX-License-Identifier: GPL-3.0-or-later
"""Smooth curves through keys, and a smooth upper bound of a curve: the motion of clips."""

import torch
from torch import Tensor
from torch.nn import functional as F

from inference_core.geometry.rotations import slerp


def through_keys(key_times_s: Tensor, keys: Tensor, time_s: Tensor) -> Tensor:
    """Values (T, ...) at times (T,) of the curve through keys (K, ...) at rising times (K,).

    It eases out of each key and into the next (quintic, as in the least jerky reach of an arm), so that every key is
    a short rest, and velocity and acceleration are continuous. Constant before and after the keys.
    """
    number, share = eased_share(key_times_s, time_s)
    return torch.lerp(keys[number], keys[number + 1], share.view(-1, *[1] * (keys.dim() - 1)))


def turns_through_keys(key_times_s: Tensor, keys: Tensor, time_s: Tensor) -> Tensor:
    """As through_keys, for rotation matrices (K, ..., 3, 3), along the shortest rotations."""
    number, share = eased_share(key_times_s, time_s)
    share = share.view(-1, *[1] * (keys.dim() - 3)).expand(-1, *keys.shape[1:-2])
    return slerp(keys[number], keys[number + 1], share)


def eased_share(key_times_s: Tensor, time_s: Tensor) -> tuple[Tensor, Tensor]:
    """Index (T,) of the key before each time, and the eased share (T,), 0..1, of the way to the next."""
    number = (torch.searchsorted(key_times_s, time_s, right=True) - 1).clamp(0, len(key_times_s) - 2)
    start, end = key_times_s[number], key_times_s[number + 1]
    x = ((time_s - start) / (end - start)).clamp(0, 1)
    return number, x**3 * (10 - 15 * x + 6 * x * x)


def smooth_upper_bound(values: Tensor, reach: int) -> Tensor:
    """A smooth curve (T,) that is nowhere below values (T,): the maximum over `reach` on either side, averaged.

    All averaged windows contain the place, so their maxima, and the average of these, are not below its value.
    """
    wide = F.pad(values[None, None], (2 * reach, 2 * reach), mode="replicate")
    highest = F.max_pool1d(wide, 2 * reach + 1, 1)
    window = torch.hann_window(2 * reach + 3, periodic=False, device=values.device)[1:-1]
    return F.conv1d(highest, (window / window.sum())[None, None])[0, 0]
