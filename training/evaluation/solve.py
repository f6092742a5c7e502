# SPDX-License-Identifier: GPL-3.0-or-later
"""The shot solve on clips of known motion: one table, one row per measure, one column per method.

    python -m training evaluate solve                      the clips for choosing constants; evidence is drawn
    python -m training evaluate solve --kept               the clips reserved for final results
    python -m training evaluate solve --rendered FOLDER    evidence is what a capture finds in rendered pictures

Drawn evidence is cheap, and its errors are described in `known_evidence`. Rendering takes half a minute per clip, so
detected evidence is kept in FOLDER. Methods: landmarks alone (the solve without the network), the network alone (each
frame unchanged), each hand on its own (the solve without contact), and the joint solve.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.shot import solve_shot
from inference_core.fitting.solution import ShotSolution
from inference_core.geometry.rotations import matrix_to_quaternion
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_hand_model
from training.evaluation.known_evidence import KnownEvidence, drawn_evidence, found_evidence
from training.evaluation.known_motion import CHOOSING, KEPT, KINDS, KnownMotion, known_motion
from training.evaluation.report import plot_promises, save_json, table_text
from training.evaluation.solve_measures import ROWS, Judged, promises, summary

Method = Callable[[KnownMotion, KnownEvidence, HandModel], ShotSolution]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kept", action="store_true", help="the clips kept back for the final figures")
    parser.add_argument(
        "--rendered",
        type=Path,
        metavar="FOLDER",
        help="use what is found in rendered pictures, kept in this folder",
    )
    parser.add_argument("--clips", nargs="+", type=int, metavar="NUMBER", help="these clips")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--by-kind", action="store_true", help="also print a table for each kind of clip")
    parser.add_argument("--out", type=Path, default=Path("runs/evaluation"))


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    numbers = options.clips or list(KEPT if options.kept else CHOOSING)
    judged = judge(numbers, options.methods, options.rendered)
    if options.by_kind:
        for kind in dict.fromkeys(KINDS[number % len(KINDS)] for number in numbers):
            own = {
                name: [one for number, one in zip(numbers, clips, strict=True) if _kind(number) == kind]
                for name, clips in judged.items()
            }
            print(table_text(table(own), kind), end="\n\n")
    evidence = "drawn" if options.rendered is None else "found in rendered pictures"
    whole = table(judged)
    print(table_text(whole, f"{len(numbers)} clips of known motion, evidence {evidence}"))
    if "joint solve" in judged:
        plot_promises(
            {name: promises(judged["joint solve"], name) for name in ("pose", "distance")},
            options.out / "confidence.png",
        )
    save_json({"clips": numbers, "evidence": evidence, "table": whole}, options.out / "solve.json")


def judge(numbers: list[int], methods: list[str], rendered: Path | None) -> dict[str, list[Judged]]:
    """The given clips, evaluated with each method."""
    hand = load_hand_model()
    out: dict[str, list[Judged]] = {name: [] for name in methods}
    for number in numbers:
        clip = known_motion(number)
        evidence = (
            drawn_evidence(clip) if rendered is None else found_evidence(clip, rendered / f"{number}.npz")
        )
        for name in methods:
            solution = METHODS[name](clip, evidence, hand)
            out[name].append(Judged.of(clip, hand, solution, says_contact=name in _SAYS_CONTACT))
    return out


def table(judged: dict[str, list[Judged]]) -> dict[str, dict[str, float]]:
    """Rows of measures, one column per method."""
    columns = {name: summary(clips) for name, clips in judged.items()}
    return {row: {name: column[key] for name, column in columns.items()} for key, row in ROWS.items()}


def _kind(number: int) -> str:
    return KINDS[number % len(KINDS)]


def _landmarks_alone(clip: KnownMotion, evidence: KnownEvidence, hand: HandModel) -> ShotSolution:
    return solve_shot(evidence.alone, clip.camera, _times(clip), hand, SolveSettings())


def _each_by_itself(clip: KnownMotion, evidence: KnownEvidence, hand: HandModel) -> ShotSolution:
    settings = SolveSettings(contact=False)
    return solve_shot(evidence.tracks, clip.camera, _times(clip), hand, settings, evidence.predictions)


def _joint(clip: KnownMotion, evidence: KnownEvidence, hand: HandModel) -> ShotSolution:
    return solve_shot(evidence.tracks, clip.camera, _times(clip), hand, SolveSettings(), evidence.predictions)


def _network_alone(clip: KnownMotion, evidence: KnownEvidence, hand: HandModel) -> ShotSolution:
    """The predictions unchanged, each frame on its own, in the solve's record."""
    predictions = evidence.predictions
    base = solve_shot(evidence.tracks, clip.camera, _times(clip), hand, SolveSettings(0.0), predictions)
    known = predictions.confidence > 0
    wxyz = matrix_to_quaternion(np.nan_to_num(predictions.rotations))
    wxyz[~known] = np.nan
    joints_m = predictions.joints_rel_m + predictions.wrist_cam_m[:, :, None]
    return replace(
        base,
        root_wxyz=wxyz[:, :, 0],
        pose_wxyz=wxyz[:, :, 1:],
        wrist_cam_m=np.where(known[..., None], predictions.wrist_cam_m, np.nan),
        joints_cam_m=np.where(known[..., None, None], joints_m, np.nan),
    )


def _times(clip: KnownMotion) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return clip.time_s.double().numpy()


METHODS: dict[str, Method] = {
    "landmarks alone": _landmarks_alone,
    "network alone": _network_alone,
    "each by itself": _each_by_itself,
    "joint solve": _joint,
}
_SAYS_CONTACT = ("landmarks alone", "joint solve")
