# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job on real and on empty footage, interrupted and resumed."""

import cProfile
import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import array_api_compat.numpy
import numpy as np
import pytest
import torch

import inference_core
from inference_core import chosen_network, detection, run, stages
from inference_core.footage import FootageInfo
from inference_core.geometry.camera import DEFAULT_FOV_DEG
from inference_core.hand_model.load import load_open_hand
from inference_core.pipeline import camera_of, capture_part, reconstruct
from inference_core.reading import FrameReader
from inference_core.runtime.program import digest_of
from inference_core.shared.errors import RequestError
from inference_core.shared.messages import Cancelled, CaptureRequest
from inference_core.shared.presence import ABSENT, SEEN
from inference_core.shared.take import Take, load_take
from inference_core.shared.take_format import ARRAYS
from inference_core.tracking import detect
from inference_core.tracking.detect import ShotDetector
from inference_core.tracking.settings import DetectionSettings
from inference_core.two_hand.card import CARD_FILE, SHIPPED_FOLDER, WeightsCard, read_card
from inference_core.two_hand.configuration import DIR_S
from inference_core.two_hand.dir import DirNetwork
from inference_core.two_hand.weights import save_weights
from tests.inference_core.movies import write_empty_scene, write_there_and_back
from tests.shared_files import footage_file

# The work of a capture that needs the whole shot.
WHOLE_SHOT = (
    "with_handedness",
    "build_tracks",
    "expected_hands",
    "shot_crops",
    "refined_tracks",
    "with_presence_of_shot",
    "solve_shot",
)
DEMO = Path(inference_core.__file__).parent / "demo" / "two_hands.mp4"
# What NumPy rounds differently by where memory lies (docs/conventions.md, Units and numbers), by its number of inputs.
ROUNDED = {
    **dict.fromkeys(("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "cbrt"), 1),
    **dict.fromkeys(("tan", "arcsin", "arccos", "arctan", "sinh", "cosh"), 1),
    **dict.fromkeys(("arctan2", "power"), 2),
}


def demo_request(folder: Path, name: str = "take.npz", **values: str) -> CaptureRequest:
    settings = {"frames": "0:36", "device": "cpu", "network": "none", **values}
    return CaptureRequest(str(DEMO), str(folder / name), **settings)


def test_real_footage_becomes_a_take_that_loads(tmp_path: Path) -> None:
    movie = str(footage_file("blur.mp4"))
    request = CaptureRequest(movie, str(tmp_path / "take.npz"), frames="10:46", device="cpu", network="none")
    take = reconstruct(request)
    loaded = load_take(tmp_path / "take.npz")
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(take, name), getattr(loaded, name), err_msg=name)
    assert list(take.frame) == list(range(10, 46))
    assert (take.present[:, 0] == ABSENT).all()
    assert (take.present[:, 1] == SEEN).sum() >= 12
    assert take.meta["hand_model"]["licence"] == "CC0-1.0"
    assert [path.name for path in tmp_path.iterdir()] == ["take.npz"]


def test_the_joints_project_onto_the_landmarks(tmp_path: Path) -> None:
    take = reconstruct(demo_request(tmp_path))
    seen = take.present == SEEN
    projected = take.joints_cam_m[seen] @ take.K.T
    off = np.linalg.norm(projected[..., :2] / projected[..., 2:] - take.landmarks_px[seen][..., :2], axis=-1)
    size = np.ptp(take.landmarks_px[seen][..., :2], axis=1)
    assert np.median(off.mean(1) / np.linalg.norm(size, axis=-1)) < 0.06


def test_a_users_own_network_is_used_and_named_in_the_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "PIECE_FRAMES", 3)
    torch.manual_seed(0)
    card = WeightsCard(DIR_S, "random numbers", "CC0-1.0", "open hand")
    save_weights(DirNetwork(DIR_S), tmp_path / "weights", card)
    request = demo_request(tmp_path, frames="0:5", network=str(tmp_path / "weights"))
    heard: list[tuple[str, int]] = []
    take = reconstruct(request, lambda stage, done, total: heard.append((stage, done)))
    assert take.meta["network"] == "dir-s"
    assert (take.present == SEEN).all()
    done = [done for stage, done in heard if stage == "read"]
    assert done == sorted(done)
    assert done[-1] == 5


def test_the_shipped_network_is_the_default_only_if_its_card_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = demo_request(tmp_path, frames="0:3", network="shipped")
    assert reconstruct(request).meta["network"] == "dir-s"
    card = read_card(SHIPPED_FOLDER / CARD_FILE)
    for by_default in (False, True):
        monkeypatch.setattr(
            chosen_network,
            "read_card",
            lambda path, good=by_default: dataclasses.replace(card, by_default=good),
        )
        chosen = chosen_network.choose_network("auto", load_open_hand(), "cpu")
        assert (chosen is not None) == by_default


