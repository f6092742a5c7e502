# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes of real clips compared with hands marked by eye: found, sides, wrists, ghosts, by clip.

    python -m training evaluate takes TAKES... --truth FILE [--by MARKS] [--footage FOLDER] [--frames]

TAKES are CLIP.npz files, or folders of them. FILE (such as tests/data/touching_truth.json) holds, for each clip, the
length of a hand in pixels and, for some frames, the marks of the left and the right wrist: a list of [x, y] by one or
two annotators and, where these disagreed and both marks were looked at again, the one decided on; null if the hand is
not in the picture, "partly" if it is cut off and not evaluated. --by chooses the marks: the agreed ones (the decided
one, else the mean), the mean, or those of one annotator. A mark is unsure if the annotators differ by more than half of
what a wrist may be off. With --footage, MediaPipe Hands is evaluated as well, on FOLDER/CLIP.mp4; with --frames, every
frame that fails is named.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.shared.errors import DuohandError
from inference_core.shared.skeleton import LEFT, RIGHT
from inference_core.shared.take import Take, load_take
from training.evaluation.report import table_text

# Of a hand's length: a wrist this near is placed; a hand this near is meant; two hands nearer than this are one.
PLACED, _MEANT, _APART = 0.15, 0.6, 0.1
_PARTLY = "partly"

Floats = NDArray[np.float64]

_MARKS: dict[str, Callable[[Floats], Floats]] = {
    "agreed": lambda marks: marks[2] if len(marks) > 2 else marks.mean(0),
    "mean": lambda marks: marks[:2].mean(0),
    "first": lambda marks: marks[0],
    "second": lambda marks: marks[:2][-1],
}


class TruthError(DuohandError):
    """The truth does not match the takes, or cannot be read."""


@dataclass(frozen=True)
class MarkedClip:
    """F frames of a clip. at (F,): frame. wrists_px (F, S, 2): NaN if a hand is absent or cut off; absent (F, S)
    bool; spread_px (F, S): between two annotators' marks, NaN if there are not two. hand_px: length of a hand.
    """

    at: NDArray[np.int64]
    wrists_px: Floats
    absent: NDArray[np.bool_]
    spread_px: Floats
    hand_px: float

    def only(self, rows: NDArray[np.intp]) -> MarkedClip:
        """These of the frames."""
        return MarkedClip(
            self.at[rows], self.wrists_px[rows], self.absent[rows], self.spread_px[rows], self.hand_px
        )


@dataclass(frozen=True)
class Judgement:
    """Per marked frame, NaN if not evaluated: both (F,) found, side (F,) right of those found, wrist (F, S) placed;
    unsure (F, S) bool: annotators differ by more than half of what a wrist may be off; ghosts (F,): false hands.
    """

    both: Floats
    side: Floats
    wrist: Floats
    unsure: NDArray[np.bool_]
    ghosts: Floats


