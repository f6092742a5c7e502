# SPDX-License-Identifier: GPL-3.0-or-later
"""The live page: hands over frames as they come, the clip on disk, and nothing for strangers."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from inference_core.__main__ import main
from inference_core.cli.live_command import recording_names
from inference_core.footage import open_footage
from inference_core.geometry.camera import default_camera
from inference_core.hand_model.load import load_open_hand
from inference_core.landmarks.networks import load_landmark_networks
from inference_core.live.board import Board
from inference_core.live.follower import HandFollower
from inference_core.live.recorder import Recorder
from inference_core.live.server import PageServer
from inference_core.live.session import LiveSession, LiveSettings
from inference_core.live.solver import LiveSolver
from inference_core.live.source import LiveFrame, open_source
from inference_core.shared.errors import FootageError, RequestError
from inference_core.shared.system import cameras_here

DEMO = Path(__file__).parents[2] / "inference_core" / "demo"


def demo_frames(count: int) -> list[np.ndarray]:
    frames = (frame.image for frame in open_footage(DEMO / "two_hands.mp4"))
    return [image for image, _ in zip(frames, range(count), strict=False) if image is not None]


def test_both_hands_are_followed_and_fitted_in_place() -> None:
    """Against the demo clip's truth: rendered hands."""
    images = demo_frames(8)
    follower = HandFollower(load_landmark_networks())
    camera = default_camera((images[0].shape[1], images[0].shape[0]))
    solver = LiveSolver(load_open_hand(), camera, None)
    for image in images:
        hands = follower.look(image)
        vertices_m = solver.vertices_m(hands)
    assert set(hands) == {0, 1}
    for side, hand in hands.items():
        pixels = vertices_m[side] @ camera.K.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        low, high = hand.points_px.min(0), hand.points_px.max(0)
        overlap = ((pixels > low) & (pixels < high)).all(1).mean()
        assert overlap > 0.5, "the skin lies over the landmarks"
        assert 0.2 < vertices_m[side, :, 2].mean() < 2


def test_a_picture_without_hands_shows_none() -> None:
    grey = np.full((120, 160, 3), 90, np.uint8)
    solver = LiveSolver(load_open_hand(), default_camera((160, 120)), None)
    assert HandFollower(load_landmark_networks()).look(grey) == {}
    assert np.isnan(solver.vertices_m({})).all()


class StillSource:
    """Frames of one picture, as fast as they are taken."""

    name, is_camera, size_px, fps = "stills", False, (160, 120), 30.0

    def __init__(self, count: int, fault: Exception | None = None) -> None:
        self._count, self._fault = count, fault

    def frames(self) -> Iterator[LiveFrame]:
        for number in range(self._count):
            time.sleep(0.002)
            yield LiveFrame(self.image(number), time.monotonic(), number / 30)
        if self._fault is not None:
            raise self._fault

    def image(self, number: int) -> np.ndarray:
        return np.full((120, 160, 3), number % 250, np.uint8)


