# SPDX-License-Identifier: GPL-3.0-or-later
"""The job of solving a range of a take again: a take and corrections in, a take out.

Everything given is read and checked before anything is solved.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from inference_core.hand_model.load import hand_model_of
from inference_core.hand_model.mano_file import read_mano
from inference_core.shared.corrections import Correction, read_corrections
from inference_core.shared.errors import RequestError
from inference_core.shared.messages import Progress, SolveRequest, check_request
from inference_core.shared.presence import ABSENT
from inference_core.shared.take import Take, load_take, save_take
from inference_core.shared.whole_file import check_apart, check_name
from inference_core.solve_again import solved_again
from inference_core.take_evidence import evidence_of


def solve_take(request: SolveRequest, progress: Progress | None = None) -> Take:
    """The request's take with its range solved again, saved to `request.out`. DuohandError if that is impossible."""
    check_request(request)
    out, source = Path(request.out), Path(request.take)
    check_name(out, (".npz",), "A take")
    corrections_file = Path(request.corrections) if request.corrections else None
    check_apart([out], [path for path in (corrections_file,) if path is not None])
    take = load_take(source)
    corrections = read_corrections(corrections_file) if corrections_file else ()
    evidence_of(take)  # refuses a take that keeps none
    span = span_of(take, request.first, request.last, corrections, request.blend)
    _check_touches(take, corrections)
    mano = request.mano or (take.meta.get("settings") or {}).get("mano")
    hands = read_mano(Path(mano)) if isinstance(mano, str) else None
    solved = solved_again(take, corrections, span, hand_model_of(hands), progress, request.blend)
    save_take(solved, out)
    return solved


def span_of(
    take: Take,
    first: int | None,
    last: int | None,
    corrections: Sequence[Correction],
    blend: int = SolveRequest.blend,
) -> range:
    """Rows of the take to solve again: frames first to last of the footage, both included.

    By default, those that the corrections affect, plus as many on either side as are blended, but none beyond a cut.
    RequestError if the take has no such frames.
    """
    reaches = [item.reach for item in corrections]
    if not reaches and (first is None or last is None):
        raise RequestError("Give what to solve again: a range of frames, corrections, or both.")
    start = min(reach[0] for reach in reaches) - blend if first is None else first
    stop = max(reach[1] for reach in reaches) + blend if last is None else last
    rows = np.flatnonzero((take.frame >= start) & (take.frame <= stop))
    if not len(rows):
        raise RequestError(
            f"The take has no frames {start} to {stop}; it holds {int(take.frame[0])} to {int(take.frame[-1])}."
        )
    begin, end = int(rows[0]), int(rows[-1]) + 1
    told = [row for item in corrections for row in item.rows(take.frame).tolist()]
    if told:
        piece_begin, piece_end = take.pieces_around(min(told), max(told))
        begin = max(begin, piece_begin) if first is None else begin
        end = min(end, piece_end) if last is None else end
    return range(begin, end)


def _check_touches(take: Take, corrections: Sequence[Correction]) -> None:
    both = (take.present != ABSENT).all(1)
    for item in corrections:
        rows = item.rows(take.frame)
        if item.kind == "touch" and len(rows) and not both[rows].any():
            raise RequestError(
                f"Frames {item.first} to {item.last} never have both hands, so nothing can touch there."
            )
