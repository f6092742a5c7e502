# SPDX-License-Identifier: GPL-3.0-or-later
"""Shots without hands, with one, and with hands in one of several windows: every stage alone and all together."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import inference_core
from inference_core import stages
from inference_core.fitting.settings import SolveSettings
from inference_core.fitting.shot import solve_shot
from inference_core.footage import FrameRange, open_footage
from inference_core.hand_model.hand import HandModel
from inference_core.hand_model.load import load_hand_model
from inference_core.pipeline import reconstruct
from inference_core.shared.messages import CaptureRequest
from inference_core.shared.presence import ABSENT, SEEN
from inference_core.shared.take import load_take
from tests.inference_core.solve_scenes import Shot, make_shot, without

DEMO = Path(inference_core.__file__).parent / "demo" / "two_hands.mp4"
WINDOWS = SolveSettings(window_frames=20, overlap_frames=5)
FRAMES = 48
NETWORKS = ("none", "sees them too", "sees nothing")


@pytest.fixture(scope="module")
def model() -> HandModel:
    return load_hand_model()


@pytest.fixture(scope="module")
def shot(model: HandModel) -> Shot:
    return make_shot(model, FRAMES, seed=8)


def seen_only(shot: Shot, frames: slice, sides: tuple[int, ...]) -> Shot:
    """The shot with the given hands seen in the given frames, and nothing else."""
    tracks = shot.tracks
    for side in (0, 1):
        gone = [slice(0, frames.start), slice(frames.stop, FRAMES)] if side in sides else [slice(None)]
        for part in gone:
            tracks = without(tracks, part, side, ABSENT)
    return replace(shot, tracks=tracks)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("frames", "sides"),
    [(slice(0, 0), ()), (slice(0, FRAMES), (1,)), (slice(0, 10), (0, 1)), (slice(38, 48), (0, 1))],
    ids=["no hand", "one hand", "first window only", "last window only"],
)
def test_the_solve_has_exactly_the_hands_that_were_seen(
    model: HandModel, shot: Shot, frames: slice, sides: tuple[int, ...], network: str
) -> None:
    part = seen_only(shot, frames, sides)
    predictions = None
    if network != "none":
        predictions = shot.network(0.9)
        known = part.tracks.present == SEEN if network == "sees them too" else np.zeros((FRAMES, 2), bool)
        predictions = replace(
            predictions,
            confidence=np.where(known, predictions.confidence, 0).astype(np.float32),
            presence=np.where(known, predictions.presence, 0).astype(np.float32),
            rotations=np.where(known[..., None, None, None], predictions.rotations, np.nan),
            joints_rel_m=np.where(known[..., None, None], predictions.joints_rel_m, np.nan),
            wrist_cam_m=np.where(known[..., None], predictions.wrist_cam_m, np.nan),
            offset_m=np.where(known.all(-1)[..., None], predictions.offset_m, np.nan),
        )
    solved = solve_shot(part.tracks, part.camera, part.time_s, model, WINDOWS, predictions)
    there = np.zeros((FRAMES, 2), bool)
    there[frames, list(sides)] = True
    assert ((solved.present != ABSENT) == there).all()
    assert (np.isfinite(solved.joints_cam_m).all((-1, -2)) == there).all()
    assert np.isfinite(solved.betas).all()


@pytest.mark.parametrize("network", ["none", "shipped"])
@pytest.mark.parametrize("case", ["no hand", "one hand", "one piece of three"])
def test_every_combination_of_hands_goes_through_the_whole_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, network: str
) -> None:
    monkeypatch.setattr(stages, "PIECE_FRAMES", 4)
    movie = tmp_path / "shot.mp4"
    write_parts_of_demo(movie, case)
    request = CaptureRequest(
        str(movie), str(tmp_path / "t.npz"), str(tmp_path / "p.mp4"), device="cpu", network=network
    )
    warnings: list[str] = []
    take = reconstruct(request, warn=warnings.append)
    assert load_take(tmp_path / "t.npz").frame_count == 12
    assert (tmp_path / "p.mp4").is_file()
    seen = take.present == SEEN
    assert any("No hands" in text for text in warnings) == (case == "no hand")
    if case == "no hand":
        assert not seen.any()
    elif case == "one hand":
        assert seen.any(0).sum() == 1
    else:
        assert seen[:4].any(0).all()
        assert not seen[8:].any()


def write_parts_of_demo(path: Path, case: str) -> None:
    """Twelve frames of the clip that ships, with grey laid over what the case is not to show."""
    pictures = [
        frame.image.copy() for frame in open_footage(str(DEMO), FrameRange(0, 12)) if frame.image is not None
    ]
    height, width = pictures[0].shape[:2]
    hidden = {
        "no hand": (slice(0, 12), slice(0, width)),
        "one hand": (slice(0, 12), slice(0, width // 2)),
        "one piece of three": (slice(4, 12), slice(0, width)),
    }
    rows, columns = hidden[case]
    for picture in pictures[rows]:
        picture[:, columns] = 120
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
