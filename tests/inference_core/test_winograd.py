# SPDX-License-Identifier: GPL-3.0-or-later
"""Winograd's convolution is the plain one."""

import pytest
import torch
from torch import nn

from inference_core.runtime.winograd import WinogradConv


@pytest.mark.parametrize("form", [(1, 3, 2, 2), (3, 5, 8, 8), (2, 4, 6, 10)])
@pytest.mark.parametrize("bias", [True, False])
def test_winograd_convolution_equals_plain_convolution(form: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    plain, image = nn.Conv2d(form[1], 7, 3, padding=1, bias=bias), torch.randn(form)
    with torch.no_grad():
        torch.testing.assert_close(WinogradConv(plain)(image), plain(image), atol=1e-5, rtol=1e-5)
