# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's output: its settings, the code's commit and uncommitted changes, curves, pictures and weights."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inference_core.shared.skeleton import PARENTS_21
from training.config import Plan, experiment_json
from training.data.sample import Sample
from training.evaluation.curves import CURVES_FILE, read_curves
from training.evaluation.scoring import Predicted

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

SETTINGS_FILE, CODE_FILE, BAD_BATCH_FILE = "experiment.json", "code.txt", "bad_batch.pt"
_SIDE_COLOURS = ((80, 160, 255), (255, 140, 60))
_PICTURE_COLUMNS, _PICTURE_ROWS = 6, 2


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run; only the leading process writes. tensorboard is None if it is not wanted."""

    path: Path
    tensorboard: SummaryWriter | None

    @staticmethod
    def opened(plan: Plan, last_step: int) -> RunFolder:
        """The run's folder with settings and code recorded; curves after `last_step` are removed.

        They belong to a session that was killed after its last checkpoint, and will be recorded again.
        """
        from torch.utils.tensorboard import SummaryWriter

        folder = plan.folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SETTINGS_FILE).write_text(json.dumps(experiment_json(plan), indent=2), encoding="utf-8")
        (folder / CODE_FILE).write_text(code_state(), encoding="utf-8")
        kept = [line for line in read_curves(folder) if line["step"] <= last_step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        (folder / CURVES_FILE).write_text(text, encoding="utf-8")
        return RunFolder(folder, SummaryWriter(str(folder / "tensorboard"), purge_step=last_step))

    def record(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Append a line {"kind", "step", ...} to the curves, and its values to TensorBoard."""
        line = {"kind": kind, "step": step, **{name: _rounded(value) for name, value in values.items()}}
        with (self.path / CURVES_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.tensorboard is not None:
            for name, value in values.items():
                self.tensorboard.add_scalar(f"{kind}/{name}", value, step)

    def picture(self, name: str, step: int, image: NDArray[np.uint8]) -> None:
        """An RGB picture for TensorBoard; the latest is also saved as a file."""
        cv2.imwrite(str(self.path / f"{name}.jpg"), image[..., ::-1])
        if self.tensorboard is not None:
            self.tensorboard.add_image(name, image, step, dataformats="HWC")

    def save_bad_batch(self, sample: Any) -> Path:
        """The path of the saved batch without a finite loss, for `torch.load(path, weights_only=True)`."""
        path = self.path / BAD_BATCH_FILE
        torch.save(_tensors(sample), path)
        return path

    def close(self) -> None:
        """Write what is still in memory."""
        if self.tensorboard is not None:
            self.tensorboard.close()


def code_state() -> str:
    """Commit and uncommitted changes of the running code, or why they are not known."""
    root = Path(__file__).parents[1]
    texts: list[str] = []
    for command in (["git", "rev-parse", "HEAD"], ["git", "diff", "HEAD"]):
        try:
            done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"The code's commit is not known: {error}\n"
        texts.append(done.stdout or done.stderr)
    return "\n".join(texts)


def hands_picture(sample: Sample, predicted: Predicted) -> NDArray[np.uint8]:
    """Crops with the true hands thin and white under the predicted ones in colour; a sheet of a few samples."""
    count = min(sample.batch, _PICTURE_COLUMNS * _PICTURE_ROWS)
    tiles: list[NDArray[np.uint8]] = []
    for k in range(count):
        image = (sample.image[k].detach().float().clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy()
        tiles.append(_drawn(np.ascontiguousarray(image), sample, predicted, k))
    tiles += [np.zeros_like(tiles[0])] * (-count % _PICTURE_COLUMNS)
    rows = [
        np.concatenate(tiles[k : k + _PICTURE_COLUMNS], axis=1)
        for k in range(0, len(tiles), _PICTURE_COLUMNS)
    ]
    return np.concatenate(rows)


def _drawn(image: NDArray[np.uint8], sample: Sample, predicted: Predicted, k: int) -> NDArray[np.uint8]:
    side_px = image.shape[0]
    for side in (0, 1):
        if not bool(sample.present[k, side]):
            continue
        _draw_bones(image, sample.joints_uv[k, side], side_px, (255, 255, 255), 1)
        if predicted.joints_uv is not None:
            _draw_bones(image, predicted.joints_uv[k, side], side_px, _SIDE_COLOURS[side], 2)
    return image


def _draw_bones(
    image: NDArray[np.uint8], uv: torch.Tensor, side_px: int, colour: tuple[int, int, int], width: int
) -> None:
    pixels = ((uv.detach().float().cpu().clamp(-3, 3) + 1) / 2 * side_px).round().int().tolist()
    for child in range(1, 21):
        cv2.line(image, tuple(pixels[PARENTS_21[child]]), tuple(pixels[child]), colour, width, cv2.LINE_AA)


def _tensors(record: Any) -> dict[str, Any]:
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return {
        name: _tensors(value) if dataclasses.is_dataclass(value) else value for name, value in values.items()
    }


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