def test_footage_without_hands_gives_an_empty_take_and_a_warning(tmp_path: Path) -> None:
    movie = write_empty_scene(tmp_path / "empty.mp4")
    warnings: list[str] = []
    take = reconstruct(
        CaptureRequest(str(movie), str(tmp_path / "t.npz"), device="cpu", network="none"),
        warn=warnings.append,
    )
    assert (take.present == ABSENT).all()
    assert np.isnan(take.joints_cam_m).all()
    assert any("No hands" in text for text in warnings)
    assert load_take(tmp_path / "t.npz").meta["warnings"] == warnings


def shown_all_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the two-hand network be shown hands that are apart, too."""
    monkeypatch.setattr(stages, "pair_shares", lambda expected: np.ones(len(expected.score)))


def in_small_windows(monkeypatch: pytest.MonkeyPatch, piece_frames: int) -> None:
    """Pieces of few frames, and a detector whose windows end, and whose sightings settle, often enough for them."""
    for module in (run, detection, stages):
        monkeypatch.setattr(module, "PIECE_FRAMES", piece_frames)
    settings = partial(DetectionSettings, detect_every=6, window_frames=12, history_frames=6)
    monkeypatch.setattr(detection, "DetectionSettings", settings)
    monkeypatch.setattr(detect, "_WINDOWS_BACK", 1)


def test_a_stopped_run_resumes_and_gives_the_same_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown_all_hands(monkeypatch)
    in_small_windows(monkeypatch, 12)
    kept: list[str] = []
    for last in ("detect", "track", "read"):

        def stop_late(stage: str, done: int, total: int, last: str = last) -> None:
            if stage == last and done >= 25:
                raise Cancelled

        with pytest.raises(Cancelled):
            reconstruct(demo_request(tmp_path, network="shipped"), stop_late)
        assert [path.name for path in tmp_path.iterdir()] == ["take.npz.partial"]
        kept = sorted(path.name.split("-")[0] for path in (tmp_path / "take.npz.partial").glob("*.npz"))
    assert kept == [*["detect"] * 3, "partners", *["read"] * 2, "track"]

    heard: list[tuple[str, int]] = []
    request = demo_request(tmp_path, network="shipped")
    went_on = reconstruct(request, lambda stage, done, total: heard.append((stage, done)))
    assert [done for stage, done in heard if stage == "detect"] == [36]
    assert [done for stage, done in heard if stage == "read"][:3] == [0, 12, 24]
    whole = reconstruct(demo_request(tmp_path, "whole.npz", network="shipped"))
    assert_alike(went_on, whole, within=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["take.npz", "whole.npz"]


def test_what_is_left_of_a_stopped_search_is_not_used_unless_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_windows(monkeypatch, 12)

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "detect" and done == total:
            raise Cancelled

    with pytest.raises(Cancelled):
        reconstruct(demo_request(tmp_path), stop)
    pieces = sorted(
        (tmp_path / "take.npz.partial").glob("detect-*.npz"), key=lambda path: path.stat().st_size
    )
    assert len(pieces) == 3
    pieces[0].unlink()
    heard: list[int] = []
    again = reconstruct(
        demo_request(tmp_path), lambda stage, done, total: heard.append(done) if stage == "detect" else None
    )
    assert heard[0] == 0
    assert_alike(again, reconstruct(demo_request(tmp_path, "whole.npz")), within=0)


def test_what_another_build_of_the_same_version_left_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier build kept less of the shot than this one reads back."""

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "detect" and done == total:
            raise Cancelled

    state = ShotDetector.state

    def lesser(detector: ShotDetector) -> dict[str, Any]:
        return {name: values for name, values in state(detector).items() if name not in ("changes", "cuts")}

    with monkeypatch.context() as earlier, pytest.raises(Cancelled):
        earlier.setattr(run, "program_digest", lambda: "an earlier build", raising=False)
        earlier.setattr(ShotDetector, "state", lesser)
        reconstruct(demo_request(tmp_path, frames="0:12"), stop)
    assert list((tmp_path / "take.npz.partial").glob("detect-*.npz"))
    resumed = reconstruct(demo_request(tmp_path, frames="0:12"))
    assert_alike(resumed, reconstruct(demo_request(tmp_path, "whole.npz", frames="0:12")), within=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["take.npz", "whole.npz"]


def test_programs_are_told_apart_by_what_their_files_say(tmp_path: Path) -> None:
    source, weights = tmp_path / "room" / "work.py", tmp_path / "weights.safetensors"
    source.parent.mkdir()
    source.write_bytes(b"one\ntwo\n")
    weights.write_bytes(bytes(8))
    digest = digest_of(tmp_path)
    (tmp_path / "room" / "work.pyc").write_bytes(b"compiled")
    source.write_bytes(b"one\r\ntwo\r\n")
    assert digest_of(tmp_path) == digest
    source.write_bytes(b"one\nthree\n")
    changed = digest_of(tmp_path)
    weights.write_bytes(bytes(9))
    assert len({digest, changed, digest_of(tmp_path)}) == 3


@pytest.mark.parametrize("network", ["none", "shipped"])
def test_no_result_depends_on_where_it_lies_in_memory(
    network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown_all_hands(monkeypatch)
    calls, columns = list[str](), list[str]()

    def watched(function: Any, inputs: int, *given: Any, **named: Any) -> Any:
        calls.append(function.__name__)
        if any(map(is_column, given[:inputs])):
            columns.append(f"{function.__name__} of {[np.shape(values) for values in given[:inputs]]}")
        return function(*given, **named)

    for name, inputs in ROUNDED.items():
        monkeypatch.setattr(np, name, partial(watched, getattr(np, name), inputs))
    monkeypatch.setattr(array_api_compat.numpy, "atan2", np.arctan2)
    reconstruct(demo_request(tmp_path, network=network, frames="0:8"))
    assert {"exp", "log", "arctan2"} <= set(calls)
    assert not columns


def test_pieces_do_not_change_the_take_and_whole_shot_work_runs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown_all_hands(monkeypatch)
    takes, shapes = [], list[object]()
    # In a thread, where no profiler looks.
    shape_of = stages.shot_shape
    monkeypatch.setattr(stages, "shot_shape", lambda *given, **named: kept(shapes, shape_of(*given, **named)))
    for piece_frames in (7, 480):
        in_small_windows(monkeypatch, piece_frames)
        with cProfile.Profile() as calls:
            takes.append(reconstruct(demo_request(tmp_path, f"{piece_frames}.npz", network="shipped")))
        assert {name: times_called(calls, name) for name in WHOLE_SHOT} == dict.fromkeys(WHOLE_SHOT, 1)
        assert len(shapes) == len(takes)
    assert_alike(*takes)


def test_pieces_do_not_change_a_long_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown_all_hands(monkeypatch)
    movie = str(write_there_and_back(tmp_path / "long.mp4", DEMO, 80))
    takes = []
    for piece_frames in (60, 480):
        for module in (run, detection, stages):
            monkeypatch.setattr(module, "PIECE_FRAMES", piece_frames)
        request = CaptureRequest(
            movie, str(tmp_path / f"{piece_frames}.npz"), device="cpu", network="shipped"
        )
        takes.append(reconstruct(request))
    assert takes[0].frame_count == 80
    assert_alike(*takes)


def kept(values: list[object], value: object) -> object:
    values.append(value)
    return value


def times_called(calls: cProfile.Profile, name: str) -> int:
    return sum(entry.callcount for entry in calls.getstats() if getattr(entry.code, "co_name", "") == name)


def is_column(values: Any) -> bool:
    """Whether there is memory between the values of an array of floats."""
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f" or values.size < 2:
        return False
    steps = [abs(step) for step, count in zip(values.strides, values.shape, strict=True) if count > 1]
    return min(steps) != values.itemsize


def assert_alike(one: Take, other: Take, within: float = 1e-4) -> None:
    for name in ARRAYS:
        values = getattr(one, name), getattr(other, name)
        if values[0] is not None:
            # Half precision may round to the neighbouring number.
            step = np.finfo(np.float16).eps if np.asarray(values[0]).dtype == np.float16 else 1e-7
            np.testing.assert_allclose(*values, rtol=step, atol=within, err_msg=name)


def test_present_hands_have_finite_landmarks_in_the_take(tmp_path: Path) -> None:
    """Also one found by recovery, or predicted by the network alone."""
    movie = str(footage_file("two_hands.mp4"))
    take = reconstruct(CaptureRequest(movie, str(tmp_path / "t.npz"), frames="60:84", device="cpu"))
    there = take.present != ABSENT
    assert there.any()
    assert np.isfinite(take.landmarks_px[there]).all()
    assert (take.landmarks_px[take.present == SEEN][..., 2].mean(-1) > 0).all()


def test_the_two_hand_network_is_not_imported_for_hands_that_are_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "_for_fitting", pytest.fail)
    take = reconstruct(demo_request(tmp_path, frames="0:7", network="shipped"))
    assert (take.present == SEEN).all() and not take.evidence_confidence.any()


def test_runs_with_other_settings_do_not_share_cached_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_windows(monkeypatch, 12)
    movie = write_empty_scene(tmp_path / "empty.mp4", 36)
    request = CaptureRequest(str(movie), str(tmp_path / "t.npz"), device="cpu", network="none")

    def stop_late(stage: str, done: int, total: int) -> None:
        if done >= 24:
            raise Cancelled

    def frames_searched(other: CaptureRequest) -> int:
        with pytest.raises(Cancelled):
            reconstruct(request, stop_late)
        heard: list[int] = []
        reconstruct(other, lambda stage, done, total: heard.append(done) if stage == "detect" else None)
        return heard[-1] - heard[0]

    assert frames_searched(request) == 12
    assert frames_searched(dataclasses.replace(request, frames="1:")) == 35
    assert frames_searched(dataclasses.replace(request, resume=False)) == 36


@pytest.mark.parametrize(
    ("lens", "says"),
    [
        ({"fov_deg": 60.0, "focal_mm": 35.0, "sensor_mm": 36.0}, "once"),
        ({"focal_mm": 35.0}, "both"),
        ({"fov_deg": 200.0}, "field of view"),
    ],
)
def test_an_incomplete_or_ambiguous_lens_is_refused(lens: dict[str, float], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        camera_of(CaptureRequest("a.mp4", "a.npz", **lens), _info(), _never)


def _info(focal_35mm: float | None = None) -> FootageInfo:
    return FootageInfo("a.mp4", "movie", (640, 480), 25.0, range(1), 0.04, "a", focal_35mm=focal_35mm)


def _never(text: str) -> None:
    raise AssertionError(text)


def test_every_way_of_giving_a_lens_is_accepted() -> None:
    def focal_px(**lens) -> float:
        return camera_of(CaptureRequest("a.mp4", "a.npz", **lens), _info(), _never).K[0, 0]

    assert focal_px(focal_mm=35.0, sensor_mm=36.0) == pytest.approx(640 * 35 / 36)
    assert focal_px(fov_deg=DEFAULT_FOV_DEG) == focal_px()
    assert focal_px(intrinsics_px=(700.0, 700.0, 320.0, 240.0)) == 700


def test_the_lens_in_the_metadata_is_used_and_reported_unless_one_is_given() -> None:
    said: list[str] = []
    camera = camera_of(CaptureRequest("a.mp4", "a.npz"), _info(26.0), said.append)
    assert camera.K[0, 0] == pytest.approx(800 * 26 / 43.267) and "26 mm" in camera.source
    assert "metadata: 26 mm" in said[0]
    given = camera_of(CaptureRequest("a.mp4", "a.npz", fov_deg=50.0), _info(26.0), _never)
    assert given.fov_deg == pytest.approx(50)
    for senseless in (0.0, -13.0, 1e6, float("nan")):
        camera = camera_of(CaptureRequest("a.mp4", "a.npz"), _info(senseless), _never)
        assert camera.fov_deg == pytest.approx(DEFAULT_FOV_DEG)


def test_parts_read_by_other_processes_give_the_identical_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown_all_hands(monkeypatch)
    in_small_windows(monkeypatch, 3)
    read, spans = FrameReader.read, list[int]()

    def counting(reader: FrameReader, frames: Any, *known: Any) -> Any:
        spans.append(len(known[1]))
        return read(reader, frames, *known)

    monkeypatch.setattr(FrameReader, "read", counting)
    request = demo_request(tmp_path, frames="0:7", network="shipped")
    for part, shares in (("tracks", []), ("2/3", [1]), ("3/3", [1]), ("4/4", [])):
        spans.clear()
        capture_part(dataclasses.replace(request, part=part), lambda *_: None, lambda _: None)
        assert spans == shares
        assert [path.name for path in tmp_path.iterdir()] == ["take.npz.partial"]
    spans.clear()
    shared = reconstruct(request)
    assert spans == [1], "what others have read is not read again; what they have not is"
    whole = reconstruct(demo_request(tmp_path, "whole.npz", frames="0:7", network="shipped"))
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(shared, name), getattr(whole, name), err_msg=name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["take.npz", "whole.npz"]


@pytest.mark.parametrize("part", ["0/2", "3/2", "half", "1/2/3"])
def test_an_invalid_part_is_refused(tmp_path: Path, part: str) -> None:
    with pytest.raises(RequestError, match="part"):
        reconstruct(demo_request(tmp_path, part=part))
