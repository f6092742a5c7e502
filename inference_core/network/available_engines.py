# SPDX-License-Identifier: GPL-3.0-or-later
"""The engines that can run a network here: torch always, ONNX Runtime and OpenVINO where they are installed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from inference_core import __version__
from inference_core.hand_model.hand import HandModel
from inference_core.network.dir import DirNetwork
from inference_core.network.engine import Engine, Precision, TorchEngine
from inference_core.network.engine_choice import EngineFactory, cache_folder, fastest_engine, probe
from inference_core.network.onnx_engine import OnnxRuntimeEngine, OpenVinoEngine, export_onnx

# Crops that are run at once.
_BATCHES = {"cpu": 8, "cuda": 32, "mps": 8}
# bfloat16 is as fast as float16 and eight times coarser: it fails where float16 may hold.
_CUDA_PRECISIONS: tuple[Precision, ...] = ("float32", "float16")


@dataclass(frozen=True)
class EngineOffer:
    """What can run one network with one hand model on one device, joints only. batch: crops at once; key: what
    is run.
    """

    factories: dict[str, EngineFactory]
    batch: int
    key: str


def chosen_engine(
    network: DirNetwork, hand: HandModel, device: torch.device, cache: Path | None = None
) -> Engine:
    """The engine that measured best. Where torch in float32 alone can run the network, nothing is measured."""
    offer = engine_offer(network, hand, device, cache)
    return fastest_engine(offer.factories, offer.key, probe(offer.batch), cache)


def engine_offer(
    network: DirNetwork, hand: HandModel, device: torch.device, cache: Path | None = None
) -> EngineOffer:
    """torch in float32 first. An ONNX file is written into `cache` when an engine that needs one is made."""
    precisions = _CUDA_PRECISIONS if device.type == "cuda" else ("float32",)
    factories: dict[str, EngineFactory] = {
        f"torch {precision}": _torch_factory(network, hand, device, precision) for precision in precisions
    }
    batch = batch_of(device)
    others = device.type == "cpu" and bool(find_spec("onnxruntime") or find_spec("openvino"))
    digest = _digest(network, hand) if len(factories) > 1 or others else ""
    if others:
        name = f"{network.configuration.name}-{digest}-{batch}.onnx"
        file = (cache_folder() if cache is None else cache) / name
        if file.is_file() or find_spec("onnx") is not None:
            factories |= _onnx_factories(network, hand, file, batch)
    return EngineOffer(factories, batch, f"{network.configuration.name} {digest} {device.type}")


def batch_of(device: torch.device) -> int:
    """How many crops are run at once on a device."""
    return _BATCHES.get(device.type, 8)


def _torch_factory(
    network: DirNetwork, hand: HandModel, device: torch.device, precision: Precision
) -> EngineFactory:
    return lambda: TorchEngine(network, hand, device, precision=precision, vertices=False)


def _onnx_factories(network: DirNetwork, hand: HandModel, file: Path, batch: int) -> dict[str, EngineFactory]:
    def exported() -> Path:
        if not file.is_file():
            export_onnx(network, hand, file, batch, vertices=False)
            for older in file.parent.glob(f"{network.configuration.name}-*.onnx"):
                if older != file:
                    older.unlink(missing_ok=True)
        return file

    factories: dict[str, EngineFactory] = {}
    if find_spec("onnxruntime") is not None:
        factories["ONNX Runtime"] = lambda: OnnxRuntimeEngine(exported())
    if find_spec("openvino") is not None:
        factories["OpenVINO"] = lambda: OpenVinoEngine(exported(), half=False)
        factories["OpenVINO bfloat16"] = lambda: OpenVinoEngine(exported(), half=True)
    return factories


def _digest(network: DirNetwork, hand: HandModel) -> str:
    """Of everything that an exported file holds."""
    digest = hashlib.sha256(f"{network.configuration} {__version__} {torch.__version__}".encode())
    hands = [value for value in vars(hand).values() if isinstance(value, Tensor)]
    for value in (*network.state_dict().values(), *hands):
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
