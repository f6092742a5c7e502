# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert MediaPipe's hand and pose networks from the TFLite files of its 0.10.21 wheel to safetensors.

    python -m training convert landmarks MEDIAPIPE_WHEEL_OR_DIR OUT

MEDIAPIPE_WHEEL_OR_DIR is mediapipe-0.10.21-*.whl or the installed `mediapipe` folder; OUT a folder, to ship
`inference_core/landmarks`. Weights stay in the half precision in which they are stored there.
"""

import argparse
import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import tflite as tflite_untyped
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from inference_core.landmarks.formats import (
    BODY_PX,
    BODY_WEIGHTS,
    CROP_PX,
    LANDMARK_WEIGHTS,
    PALM_PX,
    PALM_WEIGHTS,
    PERSON_PX,
    PERSON_WEIGHTS,
    SQUARE_PX,
    SQUARE_WEIGHTS,
)
from inference_core.landmarks.landmark_network import LandmarkNetwork
from inference_core.landmarks.palm_network import PalmNetwork
from inference_core.landmarks.pose_network import BodyNetwork, HandSquareNetwork, PersonNetwork
from inference_core.landmarks.sparse_weights import without_zeros
from inference_core.shared.errors import WeightsError

# Its stubs call every part of a model optional, though each is there in a whole file.
tflite = cast(Any, tflite_untyped)

_CONV, _DEPTHWISE, _LINEAR, _PRELU, _DEQUANTIZE = (
    tflite.BuiltinOperator.CONV_2D,
    tflite.BuiltinOperator.DEPTHWISE_CONV_2D,
    tflite.BuiltinOperator.FULLY_CONNECTED,
    tflite.BuiltinOperator.PRELU,
    tflite.BuiltinOperator.DEQUANTIZE,
)
_DENSIFY = tflite.BuiltinOperator.DENSIFY
_DTYPES = {tflite.TensorType.FLOAT32: np.float32, tflite.TensorType.FLOAT16: np.float16}


# Layers in the order in which the networks define them: branches that run side by side one after the other, and of
# the body's landmarks not the segmentation and the heat maps.
_PERSON_LAYERS = (
    *(*range(16), *range(18, 36), *range(38, 51)),
    *(16, 17, 36, 37),
    *(*range(51, 63), 65, 66, 69, 70, 63, 64, 67, 68, 71, 72),
)
_BODY_LAYERS = (*range(4), *range(6, 12), *range(14, 20), *range(22, 40), *range(42, 55), *range(69, 96))


@dataclass(frozen=True)
class _Source:
    """A network's layers in the source model. layers: which of the model's, in the
    network's order; None for all in theirs.

    sparse: most weights are zeros and are stored without them.
    """

    member: str
    network: type[nn.Module]
    file_name: str
    input_px: int
    architecture: str
    input_range: str = "[0, 1]"
    layers: tuple[int, ...] | None = None
    sparse: bool = False


_SOURCES = (
    _Source(
        "modules/palm_detection/palm_detection_full.tflite",
        PalmNetwork,
        PALM_WEIGHTS,
        PALM_PX,
        "BlazePalm: 26 depthwise-separable 5x5 blocks with PReLU, five strides down, two up; "
        "2016 anchors at strides 8 and 16, a box and seven key points each",
    ),
    _Source(
        "modules/hand_landmark/hand_landmark_full.tflite",
        LandmarkNetwork,
        LANDMARK_WEIGHTS,
        CROP_PX,
        "MobileNetV2-like: 14 inverted residual blocks with ReLU6, mean over the picture, linear heads for "
        "21 landmarks, presence, handedness, 21 world landmarks",
        sparse=True,
    ),
    _Source(
        "modules/pose_detection/pose_detection.tflite",
        PersonNetwork,
        PERSON_WEIGHTS,
        PERSON_PX,
        "MobileNetV2-like: 14 inverted residual blocks with ReLU6, two steps up; 2254 anchors at strides 8, 16 and "
        "32, a box and four key points each",
        "[-1, 1]",
        _PERSON_LAYERS,
        sparse=True,
    ),
    _Source(
        "modules/pose_landmark/pose_landmark_full.tflite",
        BodyNetwork,
        BODY_WEIGHTS,
        BODY_PX,
        "MobileNetV2-like: 14 inverted residual blocks with ReLU6, 11 separable ones, linear heads for 39 body "
        "landmarks, presence, 39 world landmarks; without segmentation and heat maps",
        layers=_BODY_LAYERS,
    ),
    _Source(
        "modules/holistic_landmark/hand_recrop.tflite",
        HandSquareNetwork,
        SQUARE_WEIGHTS,
        SQUARE_PX,
        "six blocks of a convolution at stride 2, a depthwise filter and a pointwise convolution with PReLU; "
        "two points of the hand",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("mediapipe", type=Path, metavar="MEDIAPIPE_WHEEL_OR_DIR")
    parser.add_argument("out", type=Path, metavar="OUT")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    convert_all(options.mediapipe, options.out)


def convert_all(mediapipe: Path, out: Path) -> None:
    """Write all networks' weights and cards into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for source in _SOURCES:
        model = _read_member(mediapipe, source.member)
        weights = convert(model, source.network(), source.layers)
        save_file(without_zeros(weights) if source.sparse else weights, out / source.file_name)
        card = {
            "name": Path(source.member).stem,
            "source": f"mediapipe 0.10.21 (Python wheel), mediapipe/{source.member}",
            "source_sha256": hashlib.sha256(model).hexdigest(),
            "licence": "Apache-2.0",
            "copyright": "The MediaPipe Authors (Google)",
            "made_by": "python -m training convert landmarks",
            "architecture": source.architecture,
            "input": f"RGB in {source.input_range}, {source.input_px} x {source.input_px}",
            "parameters": sum(weight.numel() for weight in weights.values()),
            "dtype": "float16, as stored at the source",
        }
        card_file = (out / source.file_name).with_suffix(".json")
        card_file.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def convert(model: bytes, network: nn.Module, layers: Sequence[int] | None = None) -> dict[str, Tensor]:
    """The TFLite model's parameters under the network's own names, in torch's layouts.

    The network defines its layers in the order in which the model runs them, or in that of `layers`; shapes are
    compared, so a slip cannot pass. Raises WeightsError if the two do not match.
    """
    stored = _layers_in_order(model)
    if layers is not None and max(layers) >= len(stored):
        raise WeightsError(
            f"The TFLite model has {len(stored)} layers: this is not the model of mediapipe 0.10.21."
        )
    chosen = stored if layers is None else [stored[index] for index in layers]
    arrays = [array for layer in chosen for array in layer]
    names = {name: parameter.shape for name, parameter in network.named_parameters()}
    if len(arrays) != len(names):
        raise WeightsError(
            f"The TFLite model has {len(arrays)} parameter arrays and "
            f"{type(network).__name__} {len(names)}: this is not the model of mediapipe 0.10.21."
        )
    weights: dict[str, Tensor] = {}
    for (name, shape), array in zip(names.items(), arrays, strict=True):
        if shape != array.shape:
            raise WeightsError(f"{name} is {tuple(shape)} in torch but {array.shape} in the TFLite model.")
        weights[name] = torch.from_numpy(np.ascontiguousarray(array))
    return weights


