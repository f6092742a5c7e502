# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole network with its hand model as one ONNX file, and the two runtimes that run it on a CPU.
 Writing the file needs the `onnx` package (see the exporter's environment in the Makefile), running it
`onnxruntime` or `openvino`. A file holds one batch size: shapes are constants in it, which both runtimes
turn into speed.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference_core.hand_model.hand import HandModel
from inference_core.shared.errors import RequestError, WeightsError
from inference_core.two_hand.batch_norm_fusion import folded
from inference_core.two_hand.configuration import CROP_PX
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.engine import HandEstimates, HandGraph, estimates, graph_inputs
from inference_core.two_hand.picture import check_picture
from inference_core.two_hand.records import Conditioning

INPUTS = (
    "image",
    "landmarks_uv",
    "landmark_score",
    "world_rel_m",
    "hand_score",
    "side_score",
    "focal_uv",
)
_OPSET = 17
_FIELDS = {field.name for field in dataclasses.fields(HandEstimates)}

Arrays = list[NDArray[np.float32]]


def export_onnx(network: DirNetwork, hand: HandModel, path: Path, batch: int, vertices: bool = True) -> None:
    """Writes network and hand model for pictures in batches of `batch`; the file appears whole or not at
    all.

    Raises RequestError where onnx is missing or the file cannot be written.
    """
    if find_spec("onnx") is None:
        raise RequestError("Exporting needs the onnx package: install Duohand's `engines` extra.")
    graph = HandGraph(folded(network, winograd=True).cpu(), hand.to("cpu"), vertices).eval()
    inputs = tuple(
        graph_inputs(torch.zeros(batch, 3, CROP_PX, CROP_PX), None, network.configuration.evidence)
    )
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with torch.no_grad(), warnings.catch_warnings():
            # Of the tracer: that constants become constants, and that this exporter will go some day.
            warnings.simplefilter("ignore")
            graph(*inputs)  # what the hand model computes once is then a constant of the graph
            torch.onnx.export(
                graph,
                inputs,
                str(part),
                dynamo=False,
                opset_version=_OPSET,
                input_names=list(INPUTS[: len(inputs)]),
                output_names=graph.outputs,
            )
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise RequestError(f"{path} cannot be written: {error.strerror or error}.") from error


def export_openvino(
    network: DirNetwork, hand: HandModel, path: Path, batch: int, vertices: bool = True
) -> None:
    """The same as OpenVINO's own .xml with a .bin beside it, its constants in half precision (which moves the hands by
    under 0.1 mm and halves what a process needs to load them). Raises RequestError.
    """
    import openvino

    with TemporaryDirectory(prefix="duohand-") as folder:
        onnx, converted = Path(folder) / "network.onnx", Path(folder) / path.name
        export_onnx(network, hand, onnx, batch, vertices)
        openvino.save_model(openvino.convert_model(str(onnx)), str(converted), compress_to_fp16=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for suffix in (".bin", ".xml"):
                part = path.with_suffix(f"{suffix}.{os.getpid()}.part")
                shutil.copyfile(converted.with_suffix(suffix), part)
                part.replace(path.with_suffix(suffix))
        except OSError as error:
            raise RequestError(f"{path} cannot be written: {error.strerror or error}.") from error


class OnnxRuntimeEngine:
    """ONNX Runtime on the CPU."""

    name = "ONNX Runtime"

    def __init__(self, path: Path, threads: int = 0) -> None:
        import onnxruntime

        states: Any = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
        # onnxruntime's errors have no base of their own.
        refusals = (states.Fail, states.InvalidArgument, states.InvalidGraph, states.InvalidProtobuf)
        missing = (states.NoModel, states.NoSuchFile, states.NotImplemented)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except (*refusals, *missing) as error:
            raise WeightsError(
                f"{path} is no network that ONNX Runtime can load ({error}). Export it again."
            ) from error
        self._session: Any = session
        self._inputs = [value.name for value in session.get_inputs()]
        self._outputs = [value.name for value in session.get_outputs()]
        self._batch = int(session.get_inputs()[0].shape[0])

    def __call__(self, image: Tensor, evidence: Conditioning | None = None) -> HandEstimates:
        return _in_batches(self._run, self._batch, self._outputs, image, evidence, len(self._inputs) > 1)

    def _run(self, arrays: Arrays) -> Arrays:
        return self._session.run(None, dict(zip(self._inputs, arrays, strict=True)))


class OpenVinoEngine:
    """OpenVINO on the CPU, of an .onnx or an .xml file; half: bfloat16 where the processor has it."""

    def __init__(self, path: Path, half: bool = True, threads: int = 0) -> None:
        import openvino

        self.name = "OpenVINO bfloat16" if half else "OpenVINO"
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        settings |= {"INFERENCE_NUM_THREADS": threads} if threads else {}
        try:
            self._model: Any = openvino.Core().compile_model(str(path), "CPU", settings)
        except RuntimeError as error:
            raise WeightsError(
                f"{path} is no network that OpenVINO can load ({error}). Export it again."
            ) from error
        self._outputs = [next(iter(value.names & _FIELDS)) for value in self._model.outputs]
        self._batch = int(self._model.inputs[0].shape[0])

    def __call__(self, image: Tensor, evidence: Conditioning | None = None) -> HandEstimates:
        takes_evidence = len(self._model.inputs) > 1
        return _in_batches(self._run, self._batch, self._outputs, image, evidence, takes_evidence)

    def _run(self, arrays: Arrays) -> Arrays:
        found = self._model(arrays, share_inputs=True)
        return [np.array(found[index]) for index in range(len(self._outputs))]


def _in_batches(
    run: Any,
    batch: int,
    outputs: list[str],
    image: Tensor,
    evidence: Conditioning | None,
    takes_evidence: bool,
) -> HandEstimates:
    """Runs pictures in the file's batch size, the last batch filled up with zeros."""
    check_picture(image)
    inputs = [value.float().numpy() for value in graph_inputs(image, evidence, takes_evidence)]
    parts: list[Arrays] = []
    for first in range(0, len(image), batch):
        rows = [value[first : first + batch] for value in inputs]
        missing = batch - len(rows[0])
        if missing:
            rows = [np.pad(value, [(0, missing)] + [(0, 0)] * (value.ndim - 1)) for value in rows]
        parts.append([value[: batch - missing] for value in run([np.ascontiguousarray(v) for v in rows])])
    joined = [torch.from_numpy(np.concatenate(values)) for values in zip(*parts, strict=True)]
    return estimates(outputs, joined)
