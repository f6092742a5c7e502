# SPDX-License-Identifier: GPL-3.0-or-later
"""A take's figures: a table, and curves over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import RequestError, TakeError, reason_of
from inference_core.shared.flag_runs import flag_runs
from inference_core.shared.presence import ABSENT, FILLED, SEEN
from inference_core.shared.skeleton import SIDES
from inference_core.shared.take import Take
from inference_core.shared.whole_file import whole_file

_UNSURE = 0.5
_COLOURS = ("#2494ff", "#7fae00")

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class HandFigures:
    """One hand through the take. NaN where there is nothing to measure."""

    seen: int
    filled: int
    absent: int
    confidence: float
    pose_confidence: float
    distance_confidence: float
    reprojection_px: float
    distance_m: tuple[float, float]
    top_speed_m_s: float
    shake_mm: float
    raw_shake_mm: float
    unsure: tuple[tuple[int, int], ...]

    @property
    def sure(self) -> str:
        """How sure the take is of the hand, in words: the probabilities that it states, else its confidence."""
        if np.isnan(self.pose_confidence):
            return f"confidence {self.confidence:.2f}"
        return (
            f"joints within 10 mm in {self.pose_confidence:.0%} of them, distance within 5 % in "
            f"{self.distance_confidence:.0%} (estimated)"
        )


def hand_figures(take: Take, side: int) -> HandFigures:
    """The figures of one hand. Distance is the wrist's from the camera; shake see `shake_mm`."""
    present = take.present[:, side]
    there = present != ABSENT
    distance = np.linalg.norm(take.wrist_cam_m[there, side], axis=-1)
    return HandFigures(
        seen=int((present == SEEN).sum()),
        filled=int((present == FILLED).sum()),
        absent=int((~there).sum()),
        confidence=_mean(take.confidence[there, side]),
        pose_confidence=_stated(take.pose_confidence, there, side),
        distance_confidence=_stated(take.distance_confidence, there, side),
        reprojection_px=_mean(reprojection_px(take)[:, side]),
        distance_m=(float(distance.min()), float(distance.max())) if there.any() else (np.nan, np.nan),
        top_speed_m_s=float(np.nanmax(wrist_speed_m_s(take)[:, side], initial=0)),
        shake_mm=shake_mm(take.wrist_cam_m[:, side], take.cuts),
        raw_shake_mm=shake_mm(take.raw_wrist_cam_m[:, side], take.cuts),
        unsure=_spans(take.frame, there & (take.confidence[:, side] < _UNSURE)),
    )


def reprojection_px(take: Take) -> Floats:
    """(T, S) mean distance of the projected joints from the landmarks; NaN where either is missing.

    A hand model's joints are not the landmarks' definitions, so this has a floor above zero.
    """
    projected = np.einsum("...ij,tskj->tski", take.K, take.joints_cam_m) if take.K.ndim == 2 else None
    if projected is None:
        projected = np.einsum("tij,tskj->tski", take.K, take.joints_cam_m)
    with np.errstate(all="ignore"):  # a joint in the camera's own plane is nowhere in the picture
        pixels = projected[..., :2] / projected[..., 2:]
    known = take.landmarks_px[..., 2] > 0
    distance = np.where(known, np.linalg.norm(pixels - take.landmarks_px[..., :2], axis=-1), np.nan)
    return _nanmean(distance)


def wrist_speed_m_s(take: Take) -> Floats:
    """(T, S) speed of the wrist; NaN where it is not known on both sides of a frame, or the footage is cut there."""
    if take.frame_count < 2:
        return np.full((take.frame_count, 2), np.nan)
    steps = np.linalg.norm(np.diff(take.wrist_cam_m, axis=0), axis=-1)
    speed = steps / np.diff(take.time_s)[:, None]
    speed[take.cuts - 1] = np.nan
    return np.concatenate([speed[:1], speed])


def shake_mm(wrist_m: Floats, cuts: Sequence[int] | NDArray[np.int64] = ()) -> float:
    """Mean second difference of positions (T, 3), millimetres per frame squared, within pieces between cuts (C,)."""
    pieces = np.split(wrist_m, np.asarray(cuts, np.int64))
    seconds = [np.diff(piece, 2, axis=0) for piece in pieces if len(piece) > 2]
    return 1000 * _mean(np.linalg.norm(np.concatenate([wrist_m[:0], *seconds]), axis=-1))


def summary(take: Take) -> str:
    """A line per hand."""
    lines: list[str] = []
    for side, name in enumerate(SIDES):
        hand = hand_figures(take, side)
        if hand.absent == take.frame_count:
            lines.append(f"{name:>6}: not in the footage")
            continue
        lines.append(
            f"{name:>6}: seen in {hand.seen} of {take.frame_count} frames, {hand.filled} filled, {hand.sure}"
        )
    return "\n".join(lines)


def facts(take: Take) -> str:
    """What the take shows and how it was made, line by line."""
    meta = take.meta
    footage, model = meta.get("footage", {}), meta.get("hand_model", {})
    lines = [
        f"footage     {footage.get('path', 'not recorded')}",
        f"frames      {take.frame[0]}..{take.frame[-1]}, {take.frame_count} in all, "
        f"{take.time_s[-1] - take.time_s[0]:.2f} s at {take.fps:g} a second",
        f"picture     {take.size_px[0]}x{take.size_px[1]}",
        f"lens        {meta.get('camera', {}).get('source', 'not recorded')} "
        f"(focal length {take.K.reshape(-1, 3, 3)[0, 0, 0]:.1f} px){_lens_by_hands(take)}",
        f"hand size   {meta.get('scale', {}).get('source', 'not recorded')}{_lengths(take)}",
        f"hand model  {model.get('name', 'not recorded')}, {model.get('licence', 'licence not recorded')}",
        f"network     {meta.get('network') or 'none'}",
        f"solve again {_solvable(take)}",
    ]
    return "\n".join(lines)