def read_truth(path: Path, by: str = "agreed") -> dict[str, MarkedClip]:
    """The marked clips by name, by the agreed, mean, first or second marks. Raises TruthError if invalid."""
    try:
        clips: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {name: _marked(clip, _MARKS[by]) for name, clip in clips.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise TruthError(f"Cannot read the marked wrists of {path}: {error}.") from error


def judged(points_px: Floats, clip: MarkedClip) -> Judgement:
    """Hands at points_px (T, S, 21 or fewer, 2), the wrist first, NaN if none, compared with the marks."""
    points_px = points_px[clip.at]
    found = np.isfinite(points_px).all((-1, -2))
    wrists_px = points_px[:, :, 0]
    apart = np.linalg.norm(wrists_px[:, :, None] - clip.wrists_px[:, None], axis=-1) / clip.hand_px
    asked = np.isfinite(clip.wrists_px).all(-1)
    straight, crossed = apart[:, [0, 1], [0, 1]], apart[:, [0, 1], [1, 0]]
    side = straight.sum(1) <= crossed.sum(1)
    between = np.linalg.norm(points_px[:, LEFT] - points_px[:, RIGHT], axis=-1).mean(-1) / clip.hand_px
    near = np.minimum(straight.max(1), crossed.max(1)) < _MEANT
    both = near & (between > _APART)
    meant = np.nanmin(np.where(asked[:, None], apart, np.inf), 2, initial=np.inf) < _MEANT
    excused = (~asked & ~clip.absent).any(1, keepdims=True)
    return Judgement(
        both=np.where(asked.all(1), both, np.nan),
        side=np.where(asked.all(1) & both, side, np.nan),
        wrist=np.where(asked, straight < PLACED, np.nan),
        unsure=clip.spread_px / clip.hand_px > PLACED / 2,
        ghosts=(found & ~meant & ~excused).sum(1).astype(np.float64),
    )


def within(clip: MarkedClip, numbers: NDArray[np.int64]) -> MarkedClip:
    """The marked frames among a take's `numbers` (T,), by their index there."""
    rows = np.flatnonzero(np.isin(clip.at, numbers))
    at = np.searchsorted(numbers, clip.at[rows])
    return replace(clip.only(rows), at=at)


def summarised(judgements: Sequence[Judgement]) -> dict[str, float]:
    """One row of the table: percentages (sure: of wrists with sure marks), numbers of unsure marks and ghosts."""

    def percent(values: Sequence[Floats]) -> float:
        joined = np.concatenate([each.ravel() for each in values])
        return 100 * float(np.nanmean(joined)) if np.isfinite(joined).any() else float("nan")

    return {
        "both %": percent([one.both for one in judgements]),
        "sides %": percent([one.side for one in judgements]),
        "wrists %": percent([one.wrist for one in judgements]),
        "sure %": percent([np.where(one.unsure, np.nan, one.wrist) for one in judgements]),
        "unsure": float(sum(one.unsure.sum() for one in judgements)),
        "ghosts": float(sum(one.ghosts.sum() for one in judgements)),
    }


def failures(judgement: Judgement, clip: MarkedClip) -> list[str]:
    """The errors of each frame, one line per frame."""
    lines: list[str] = []
    for row, at in enumerate(clip.at):
        asked = {
            "not both": judgement.both[row],
            "sides exchanged": judgement.side[row],
            "left wrist": judgement.wrist[row, LEFT],
            "right wrist": judgement.wrist[row, RIGHT],
        }
        wrong = [name for name, right in asked.items() if right == 0]
        wrong += [f"{judgement.ghosts[row]:.0f} ghosts"] if judgement.ghosts[row] else []
        if wrong:
            lines.append(f"row {at}: {', '.join(wrong)}")
    return lines


def take_points_px(take: Take) -> Floats:
    """(T, S, 21, 2) the take's joints in the picture, NaN where a hand is absent."""
    joints = np.asarray(take.joints_cam_m, np.float64)
    K = np.broadcast_to(np.asarray(take.K, np.float64), (len(joints), 3, 3))
    seen = np.where((np.asarray(take.present) > 0)[..., None, None], joints, np.nan)
    return projected_px(seen, K)


def projected_px(joints_cam_m: Floats, K: Floats) -> Floats:
    """(T, S, J, 2) pixels of joints (T, S, J, 3); K (3, 3) or (T, 3, 3)."""
    image = np.einsum("txy,tsjy->tsjx", np.broadcast_to(K, (len(joints_cam_m), 3, 3)), joints_cam_m)
    return image[..., :2] / image[..., 2:]


def mediapipe_points_px(footage: Path) -> Floats:
    """(T, S, 21, 2) the hands that MediaPipe Hands finds in a movie when following two hands, NaN if none."""
    import cv2
    from mediapipe.python.solutions import hands as peer

    movie, frames = cv2.VideoCapture(str(footage)), list[Floats]()
    with peer.Hands(max_num_hands=2) as hands:
        while (read := movie.read())[0]:
            image = cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)
            frames.append(hands_px_of(hands.process(image), image.shape[1], image.shape[0]))
    return np.stack(frames)


