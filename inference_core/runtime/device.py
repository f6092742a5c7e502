# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices that torch finds on this machine, and the choice among them."""

import torch

from inference_core.shared.errors import RequestError
from inference_core.shared.messages import Device


def found_devices() -> tuple[Device, ...]:
    """The available devices, best first."""
    devices: list[Device] = []
    if torch.cuda.is_available():
        devices.append("cuda")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return (*devices, "cpu")


def choose_device(wanted: Device) -> torch.device:
    """The wanted device, or for "auto" the best one. RequestError if it is not available."""
    devices = found_devices()
    if wanted == "auto":
        return torch.device(devices[0])
    if wanted not in devices:
        raise RequestError(
            f"There is no device {wanted!r} for torch on this machine (found: {', '.join(devices)}). "
            "Choose one of these or 'auto', or install the torch that fits the graphics card."
        )
    return torch.device(wanted)
