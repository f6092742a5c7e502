# SPDX-License-Identifier: GPL-3.0-or-later
"""Shards: reading returns what was written, interrupted runs resume, and errors name the shard."""

import errno
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import webdataset

from training.__main__ import main
from training.synthetic import shards
from training.synthetic.batch import SyntheticBatch
from training.synthetic.generate import generate
from training.synthetic.settings import Settings
from training.synthetic.shards import ShardError, Stream, read_shard, read_stream, shard_path, write_shards

SETTINGS = Settings(size_px=64, backgrounds=2, chunk=4, ways=(("clasp", 3.0),))
STREAM = Stream(seed=4, count=7, shard_pictures=3, settings=SETTINGS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shards")
    write_shards(path, STREAM)
    return path


def all_shards(folder: Path) -> list[SyntheticBatch]:
    """The shards of a folder in order."""
    return [read_shard(folder, number) for number in range(read_stream(folder).shards)]


def test_reading_returns_what_was_generated(folder: Path) -> None:
    read = all_shards(folder)
    assert [len(batch.index) for batch in read] == [3, 3, 1]
    made = generate(4, 7, settings=SETTINGS)
    index = torch.cat([batch.index for batch in read])
    assert index.tolist() == list(range(7))
    joints_m = torch.cat([batch.joints_cam_m for batch in read])
    torch.testing.assert_close(joints_m, made.joints_cam_m, atol=1e-5, rtol=0)
    image = torch.cat([batch.image for batch in read]).float()
    assert (image - made.image).abs().mean() < 6  # JPEG of quality 95 on noisy pictures


def test_webdataset_reads_the_shards(folder: Path) -> None:
    dataset = webdataset.WebDataset(str(shard_path(folder, 0)), shardshuffle=False).decode("rgb8")
    samples = list(dataset)
    assert [sample["__key__"] for sample in samples] == ["000000000", "000000001", "000000002"]
    assert samples[0]["jpg"].shape == (64, 64, 3) and "K" in samples[0]["npz"]


def test_an_unfinished_folder_is_resumed(folder: Path, tmp_path: Path) -> None:
    write_shards(tmp_path, STREAM)
    kept = shard_path(tmp_path, 0).stat().st_mtime_ns
    shard_path(tmp_path, 1).unlink()
    (tmp_path / "shard-000001.part").write_bytes(b"left by a kill")
    seen: list[tuple[int, int]] = []
    write_shards(tmp_path, STREAM, progress=lambda done, total: seen.append((done, total)))
    assert shard_path(tmp_path, 0).stat().st_mtime_ns == kept
    assert torch.equal(read_shard(tmp_path, 1).joints_cam_m, read_shard(folder, 1).joints_cam_m)
    assert seen[-1] == (7, 7) and not list(tmp_path.glob("*.part"))


def test_a_truncated_shard_is_named(folder: Path, tmp_path: Path) -> None:
    write_shards(tmp_path, STREAM)
    whole = shard_path(folder, 0).read_bytes()
    for share in (0.9, 0.5, 0.1, 0.0):
        shard_path(tmp_path, 0).write_bytes(whole[: int(len(whole) * share)])
        if share < 0.9:
            with pytest.raises(ShardError, match=r"shard-000000\.tar is .*cut short.*Delete it"):
                read_shard(tmp_path, 0)
    with tarfile.open(shard_path(tmp_path, 0), "w"):
        pass
    with pytest.raises(ShardError, match="0 of 3 pictures"):
        read_shard(tmp_path, 0)


def test_a_missing_shard_and_a_folder_without_a_card_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"stream\.json"):
        all_shards(tmp_path)
    write_shards(tmp_path, STREAM)
    shard_path(tmp_path, 2).unlink()
    with pytest.raises(ShardError, match="missing"):
        read_shard(tmp_path, 2)


def test_a_folder_of_another_stream_is_not_mixed(folder: Path) -> None:
    other = Stream(seed=5, count=7, shard_pictures=3, settings=SETTINGS)
    with pytest.raises(ShardError, match="another folder"):
        write_shards(folder, other)


def test_a_full_disk_leaves_no_partial_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Iterator[tuple[str, bytes]]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards, "_encoded", full)
    with pytest.raises(ShardError, match="disk is full"):
        write_shards(tmp_path, STREAM)
    assert [path.name for path in tmp_path.iterdir()] == ["stream.json"]


def test_the_command_writes_shards_and_reports_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert main(["generate", "pictures", str(blocked), "--count", "1", "--device", "cpu"]) == 2
    assert f"{blocked}: File exists." in capsys.readouterr().err