def hands_px_of(result: Any, width: int, height: int) -> Floats:
    """(S, 21, 2) the hands in a result of MediaPipe Hands, NaN where there is none."""
    points_px = np.full((2, 21, 2), np.nan)
    if result.multi_hand_landmarks is None:
        return points_px
    for hand, sides in zip(result.multi_hand_landmarks, result.multi_handedness, strict=True):
        # It assumes a mirrored picture.
        side = RIGHT if sides.classification[0].label == "Left" else LEFT
        side = side if np.isnan(points_px[side]).all() else 1 - side
        points_px[side] = [(point.x * width, point.y * height) for point in hand.landmark]
    return points_px


def _marked(clip: Mapping[str, Any], chosen: Callable[[Floats], Floats]) -> MarkedClip:
    frames = [
        [np.array([[np.nan] * 2] if hand in (None, _PARTLY) else hand, np.float64) for hand in frame]
        for frame in clip["frames"].values()
    ]
    spread_px = [
        [np.linalg.norm(marks[1] - marks[0]) if len(marks) > 1 else np.nan for marks in frame]
        for frame in frames
    ]
    return MarkedClip(
        np.array([int(at) for at in clip["frames"]]),
        np.array([[chosen(marks) for marks in frame] for frame in frames]).reshape(-1, 2, 2),
        np.array([[hand is None for hand in frame] for frame in clip["frames"].values()]),
        np.array(spread_px, np.float64).reshape(-1, 2),
        float(clip["hand_px"]),
    )


def add_truth(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names the file of marked wrists."""
    parser.add_argument(
        "--truth",
        type=Path,
        required=True,
        metavar="FILE",
        help="marked wrists, such as tests/data/touching_truth.json",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "takes", type=Path, nargs="+", metavar="TAKES", help="takes CLIP.npz, or folders of them"
    )
    add_truth(parser)
    parser.add_argument(
        "--by", choices=list(_MARKS), default="agreed", help="whose marks count (default: the agreed ones)"
    )
    parser.add_argument(
        "--footage", type=Path, metavar="FOLDER", help="evaluate MediaPipe Hands as well, on FOLDER/CLIP.mp4"
    )
    parser.add_argument("--frames", action="store_true", help="name every frame that fails")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    _report(options.takes, read_truth(options.truth, options.by), options.footage, options.frames)


def _report(
    takes: Sequence[Path], truth: Mapping[str, MarkedClip], footage: Path | None, frames: bool
) -> None:
    files = [file for path in takes for file in (sorted(path.glob("*.npz")) if path.is_dir() else [path])]
    methods: dict[str, dict[str, Judgement]] = {"take": {}}
    marked: dict[str, MarkedClip] = {}
    for file in files:
        if file.stem not in truth:
            raise TruthError(f"{file} is not one of the marked clips, which are {', '.join(truth)}.")
        take = load_take(file)
        marked[file.stem] = within(truth[file.stem], take.frame)
        methods["take"][file.stem] = judged(take_points_px(take), marked[file.stem])
        if footage is not None:
            found = mediapipe_points_px(footage / f"{file.stem}.mp4")[take.frame]
            methods.setdefault("mediapipe", {})[file.stem] = judged(found, marked[file.stem])
    for method, clips in methods.items():
        table = {name: summarised([one]) for name, one in clips.items()}
        table["all"] = summarised(list(clips.values()))
        print(table_text(table, f"{method}: {sum(len(one.both) for one in clips.values())} marked frames"))
    if frames:
        for name, one in methods["take"].items():
            print(*(f"{name} {line}" for line in failures(one, marked[name])), sep="\n")
