# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices that torch finds on this machine, and the choice among them."""

import os
import sys
from pathlib import Path

from inference_core.shared.errors import RequestError
from inference_core.shared.messages import Device

# NVIDIA's, AMD's, and Windows' own to Linux.
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def found_devices() -> tuple[Device, ...]:
    """The available devices, best first. torch is imported only if the machine may have more than a CPU."""
    if not may_have_gpu():
        return ("cpu",)
    import torch

    devices: list[Device] = []
    if torch.cuda.is_available():
        devices.append("cuda")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return (*devices, "cpu")


def choose_device(wanted: Device) -> Device:
    """The wanted device, or for "auto" the best one. RequestError if it is not available."""
    if wanted == "cpu":
        return wanted
    devices = found_devices()
    if wanted == "auto":
        return devices[0]
    if wanted not in devices:
        raise RequestError(
            f"There is no device {wanted!r} for torch on this machine (found: {', '.join(devices)}). "
            "Choose one of these or 'auto', or install the torch that fits the graphics card."
        )
    return wanted


def may_have_gpu() -> bool:
    """Whether this is a Mac, or has the driver of a graphics card that torch can use."""
    if sys.platform == "linux":
        return any(Path(device).exists() for device in _GPU_DEVICES)
    if sys.platform == "win32":
        return (Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvcuda.dll").exists()
    return True
