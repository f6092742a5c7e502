# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs on Windows, as far as it can be tried without it: the switch of the one module that knows."""

import signal
import threading
from pathlib import Path

import pytest

from inference_core.shared import system
from inference_core.shared.whole_file import whole_file


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system.sys, "platform", "win32")


def test_a_file_that_is_held_for_a_moment_is_replaced(
    tmp_path: Path, windows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, real = [True, True, True], Path.replace

    def replace(source: Path, target: Path) -> Path:
        if held:
            held.pop()
            raise PermissionError(13, "held by a virus scanner")
        return real(source, target)

    monkeypatch.setattr(Path, "replace", replace)
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    system.replace_file(tmp_path / "new", tmp_path / "old")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "new"


@pytest.mark.parametrize("platform", ["win32", "linux"])
def test_a_file_that_stays_held_is_kept_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    def replace(source: Path, target: Path) -> Path:
        raise PermissionError(13, "open in Blender")

    monkeypatch.setattr(system, "REPLACED_WITHIN_S", 0.1)
    (tmp_path / "old").write_text("old")
    monkeypatch.setattr(system, "try_lock", lambda _file: True)
    monkeypatch.setattr("inference_core.shared.whole_file.try_lock", lambda _file: True)
    monkeypatch.setattr(system.sys, "platform", platform)
    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(PermissionError), whole_file(tmp_path / "old") as temporary:
        temporary.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "old"


@pytest.mark.parametrize(
    ("code", "was_asked", "force"),
    [
        (0, True, 0),
        (1, False, 0),
        (1, True, 1),
        (2, True, 0),
        (130, True, 0),
        (0xC0000005, False, 0xC0000005),
    ],
)
def test_windows_exit_codes_tell_a_crash_and_a_killed_process(
    windows: None, code: int, was_asked: bool, force: int
) -> None:
    assert system.ended_by_force(code, was_asked) == force


@pytest.mark.parametrize(("code", "force"), [(0, 0), (1, 0), (130, 0), (-signal.SIGTERM, signal.SIGTERM)])
def test_exit_codes_elsewhere_tell_the_signal(code: int, force: int) -> None:
    assert system.ended_by_force(code, was_asked=True) == force


def test_a_file_that_is_being_deleted_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses to look at one."""
    path = tmp_path / "a"
    with path.open("w+b") as file:
        assert system.is_still_at(file, path)

        def stat(_path: Path) -> None:
            raise PermissionError(5, "delete pending")

        monkeypatch.setattr(Path, "stat", stat)
        assert not system.is_still_at(file, path)


def test_one_lock_at_a_time(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w+b") as first, (tmp_path / "lock").open("r+b") as second:
        assert system.try_lock(first)
        answers: list[bool] = []
        thread = threading.Thread(target=lambda: answers.append(system.try_lock(second)))
        thread.start()
        thread.join()
        assert answers == [False]


@pytest.mark.skipif(system.sys.platform != "linux", reason="control groups are Linux's")
def test_a_container_has_no_more_cores_and_memory_than_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = tmp_path / "groups" / "jobs" / "one"
    group.mkdir(parents=True)
    (tmp_path / "own").write_text("3:cpu:/other\n0::/jobs/one\n")
    monkeypatch.setattr(system, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(system, "_OWN_GROUP", tmp_path / "own")
    monkeypatch.setattr(system.os, "sched_getaffinity", lambda _: set(range(64)))
    unlimited = system.available_memory()
    assert system.available_cores() == 64 and unlimited > 1 << 20
    (group / "cpu.max").write_text("max 100000\n")
    (group / "memory.max").write_text("max\n")
    assert system.available_cores() == 64
    (group.parent / "cpu.max").write_text("350000 100000\n")
    (group.parent / "memory.max").write_text("1048576\n")
    assert system.available_cores() == 4 and system.available_memory() == 1 << 20
    (group / "cpu.max").write_text("50000 100000\n")
    assert system.available_cores() == 1
