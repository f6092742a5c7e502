# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluates weights, or any method's predictions from a file, and prints the paper's tables beside the result.

    python -m training evaluate stills WEIGHTS                      synthetic validation pictures
    python -m training evaluate set WEIGHTS --root DIR --mano DIR   InterHand2.6M or the Tzionas clips
    python -m training evaluate predictions FILE --root DIR --mano DIR   another method's (docs/training.md)
    python -m training evaluate clips WEIGHTS                       the shot solve with the network and without
    python -m training evaluate solve                               the shot solve on clips of known motion
    python -m training evaluate takes TAKES --truth FILE              takes of real clips against marked hands
    python -m training evaluate marked --truth FILE --footage FOLDER   their frames as single stills
    python -m training evaluate touching                              single stills, by way of touching
    python -m training evaluate curves RUNS                         validation errors of runs while they trained

Each writes OUT/<name>.json and OUT/<name>.png. Means are over samples. Hands are scaled so that wrist to middle MCP
has the true length; numbers of the wrist root and of the MCP root stand side by side and must not be mixed.
"""

from __future__ import annotations

import argparse
import re
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference_core.hand_model.load import load_hand_model
from inference_core.shared.errors import DuohandError
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.picture import normalised
from inference_core.two_hand.weights import load_weights
from training.data.conditioning_noise import AS_FITTED, NO_CONDITIONING, with_degraded_conditioning
from training.data.sample import Sample
from training.evaluation import marked_stills, real, solve, touching
from training.evaluation.curves import read_curves
from training.evaluation.report import plot_bars, plot_curves, published_text, save_json, table_text
from training.evaluation.scoring import (
    Measurements,
    Predicted,
    evaluating,
    groups,
    joined,
    measured,
    predicted_by_stage,
    summarised,
)
from training.synthetic.settings import Settings as SceneSettings

_BATCH = 32
_STAGE_ERROR = re.compile(r"stage\d/mpjpe_wrist")
_CURVE = "MPJPE, wrist root (mm)"
_NAMES = {
    "mpjpe_wrist": "MPJPE, wrist root (mm)",
    "mpjpe_mcp": "MPJPE, MCP root (mm)",
    "mpvpe_wrist": "MPVPE, wrist root (mm)",
    "mpvpe_mcp": "MPVPE, MCP root (mm)",
    "raw_mpjpe_wrist": "MPJPE unscaled, wrist (mm)",
    "raw_mpjpe_mcp": "MPJPE unscaled, MCP (mm)",
    "pa_mpjpe": "PA-MPJPE (mm)",
    "auc": "AUC 0..50 mm",
    "miaa_px": "MIAA (px of 256)",
    "mesh_alignment_px": "mesh alignment (px)",
    "mrrpe": "MRRPE (mm)",
    "side_correct": "sides correct (share)",
    "presence_correct": "presence correct (share)",
}


_SUBJECTS = {
    "weights": "folder of a network's weights",
    "file": "the predictions, one file",
    "runs": "a training run's folder, or one of several",
}


class EvaluationError(DuohandError):
    """The evaluation is impossible as requested."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")

    def kind_parser(kind: str, documented: object) -> argparse.ArgumentParser:
        told = (documented.__doc__ or "").splitlines()[0]
        return kinds.add_parser(kind, help=told, description=told)

    for kind, subject in (
        ("stills", "weights"),
        ("set", "weights"),
        ("predictions", "file"),
        ("clips", "weights"),
        ("curves", "runs"),
    ):
        command = kind_parser(kind, _KINDS[kind])
        command.add_argument("subject", type=Path, metavar=subject.upper(), help=_SUBJECTS[subject])
        command.add_argument(
            "--out", type=Path, default=Path("runs/evaluation"), help="folder for tables and plots"
        )
        if kind == "curves":
            command.add_argument(
                "--of",
                choices=("conditioning", "image"),
                default="conditioning",
                help="samples with conditioning, or the picture alone",
            )
            continue
        if kind != "predictions":
            command.add_argument(
                "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda or mps"
            )
        if kind in ("set", "predictions"):
            command.add_argument("--root", type=Path, required=True, help="folder of the processed data set")
            command.add_argument("--mano", type=Path, required=True, help="folder of MANO's own files")
            command.add_argument("--split", default="test", help="part of the data set (default: test)")
        if kind == "stills":
            command.add_argument("--count", type=int, default=512, help="pictures (default: 512)")
            command.add_argument("--backgrounds", type=int, default=64, help="different ones (default: 64)")
        if kind == "clips":
            command.add_argument("--clips", type=int, default=8, help="clips (default: 8)")
            command.add_argument("--frames", type=int, default=100, help="of each clip (default: 100)")
            command.add_argument("--backgrounds", type=int, default=32, help="different ones (default: 32)")
    for kind, module in (
        ("solve", solve),
        ("takes", real),
        ("marked", marked_stills),
        ("touching", touching),
    ):
        module.add_arguments(kind_parser(kind, module))


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    _KINDS[options.kind](options)