def figures(take: Take) -> list[tuple[str, str, str]]:
    """Rows of a table: what, left, right."""
    both = [hand_figures(take, side) for side in (0, 1)]
    rows = [
        ("frames seen", [f"{hand.seen}" for hand in both]),
        ("frames filled", [f"{hand.filled}" for hand in both]),
        ("frames absent", [f"{hand.absent}" for hand in both]),
        ("confidence", [_number(hand.confidence, "{:.2f}") for hand in both]),
        ("joints within 10 mm", [_number(hand.pose_confidence, "{:.0%}") for hand in both]),
        ("distance within 5 %", [_number(hand.distance_confidence, "{:.0%}") for hand in both]),
        ("reprojection, px", [_number(hand.reprojection_px, "{:.2f}") for hand in both]),
        ("distance, m", [_interval(hand.distance_m) for hand in both]),
        ("top speed, m/s", [_number(hand.top_speed_m_s, "{:.2f}") for hand in both]),
        ("shake, mm/frame2", [_number(hand.shake_mm, "{:.2f}") for hand in both]),
        ("shake before solve", [_number(hand.raw_shake_mm, "{:.2f}") for hand in both]),
    ]
    return [(name, left, right) for name, (left, right) in rows]


def remarks(take: Take) -> list[str]:
    """Where the hands are unreliable, and the capture's warnings."""
    lines: list[str] = []
    for side, name in enumerate(SIDES):
        unsure = hand_figures(take, side).unsure
        if unsure:
            spans = ", ".join(f"{a}..{b}" if b > a else f"{a}" for a, b in unsure[:12])
            lines.append(f"unsure {name}: frames {spans}{' ...' if len(unsure) > 12 else ''}")
    return lines + [f"warning: {text}" for text in take.meta.get("warnings", [])]


def _lens_by_hands(take: Take) -> str:
    """The field of view by the hands themselves, where the lens is not known."""
    found = take.lens_by_hands_deg
    return "; by the hands {:.0f} degrees ({:.0f} to {:.0f})".format(*found) if found else ""


def _lengths(take: Take) -> str:
    """The lengths of the hands, left and right."""
    ends_m = take.rest_vertices_m[[0, 1], take.tip_vertices[:, 2]]
    lengths_mm = 1000 * np.linalg.norm(ends_m - take.rest_joints_m[:, 0], axis=-1)
    return f" ({lengths_mm[0]:.0f} and {lengths_mm[1]:.0f} mm)"


def _solvable(take: Take) -> str:
    """What the take holds for solving a range again."""
    kept = take.evidence_bytes
    if not kept:
        return "not possible: the take does not hold the evidence of its solve"
    corrections = len(take.meta.get("corrections") or [])
    said = f", {corrections} corrections made" if corrections else ""
    return f"possible: {kept / 1e6:.1f} MB are kept for it, {kept / take.frame_count:.0f} bytes a frame{said}"


def plot_curves(take: Take, path: Path) -> None:
    """Write a picture of speed, confidence and reprojection error over time. Needs matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RequestError("Curves need matplotlib. Install it: pip install 'duohand[plot]'.") from error
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, 1, sharex=True)
    curves = (
        ("wrist speed, m/s", wrist_speed_m_s(take)),
        ("confidence", np.where(take.present == ABSENT, np.nan, take.confidence)),
        ("reprojection error, px", reprojection_px(take)),
    )
    for axis, (label, values) in zip(axes, curves, strict=True):
        for side, name in enumerate(SIDES):
            axis.plot(take.time_s, values[:, side], color=_COLOURS[side], label=name, linewidth=1.3)
            filled = take.present[:, side] == FILLED
            axis.plot(take.time_s[filled], values[filled, side], ".", color=_COLOURS[side], markersize=4)
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    axes[1].set_ylim(0, 1.05)
    axes[0].legend(loc="upper right")
    axes[-1].set_xlabel("seconds (dots: filled frames)")
    try:
        with whole_file(path) as temporary:
            figure.savefig(temporary, dpi=110, format=path.suffix[1:].lower() or "png")
    except (OSError, ValueError) as error:
        raise TakeError(
            f"The curves could not be written to {path}: {reason_of(error)}. Choose another place."
        ) from error


def _spans(frame: NDArray[np.int64], mask: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """First and last frame number of every run in which the mask holds."""
    return tuple((int(frame[a]), int(frame[b - 1])) for a, b in flag_runs(mask))


def _stated(stated: Floats | None, there: NDArray[np.bool_], side: int) -> float:
    """The mean probability of the frames in which the hand is there; NaN if the take has none."""
    return float("nan") if stated is None else _mean(stated[there, side])


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _nanmean(values: Floats) -> Floats:
    """Mean over the last axis without NaN; NaN where there is nothing else."""
    known = np.isfinite(values)
    count = known.sum(-1)
    total = np.where(known, values, 0).sum(-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _number(value: float, form: str) -> str:
    return form.format(value) if np.isfinite(value) else "-"


def _interval(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:.2f}..{bounds[1]:.2f}" if np.isfinite(bounds[0]) else "-"
