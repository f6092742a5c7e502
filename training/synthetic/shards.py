# SPDX-License-Identifier: GPL-3.0-or-later
"""Synthetic pictures on disk: WebDataset tar files of JPEG and .npz, written piece by piece and resumable.

    OUT/stream.json          seed, settings, how many pictures a shard holds
    OUT/shard-000000.tar     000000000.jpg, 000000000.npz, 000000001.jpg, ...

A shard carries its name only when it is whole: it is written under another and renamed at the end, so that a kill
leaves whole shards and at most one .part, which the next run rewrites. The .npz holds SyntheticBatch's fields of
one picture, less image and vertices (those follow from rotations, betas and wrist_cam_m).
"""

import errno
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from inference_core.shared.errors import DuohandError
from training.synthetic.batch import SyntheticBatch, concatenated
from training.synthetic.generate import generate
from training.synthetic.settings import Settings

SHARD_PICTURES = 512
FORMAT_VERSION = 1
_JPEG_QUALITY = 95
_CARD = "stream.json"
_WITHOUT = ("image", "vertices_cam_m")

Progress = Callable[[int, int], None]


class ShardError(DuohandError):
    """A folder of shards cannot be written, continued, or read."""


@dataclass(frozen=True)
class Stream:
    """The contents of a folder of shards: pictures 0 .. count - 1 of the stream `seed`."""

    seed: int
    count: int
    shard_pictures: int
    settings: Settings

    def shard(self, number: int) -> range:
        """The pictures of a shard."""
        start = number * self.shard_pictures
        return range(start, min(start + self.shard_pictures, self.count))

    @property
    def shards(self) -> int:
        """How many files there are."""
        return -(-self.count // self.shard_pictures)


def write_shards(
    folder: Path,
    stream: Stream,
    device: torch.device | str = "cpu",
    progress: Progress = lambda done, total: None,
) -> None:
    """Write the shards of a stream that the folder does not hold yet.

    progress(done, total) counts pictures, those found on disk included. Raises ShardError when the folder
    holds another stream, cannot be written, or the disk is full (nothing half-written is left).
    """
    stream = replace(stream, settings=replace(stream.settings, vertices=False))
    _check_card(folder, stream)
    for number in range(stream.shards):
        path, pictures = shard_path(folder, number), stream.shard(number)
        if not path.exists():
            _write_shard(path, stream, pictures, device, progress)
        progress(pictures.stop, stream.count)


def read_stream(folder: Path) -> Stream:
    """The contents of a folder. Raises ShardError without a readable card."""
    card = folder / _CARD
    try:
        text = json.loads(card.read_text())
        if text.pop("format_version") != FORMAT_VERSION:
            raise ShardError(
                f"{card} is of another format version. Write the shards again with this version."
            )
        settings = Settings(**{name: _tuples(value) for name, value in text["settings"].items()})
        return Stream(text["seed"], text["count"], text["shard_pictures"], settings)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ShardError(
            f"{folder} holds no readable {_CARD} ({error}). Write shards there with "
            "`python -m training generate pictures FOLDER --count N --seed S`."
        ) from error


def _tuples(value: Any) -> Any:
    """The value with tuples where JSON has lists."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def read_shard(folder: Path, number: int) -> SyntheticBatch:
    """All pictures of one shard. Raises ShardError if it is missing, truncated or damaged."""
    path, pictures = shard_path(folder, number), read_stream(folder).shard(number)
    again = f"Delete it and run `python -m training generate pictures {folder}` again to rewrite it."
    rows: list[SyntheticBatch] = []
    try:
        with tarfile.open(path, "r:") as tar:
            for index in pictures:
                name = f"{index:09d}"
                rows.append(_decoded(_member(tar, f"{name}.jpg"), _member(tar, f"{name}.npz")))
    except FileNotFoundError as error:
        raise ShardError(
            f"{path} is missing. Run `python -m training generate pictures {folder}` again."
        ) from error
    except KeyError as error:
        raise ShardError(
            f"{path} is cut short: it holds {len(rows)} of {len(pictures)} pictures. {again}"
        ) from error
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        raise ShardError(f"{path} is damaged or cut short ({error}). {again}") from error
    return concatenated(rows)


def shard_path(folder: Path, number: int) -> Path:
    """The path of a shard."""
    return folder / f"shard-{number:06d}.tar"


def _check_card(folder: Path, stream: Stream) -> None:
    """Write the folder's card, or check that it describes the same stream (which may grow longer)."""
    card = folder / _CARD
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if card.exists():
            found = read_stream(folder)
            grown = replace(found, count=stream.count)
            ragged = found.count % found.shard_pictures and found.count != stream.count
            if grown != stream or found.count > stream.count or ragged:
                raise ShardError(
                    f"{folder} holds {found.count} pictures of seed {found.seed} with settings of their own, "
                    f"in shards of {found.shard_pictures}. Continue it with the same seed and settings and at "
                    "least as many pictures (whole shards only can grow), or choose another folder."
                )
        text = {"format_version": FORMAT_VERSION, **asdict(stream)}
        part = card.with_suffix(".part")
        part.write_text(json.dumps(text, indent=1))
        part.replace(card)
    except OSError as error:
        raise ShardError(
            f"Cannot write to {folder}: {error.strerror}. Choose a folder you may write."
        ) from error


def _write_shard(
    path: Path, stream: Stream, pictures: range, device: torch.device | str, progress: Progress
) -> None:
    part = path.with_suffix(".part")
    try:
        with tarfile.open(part, "w") as tar:
            for start in range(pictures.start, pictures.stop, stream.settings.chunk):
                count = min(stream.settings.chunk, pictures.stop - start)
                batch = generate(stream.seed, count, device, stream.settings, start).to("cpu")
                for row in range(count):
                    for suffix, data in _encoded(batch, row):
                        entry = tarfile.TarInfo(f"{start + row:09d}.{suffix}")
                        entry.size = len(data)
                        tar.addfile(entry, io.BytesIO(data))
                progress(start + count, stream.count)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        if error.errno == errno.ENOSPC:
            raise ShardError(
                f"The disk is full; {path.name} was not kept, the shards before it are whole. Make room and run "
                "the same command again: it continues there."
            ) from error
        raise ShardError(
            f"Cannot write {path}: {error.strerror}. Check the folder and run it again."
        ) from error


def _encoded(batch: SyntheticBatch, row: int) -> Iterator[tuple[str, bytes]]:
    image = np.ascontiguousarray(batch.image[row].permute(1, 2, 0).numpy()[..., ::-1])
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    yield "jpg", jpeg.tobytes()
    fields = {name: v[row].numpy() for name, v in batch.tensors().items() if name not in _WITHOUT}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **fields)
    yield "npz", buffer.getvalue()


def _decoded(jpeg: bytes, arrays: bytes) -> SyntheticBatch:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if np.ndim(image) != 3:
        raise ValueError("a JPEG that cannot be decoded")
    with np.load(io.BytesIO(arrays), allow_pickle=False) as stored:
        fields: dict[str, Tensor] = {name: torch.from_numpy(stored[name])[None] for name in stored.files}
    picture = torch.from_numpy(np.ascontiguousarray(image[..., ::-1])).permute(2, 0, 1)[None]
    return SyntheticBatch(image=picture, **fields)


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    """A member's bytes. Raises KeyError if the archive ends before it, EOFError if it is truncated."""
    entry = tar.getmember(name)
    file = tar.extractfile(entry)
    data = b"" if file is None else file.read()
    if len(data) < entry.size:
        raise EOFError(f"{name} ends after {len(data)} of {entry.size} bytes")
    return data