def stills(arguments: argparse.Namespace) -> None:
    """Synthetic validation pictures, with the picture alone and with conditioning, by stage and by group."""
    from training.data.synthetic_source import validation_samples

    device = torch.device(arguments.device)
    hand = load_hand_model().tensors(device=device)
    network, card = load_weights(arguments.subject)
    network = network.to(device)
    scenes = SceneSettings(backgrounds=arguments.backgrounds)
    truth = validation_samples(scenes, hand, arguments.count, device)
    noises = {"image only": NO_CONDITIONING}
    if card.configuration.conditioning:
        noises["with conditioning"] = replace(AS_FITTED, dropped=0.0)
    columns: dict[str, dict[str, float]] = {}
    for name, noise in noises.items():
        sample = with_degraded_conditioning(truth, noise, torch.Generator(device).manual_seed(0))
        batches = (sample.rows(slice(k, k + _BATCH)) for k in range(0, sample.batch, _BATCH))
        columns |= {
            f"{name}, {column}": row for column, row in network_columns(network, hand, batches).items()
        }
    finish("stills", columns, arguments.out, f"synthetic validation pictures; weights: {card.data}")


def data_set(arguments: argparse.Namespace) -> None:
    """A test set on disk."""
    device = torch.device(arguments.device)
    hand = load_hand_model(arguments.mano).tensors(device=device)
    network, card = load_weights(arguments.subject)
    batches = (sample for sample, _ in stored_batches(arguments, device))
    columns = network_columns(network.to(device), hand, batches)
    finish("set", columns, arguments.out, f"{arguments.root.name}; weights: {card.data or card.source}")


def predictions(arguments: argparse.Namespace) -> None:
    """Another method's predictions of a test set."""
    device = torch.device("cpu")
    given = load_predictions(arguments.subject)
    parts: list[Measurements] = []
    at = 0
    for truth, skipped in stored_batches(arguments, device):
        if skipped:
            raise EvaluationError(f"{skipped[0]} Predictions are matched by order: mend the data set first.")
        rows = slice(at, at + truth.batch)
        parts.append(measured(Predicted(**{name: value[rows] for name, value in given.items()}), truth))
        at += truth.batch
    if at != len(given["joints_m"]):
        raise EvaluationError(
            f"{arguments.subject} holds {len(given['joints_m'])} predictions, the split {arguments.split} {at} "
            "samples. Give one for each sample, in the data set's order."
        )
    finish(
        "predictions", {arguments.subject.stem: summarised(joined(parts))}, arguments.out, arguments.root.name
    )


def clips(arguments: argparse.Namespace) -> None:
    """The shot solve on synthetic validation clips."""
    from training.evaluation.clips import clip_table, evaluate_clips

    scenes = SceneSettings(backgrounds=arguments.backgrounds)
    results = evaluate_clips(
        arguments.subject,
        load_hand_model(),
        arguments.clips,
        arguments.frames,
        torch.device(arguments.device),
        scenes,
    )
    table = clip_table(results)
    print(table_text(table, f"{len(results)} synthetic validation clips"))
    save_json({"table": table, "seeds": [result.seed for result in results]}, arguments.out / "clips.json")
    plot_bars(table, "shot solve on synthetic validation clips", arguments.out / "clips.png")


