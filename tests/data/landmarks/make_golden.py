# SPDX-License-Identifier: GPL-3.0-or-later
"""Make golden.npz: what TFLite itself says of a made-up picture.

    python tests/data/landmarks/make_golden.py MEDIAPIPE_DIR

Needs ai-edge-litert, whose numpy is newer than mediapipe's: give it an environment of its own. MEDIAPIPE_DIR is
the folder of the mediapipe 0.10.21 package.
"""

import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

_MODELS = {
    "palm": ("modules/palm_detection/palm_detection_full.tflite", 192, ("boxes", "logits")),
    "hand": (
        "modules/hand_landmark/hand_landmark_full.tflite",
        224,
        ("points", "presence", "right", "world_m"),
    ),
}
# Every 16th anchor is enough to notice a slip.
_ANCHOR_STEP = 16


def picture(side_px: int) -> np.ndarray:
    """Waves of three colours (side_px, side_px, 3) uint8, in blocks of 4 x 4 pixels to keep the file small."""
    y, x = np.mgrid[0:side_px, 0:side_px] // 4 * 4 / side_px
    waves = (np.sin(9 * x + 5 * y * y), np.cos(7 * y - 3 * x * x), np.sin(11 * x * y + 1))
    return (127.5 + 127.5 * np.stack(waves, -1)).astype(np.uint8)


def main() -> None:
    arrays: dict[str, np.ndarray] = {}
    for name, (model, side_px, outputs) in _MODELS.items():
        interpreter = Interpreter(str(Path(sys.argv[1]) / model))
        interpreter.allocate_tensors()
        arrays[f"{name}_picture"] = picture(side_px)
        interpreter.set_tensor(
            interpreter.get_input_details()[0]["index"],
            arrays[f"{name}_picture"][None].astype(np.float32) / 255,
        )
        interpreter.invoke()
        details = sorted(interpreter.get_output_details(), key=lambda detail: detail["name"])
        for output, detail in zip(outputs, details, strict=True):
            value = interpreter.get_tensor(detail["index"])[0]
            arrays[f"{name}_{output}"] = value[::_ANCHOR_STEP] if name == "palm" else value
    np.savez_compressed(Path(__file__).with_name("golden.npz"), **arrays)


if __name__ == "__main__":
    main()
