# SPDX-License-Identifier: GPL-3.0-or-later
"""Corrects files from Blender's glTF exporter: the base of the frame rate and the unit scale. No bpy.

Depending on its version, the exporter ignores or inverts the rate's divisor, and treats a Blender unit as a metre.
"""

import json
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np

_HEADER: Final = struct.Struct("<4sII")
_CHUNK: Final = struct.Struct("<II")
_JSON: Final = 0x4E4F534A
_SAME: Final = 1e-5


def mend_glb(path: Path, seconds_per_frame: float, metres_per_unit: float) -> None:
    """Space the keys, one on every frame, by the right time; scale the scene to metres."""
    content = path.read_bytes()
    length, _ = _CHUNK.unpack_from(content, _HEADER.size)
    start = _HEADER.size + _CHUNK.size
    gltf: dict[str, Any] = json.loads(content[start : start + length])
    rest = bytearray(content[start + length :])  # the binary chunk with its header
    times = _stretch_needed(gltf, seconds_per_frame)
    if abs(times - 1) < _SAME and metres_per_unit == 1.0:
        return
    _stretch(gltf, rest, times)
    if metres_per_unit != 1.0:
        _scale(gltf, metres_per_unit)
    text = json.dumps(gltf, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    whole = _HEADER.size + _CHUNK.size + len(text) + len(rest)
    path.write_bytes(_HEADER.pack(b"glTF", 2, whole) + _CHUNK.pack(len(text), _JSON) + text + bytes(rest))


def _stretch_needed(gltf: dict[str, Any], seconds_per_frame: float) -> float:
    """The factor for the times, from the curve with the most keys."""
    curves = [gltf["accessors"][index] for index in _inputs(gltf)]
    longest = max(curves, key=lambda item: item["count"], default=None)
    if longest is None or longest["count"] < 2:
        return 1.0
    step = (longest["max"][0] - longest["min"][0]) / (longest["count"] - 1)
    return seconds_per_frame / step if step > 0 else 1.0


def _inputs(gltf: dict[str, Any]) -> set[int]:
    return {sampler["input"] for animation in gltf.get("animations", []) for sampler in animation["samplers"]}


def _stretch(gltf: dict[str, Any], rest: bytearray, times: float) -> None:
    for index in _inputs(gltf):
        accessor = gltf["accessors"][index]
        view = gltf["bufferViews"][accessor["bufferView"]]
        offset = _CHUNK.size + view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        keys = np.frombuffer(rest, "<f4", accessor["count"], offset) * np.float32(times)
        rest[offset : offset + 4 * len(keys)] = keys.astype("<f4").tobytes()
        accessor["min"], accessor["max"] = [float(keys.min())], [float(keys.max())]


def _scale(gltf: dict[str, Any], metres_per_unit: float) -> None:
    nodes = gltf["nodes"]
    for scene in gltf["scenes"]:
        nodes.append(
            {"name": scene.get("name", "units"), "scale": [metres_per_unit] * 3, "children": scene["nodes"]}
        )
        scene["nodes"] = [len(nodes) - 1]
