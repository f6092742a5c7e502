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
from inference_core.two_hand.engine import Engine, Precision, TorchEngine
from inference_core.two_hand.engine_choice import EngineFactory, cache_folder, fastest_engine, probe
from inference_core.two_hand.onnx_engine import (
    OnnxRuntimeEngine,
    OpenVinoEngine,
    export_onnx,
    export_openvino,
)
from inference_core.two_hand.weights import StoredNetwork

# Crops that are run at once. More than four are no faster on a processor and need more memory.
_BATCHES = {"cpu": 4, "cuda": 32, "mps": 8}
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
    network: StoredNetwork, hand: HandModel, device: torch.device, cache: Path | None = None
) -> Engine:
    """The engine that measured best. Where torch in float32 alone can run the network, nothing is measured."""
    offer = engine_offer(network, hand, device, cache)
    return fastest_engine(offer.factories, offer.key, probe(offer.batch), cache)


def engine_offer(
    network: StoredNetwork, hand: HandModel, device: torch.device, cache: Path | None = None
) -> EngineOffer:
    """torch in float32 first. A file is exported into `cache` when an engine that needs one is made the first time."""
    precisions = _CUDA_PRECISIONS if device.type == "cuda" else ("float32",)
    factories: dict[str, EngineFactory] = {
        f"torch {precision}": _torch_factory(network, hand, device, precision) for precision in precisions
    }
    batch = batch_of(device)
    others = device.type == "cpu" and bool(find_spec("onnxruntime") or find_spec("openvino"))
    digest = _digest(network, hand) if len(factories) > 1 or others else ""
    name = network.card.configuration.name
    if others:
        file = (cache_folder() if cache is None else cache) / f"{name}-{digest}-{batch}"
        factories |= _exported_factories(network, hand, file, batch)
    return EngineOffer(factories, batch, f"{name} {digest} {device.type}")


def batch_of(device: torch.device) -> int:
    """How many crops are run at once on a device."""
    return _BATCHES.get(device.type, 4)


def _torch_factory(
    network: StoredNetwork, hand: HandModel, device: torch.device, precision: Precision
) -> EngineFactory:
    return lambda: TorchEngine(network.load(), hand, device, precision=precision, vertices=False)


def _exported_factories(
    network: StoredNetwork, hand: HandModel, file: Path, batch: int
) -> dict[str, EngineFactory]:
    """OpenVINO where it is installed: as fast as ONNX Runtime, with half its memory. Else ONNX Runtime."""
    if find_spec("openvino") is not None:
        export, path = export_openvino, file.with_name(f"{file.name}.xml")
    else:
        export, path = export_onnx, file.with_name(f"{file.name}.onnx")
    if not path.is_file() and find_spec("onnx") is None:
        return {}

    def exported() -> Path:
        if not path.is_file():
            export(network.load(), hand, path, batch, vertices=False)
            _forget_others(path, network.card.configuration.name)
        return path

    if export is export_onnx:
        return {"ONNX Runtime": lambda: OnnxRuntimeEngine(exported())}
    return {
        "OpenVINO": lambda: OpenVinoEngine(exported(), half=False),
        "OpenVINO bfloat16": lambda: OpenVinoEngine(exported(), half=True),
    }


def _forget_others(path: Path, name: str) -> None:
    """Delete the files of this network's earlier weights."""
    for older in path.parent.glob(f"{name}-*"):
        if older.suffix in (".onnx", ".xml", ".bin") and older.stem != path.stem:
            older.unlink(missing_ok=True)


def _digest(network: StoredNetwork, hand: HandModel) -> str:
    """Of everything that an exported file holds."""
    digest = hashlib.sha256(f"{network.digest} {__version__} {torch.__version__}".encode())
    for value in vars(hand).values():
        if isinstance(value, Tensor):
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
