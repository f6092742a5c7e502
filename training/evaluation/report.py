# SPDX-License-Identifier: GPL-3.0-or-later
"""Results as a table on the terminal, as JSON and as plots, beside the paper's own tables and their data."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Table = Mapping[str, Mapping[str, float]]

# Characters of a line of text, and the minimum of a column.
_TERMINAL, _CELL = 120, 8


@dataclass(frozen=True)
class PublishedRow:
    """A row of the paper: MPJPE and MPVPE in mm, MIAA in pixels (None if it gives none)."""

    method: str
    mpjpe: float
    mpvpe: float
    miaa: float | None = None


# The paper's supplement does not state its roots: compare with both of ours.
TZIONAS_TABLE = (
    PublishedRow("InterShape", 18.24, 17.93),
    PublishedRow("IntagHand", 19.21, 18.91),
    PublishedRow("DIR", 16.48, 16.25),
)
BASIC_MODEL_TABLE = (
    PublishedRow("baseline", 12.44, 12.11, 7.41),
    PublishedRow("without attention", 12.53, 12.23, 7.53),
    PublishedRow("without SmoothL1", 12.49, 12.20, 7.50),
    PublishedRow("without motion blur", 12.50, 12.21, 7.51),
    PublishedRow("without the large learning rate", 12.79, 12.45, 7.64),
    PublishedRow("without all", 13.01, 12.67, 7.83),
)
PUBLISHED = {
    "the paper's table 1: Tzionas et al., trained on InterHand2.6M": TZIONAS_TABLE,
    "the paper's table 2: its basic model, trained and tested on InterHand2.6M": BASIC_MODEL_TABLE,
    "the release's own test: InterHand2.6M, wrist root": (
        PublishedRow("DIR, released weights", 10.23, 10.00, 6.09),
    ),
}


def table_text(table: Table, title: str) -> str:
    """The title, and the table with row names at the left and a column for each key of the rows.

    Columns that do not fit into a terminal's width go below the others.
    """
    columns = list(dict.fromkeys(column for row in table.values() for column in row))
    lines = textwrap.wrap(title, _TERMINAL)
    width = max(len(name) for name in table)
    for block in _blocks(columns, _TERMINAL - width):
        lines.append("")
        lines.append(" " * width + "".join(f"  {column:>{_CELL}}" for column in block))
        for name, row in table.items():
            cells = (f"{row[column]:.3f}" if column in row else "" for column in block)
            lines.append(
                name.ljust(width)
                + "".join(f"  {cell:>{max(_CELL, len(of))}}" for cell, of in zip(cells, block, strict=True))
            )
    return "\n".join(lines)


def _blocks(columns: Sequence[str], room: int) -> list[list[str]]:
    """The columns in groups, each no wider than the terminal if it has more than one column."""
    blocks: list[list[str]] = [[]]
    left = room
    for column in columns:
        size = max(_CELL, len(column)) + 2
        if size > left and blocks[-1]:
            blocks.append([])
            left = room
        blocks[-1].append(column)
        left -= size
    return blocks


def published_text() -> str:
    """The paper's tables, with the data that each used, to be read beside ours."""
    parts: list[str] = []
    for title, rows in PUBLISHED.items():
        table = {
            row.method: {
                "MPJPE": row.mpjpe,
                "MPVPE": row.mpvpe,
                **({} if row.miaa is None else {"MIAA px": row.miaa}),
            }
            for row in rows
        }
        parts.append(table_text(table, title))
    return "\n\n".join(parts)


def save_json(values: Mapping[str, Any], path: Path) -> None:
    """The values as indented JSON; NaN becomes null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_plain(values), indent=1) + "\n", encoding="utf-8")


def plot_bars(table: Table, title: str, path: Path) -> None:
    """A picture of the table's rows, each row's columns side by side in a panel of its own."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(table), 3.2), layout="constrained")
    for panel, (name, row) in zip(
        figure.subplots(1, len(table), squeeze=False)[0], table.items(), strict=True
    ):
        panel.bar(
            range(len(row)),
            list(row.values()),
            color=["#8899aa", "#cc6633", "#5588cc", "#77aa55"][: len(row)],
        )
        panel.set_xticks(range(len(row)), list(row), rotation=20, ha="right", fontsize=7)
        panel.set_title(name, fontsize=7)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=110)


def plot_curves(
    curves: Mapping[str, list[dict[str, Any]]], measure: str, path: Path, across: str = "samples"
) -> None:
    """A measure of validation sets over samples seen (or steps), one line per run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, lines in curves.items():
        points = [(line[across], line[measure]) for line in lines if measure in line and across in line]
        axes.plot([x for x, _ in points], [y for _, y in points], label=name)
    axes.set_xlabel(across)
    axes.set_ylabel(measure)
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def plot_promises(promises: Mapping[str, Sequence[tuple[float, float, float]]], path: Path) -> None:
    """What confidences say against how often they are kept: a line of (said, kept, share of all) for each; the larger a
    point, the more hand frames it stands for.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    for name, points in promises.items():
        said, kept, share = zip(*points, strict=True)
        (line,) = axes.plot(said, kept, label=name)
        axes.scatter(said, kept, [400 * of for of in share], color=line.get_color())
    axes.set_xlabel("said")
    axes.set_ylabel("true")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return None if value != value else float(f"{value:.6g}")
    return value