def curves(arguments: argparse.Namespace) -> None:
    """Each stage's joint error on validation samples over the steps of one run, or of all runs in a folder."""
    runs = [arguments.subject, *sorted(path for path in arguments.subject.glob("*") if path.is_dir())]
    lines: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        points = [line for line in read_curves(run) if line["kind"] == f"validation_{arguments.of}"]
        measures = sorted({key for point in points for key in point if _STAGE_ERROR.fullmatch(key)})
        for key in measures:
            name = f"{run.name}, {key.split('/')[0].replace('stage', 'stage ')}"
            lines[name] = [{"step": p["step"], _CURVE: p[key]} for p in points if key in p]
    if not lines:
        raise EvaluationError(
            f"No run in {arguments.subject} has validation errors of {arguments.of} yet: name a run's folder, or "
            "the folder of several."
        )
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_json(lines, arguments.out / "curves.json")
    plot_curves(lines, _CURVE, arguments.out / "curves.png", across="step")


def network_columns(
    network: DirNetwork, hand: object, batches: Iterator[Sample]
) -> dict[str, dict[str, float]]:
    """Means by stage ("stage 0", ...), and of the last stage by group; for touching hands by each stage."""
    stages: list[list[Measurements]] = []
    masks: list[Measurements] = []
    with evaluating(network):
        for sample in batches:
            output = network(normalised(sample.image), hand, sample.conditioning)
            stages.append([measured(stage, sample) for stage in predicted_by_stage(output)])
            masks.append(groups(sample))
    if not stages:
        raise EvaluationError("There is nothing to evaluate: every item of the set is damaged.")
    by_stage = [joined(part[k] for part in stages) for k in range(len(stages[0]))]
    columns = {f"stage {k}": summarised(values) for k, values in enumerate(by_stage)}
    for name, mask in joined(masks).items():
        if not bool(mask.any()):
            continue
        # The purpose of refinement.
        earlier = by_stage[:-1] if name == "touching" else []
        columns |= {f"{name}, stage {k}": summarised(values, mask) for k, values in enumerate(earlier)}
        columns[name] = summarised(by_stage[-1], mask)
    return columns


def stored_batches(arguments: argparse.Namespace, device: torch.device) -> Iterator[tuple[Sample, list[str]]]:
    """The split's samples in order; damaged ones are reported and skipped."""
    from training.data.stored import in_order, open_data_set

    hand = load_hand_model(arguments.mano).tensors()
    stored = open_data_set(arguments.root, hand, arguments.split)
    for sample, skipped in in_order(stored, _BATCH, device):
        for message in skipped:
            print(f"skipped: {message}", file=sys.stderr)
        yield sample, skipped


def load_predictions(path: Path) -> dict[str, Tensor]:
    """The arrays of a predictions file by their Predicted names. Raises EvaluationError naming what is wrong."""
    known = {"joints_m": 4, "vertices_m": 4, "joints_uv": 4, "vertices_uv": 4, "offset_m": 2, "presence": 2}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            given = {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise EvaluationError(
            f"{path} is not an .npz of predictions ({error}). See docs/training.md."
        ) from error
    strange = sorted(set(given) - set(known))
    if strange or "joints_m" not in given:
        wrong = f"holds {', '.join(strange)}, unknown here" if strange else "lacks joints_m (N, 2, 21, 3)"
        raise EvaluationError(f"{path} {wrong}. Known arrays: {', '.join(known)}; see docs/training.md.")
    for name, value in given.items():
        if value.ndim != known[name] or len(value) != len(given["joints_m"]):
            raise EvaluationError(
                f"{path}: {name} has shape {tuple(value.shape)}. See docs/training.md for the shapes."
            )
    return given


def finish(name: str, columns: dict[str, dict[str, float]], out: Path, title: str) -> None:
    """Print the table with the paper's below it, and write JSON and the plot."""
    table: dict[str, dict[str, float]] = {}
    for column, row in columns.items():
        for key, value in row.items():
            table.setdefault(_NAMES.get(key, key), {})[column] = value
    print(table_text(table, title))
    print()
    print(published_text())
    save_json({"title": title, "table": table}, out / f"{name}.json")
    shown = {row: table[row] for row in list(table)[:4]}
    plot_bars(shown, title[:80], out / f"{name}.png")


_KINDS = {
    "stills": stills,
    "set": data_set,
    "predictions": predictions,
    "clips": clips,
    "curves": curves,
    "solve": solve.run,
    "takes": real.run,
    "marked": marked_stills.run,
    "touching": touching.run,
}