class DarkSource(StillSource):
    """The demo clip with its lights off."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.images = [(image * 0.08).astype(np.uint8) for image in demo_frames(count)]
        self.size_px = (self.images[0].shape[1], self.images[0].shape[0])

    def image(self, number: int) -> np.ndarray:
        return self.images[number]


def session_of(source: StillSource, board: Board, clip: Path) -> LiveSession:
    networks, camera = load_landmark_networks(), default_camera(source.size_px)
    settings = LiveSettings(lambda: clip, at_once=True)
    return LiveSession(source, board, networks, load_open_hand(), camera, settings)  # pyright: ignore[reportArgumentType]


def test_every_frame_is_recorded_though_not_every_one_is_shown(tmp_path: Path) -> None:
    board = Board("stills", (160, 120))
    session = session_of(StillSource(60), board, tmp_path / "c.mp4")
    session.run()
    assert session.recordings == [tmp_path / "c.mp4"]
    info = open_footage(tmp_path / "c.mp4").info
    assert (info.count, info.fps, info.size_px) == (60, 30.0, (160, 120))
    assert board.ended and board.shown.delay_ms > 0 and 0 <= board.shown.skipped < 1
    assert board.after(0)[1].startswith(b"\xff\xd8")


def test_hands_in_the_dark_are_shown(tmp_path: Path) -> None:
    source = DarkSource(6)
    follower = HandFollower(load_landmark_networks())
    assert not any(follower.look(image) for image in source.images), "as they are, they are not found"
    board = Board("dark", source.size_px)
    session_of(source, board, tmp_path / "c.mp4").run()
    assert len(board.shown.hands) == 2


def test_a_source_that_fails_is_reported_and_its_recording_kept(tmp_path: Path) -> None:
    session = session_of(
        StillSource(10, FootageError("It is gone.")), Board("s", (160, 120)), tmp_path / "c.mp4"
    )
    with pytest.raises(FootageError, match="gone"):
        session.run()
    assert open_footage(tmp_path / "c.mp4").info.count == 10


def test_a_truncated_recording_plays_up_to_the_cut(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "c.mp4", (160, 120), 30.0)
    noise = np.random.default_rng(0)
    for number in range(72):
        recorder.put(LiveFrame(noise.integers(0, 255, (120, 160, 3), np.uint8), 0.0, number / 30))
    recorder.close()
    whole = (tmp_path / "c.mp4").read_bytes()
    (tmp_path / "killed.mp4").write_bytes(whole[: int(0.7 * len(whole))])
    assert open_footage(tmp_path / "killed.mp4", warn=lambda _: None).info.count >= 24


def test_recordings_overwrite_nothing(tmp_path: Path) -> None:
    (tmp_path / "c.mp4").write_bytes(b"mine")
    with pytest.raises(RequestError, match="there already"):
        Recorder(tmp_path / "c.mp4", (160, 120), 30.0)
    assert (tmp_path / "c.mp4").read_bytes() == b"mine"


def test_recordings_begun_in_one_second_have_names_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda form: form.replace("%Y%m%d-%H%M%S", "now"))
    name = recording_names(Path("mine.mp4"))
    for expected in ("mine.mp4", "live-now.mp4", "live-now_2.mp4"):
        assert name() == Path(expected)
        Path(expected).touch()


def answer(url: str, host: str | None = None, method: str = "GET") -> tuple[int, bytes]:
    request = urllib.request.Request(url, method=method, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


def test_the_page_requires_its_secret_address() -> None:
    board = Board("camera 0", (640, 480))
    with PageServer(board) as server:
        root = server.url.rsplit("/", 2)[0]
        assert root.startswith("http://127.0.0.1:")
        assert answer(server.url)[0] == 200
        assert json.loads(answer(f"{server.url}state")[1])["source"] == "camera 0"
        for url in (root, f"{root}/", f"{root}/x/state", f"{server.url}other"):
            assert answer(url)[0] == 404
        assert answer(f"{server.url}state", host="elsewhere.example")[0] == 404
        assert answer(f"{root}/x/end", method="POST")[0] == 404 and not board.wants_end
        assert answer(f"{server.url}record", method="POST")[0] == 200 and board.wants_recording
        assert answer(f"{server.url}end", method="POST")[0] == 200 and board.wants_end


def test_the_pages_picture_is_a_stream_of_jpegs() -> None:
    board = Board("camera 0", (640, 480))
    with PageServer(board) as server:
        threading.Timer(0.1, board.publish, (b"\xff\xd8one", (), time.monotonic())).start()
        threading.Timer(0.3, board.end).start()
        status, body = answer(f"{server.url}picture")
    assert status == 200 and b"\xff\xd8one" in body and b"Content-Type: image/jpeg" in body


def test_a_missing_camera_gives_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    if cameras_here() is None:
        pytest.skip("only trying tells which cameras there are here")
    assert main(["live", "987", "--no-browser"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and "no camera 987" in said[0]


def test_a_movie_is_played_recorded_and_captured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["live", str(DEMO / "two_hands.mp4"), "--no-browser", "--seconds", "2"]
    assert main([*command, "--record", str(tmp_path / "c.mp4"), "--out", str(tmp_path / "t.npz")]) == 0
    said = capsys.readouterr().out
    assert "Page: http://127.0.0.1:" in said and "ms after they came" in said and "Take:" in said
    assert (tmp_path / "t.npz").exists() and open_footage(tmp_path / "c.mp4").info.count > 0


@pytest.mark.parametrize(("name", "said"), [("mine.mp4", "there already"), ("gone/c.mp4", "does not exist")])
def test_an_unwritable_recording_path_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    (tmp_path / "mine.mp4").write_bytes(b"mine")
    command = ["live", str(DEMO / "two_hands.mp4"), "--no-browser", "--record", str(tmp_path / name)]
    assert main(command) == 2
    captured = capsys.readouterr()
    assert said in captured.err and not captured.out
    assert (tmp_path / "mine.mp4").read_bytes() == b"mine"


def test_movies_play_at_their_own_speed() -> None:
    source = open_source(str(DEMO / "two_hands.mp4"))
    began = time.monotonic()
    times = [frame.time_s for frame, _ in zip(source.frames(), range(6), strict=False)]
    assert time.monotonic() - began >= times[-1] - 0.01