def _read_member(mediapipe: Path, member: str) -> bytes:
    if mediapipe.is_dir():
        return (mediapipe / member).read_bytes()
    with zipfile.ZipFile(mediapipe) as wheel:
        return wheel.read(f"mediapipe/{member}")


def _layers_in_order(model_bytes: bytes) -> list[list[NDArray[np.floating]]]:
    """Weights and biases of every layer in the order of execution, in torch's layouts."""
    model = tflite.Model.GetRootAsModel(model_bytes, 0)
    graph: Any = model.Subgraphs(0)
    stored: dict[int, int] = {}
    layers: list[list[NDArray[np.floating]]] = []
    for index in range(graph.OperatorsLength()):
        operator: Any = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if kind in (_DEQUANTIZE, _DENSIFY):
            source: int = operator.Inputs(0)
            stored[operator.Outputs(0)] = stored.get(source, source)
        if kind not in (_CONV, _DEPTHWISE, _LINEAR, _PRELU):
            continue
        tensors: list[int] = [operator.Inputs(place) for place in range(1, operator.InputsLength())]
        arrays = [_constant(model, graph, stored.get(tensor, tensor)) for tensor in tensors]
        layers.append([_to_torch_layout(array, kind) for array in arrays])
    return layers


def _constant(model: Any, graph: Any, index: int) -> NDArray[np.floating]:
    tensor = graph.Tensors(index)
    data = model.Buffers(tensor.Buffer()).DataAsNumpy()
    values = np.frombuffer(data.tobytes(), _DTYPES[tensor.Type()]).astype(np.float16)
    if tensor.Sparsity() is not None:
        values = _dense(values, tensor)
    return values.reshape(tensor.ShapeAsNumpy())


def _dense(values: NDArray[np.float16], tensor: Any) -> NDArray[np.float16]:
    """The dense array of one stored by rows (its last axis) without zeros."""
    kept = tensor.Sparsity().DimMetadata(len(tensor.ShapeAsNumpy()) - 1)
    ends, places = (
        _whole_numbers(kept.ArraySegments(), kept.ArraySegmentsType()),
        _whole_numbers(kept.ArrayIndices(), kept.ArrayIndicesType()),
    )
    whole = np.zeros((len(ends) - 1, tensor.ShapeAsNumpy()[-1]), np.float16)
    whole[np.repeat(np.arange(len(ends) - 1), np.diff(ends)), places] = values
    return whole


def _whole_numbers(table: Any, kind: int) -> NDArray[np.integer]:
    vectors = {
        tflite.SparseIndexVector.Int32Vector: tflite.Int32Vector,
        tflite.SparseIndexVector.Uint16Vector: tflite.Uint16Vector,
        tflite.SparseIndexVector.Uint8Vector: tflite.Uint8Vector,
    }
    vector = vectors[kind]()
    vector.Init(table.Bytes, table.Pos)
    return vector.ValuesAsNumpy().astype(np.int64)


def _to_torch_layout(array: NDArray[np.floating], kind: int) -> NDArray[np.floating]:
    if kind == _CONV and array.ndim == 4:
        return array.transpose(0, 3, 1, 2)
    if kind == _DEPTHWISE and array.ndim == 4:
        return array.transpose(3, 0, 1, 2)
    if kind == _PRELU:
        return array.reshape(-1)
    return array
