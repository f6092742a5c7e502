# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole batch: finished shots are kept, identical ones captured once, the rest captured and reported."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from inference_core.batch.blender_files import NO_BLENDER_FILES, BlenderFiles
from inference_core.batch.capture_process import Outcome
from inference_core.batch.content import content_key, file_digest
from inference_core.batch.figures import hand_record, typical_row, worst_rows, write_pictures
from inference_core.batch.local_pool import Pool
from inference_core.batch.manifest import Shot
from inference_core.batch.page import PICTURES, write_page
from inference_core.batch.records import ShotRecord, read_records, write_record, write_report
from inference_core.request_inputs import capture_inputs
from inference_core.shared.errors import DuohandError, RequestError
from inference_core.shared.messages import Cancelled
from inference_core.shared.take import load_take
from inference_core.shared.whole_file import check_apart

Tell = Callable[[ShotRecord, str, int, int], None]  # a shot's record, its stage, done, total


class Batch:
    """The shots of one run and their outcomes. A pool's Watcher; its methods may be called from any thread."""

    def __init__(self, shots: Sequence[Shot], folder: Path, blender: BlenderFiles, tell: Tell) -> None:
        self._shots = {shot.name: shot for shot in shots}
        self._folder, self._blender, self._tell = folder, blender, tell
        self._earlier = read_records(folder)
        self._records = {
            shot.name: ShotRecord(shot.name, shot.request.footage, key=content_key(shot.request))
            for shot in shots
        }

    @property
    def records(self) -> tuple[ShotRecord, ...]:
        """The shots' records, in the batch's order."""
        return tuple(self._records.values())

    def plan(self) -> list[Shot]:
        """The shots that must be captured. Shots that are done, or cannot be done, are recorded."""
        first_of: dict[str, str] = {}
        waiting: list[Shot] = []
        for name, shot in self._shots.items():
            record = self._records[name]
            finished = self._finished(record)
            if record.key is not None and record.key in first_of:
                self._keep(replace(record, state="same", same_as=first_of[record.key]))
                continue
            if record.key is not None:
                first_of[record.key] = name
            try:
                check_apart([Path(shot.request.out)], capture_inputs(shot.request))
                if finished is None:
                    self._check_place(Path(shot.request.out))
            except RequestError as error:
                self._keep(replace(record, state="failed", error_kind="RequestError", error=str(error)))
                continue
            if finished is None:
                waiting.append(shot)
            else:
                self._keep(self._with_blender_files(finished, self._blender.missing))
        return waiting

    def finish(self) -> None:
        """Once the pool has finished, copy outcomes to the shots that share another's take."""
        for record in self.records:
            first = self._records.get(record.same_as or "")
            if first is not None and first.state == "done":
                self._records[record.name] = replace(record, take=first.take, frames=first.frames)
            elif first is not None:
                self._records[record.name] = replace(
                    record, state=first.state, error_kind=first.error_kind, error=first.error
                )
        for record in self.records:
            if record.state in ("waiting", "running"):
                self._records[record.name] = replace(record, state="stopped")

    def progress(self, name: str, stage: str, done: int, total: int) -> None:
        """A shot is under way."""
        record = replace(self._records[name], state="running")
        self._records[name] = record
        self._tell(record, stage, done, total)

    def ended(self, name: str, outcome: Outcome) -> None:
        """An attempt has ended: record its outcome."""
        record = replace(
            self._records[name],
            state=outcome.state,
            attempts=self._records[name].attempts + 1,
            seconds=round(outcome.seconds, 2),
            error_kind=outcome.kind,
            error=outcome.text,
            may_try_again=outcome.may_try_again,
            warnings=outcome.warnings,
        )
        if outcome.state == "done":
            record = self._with_blender_files(self._with_take(record), self._blender.files)
        self._keep(record)

    def _finished(self, record: ShotRecord) -> ShotRecord | None:
        """An earlier run's record of the same content under any name, if its take is unchanged."""
        candidates = [self._earlier.get(record.name), *self._earlier.values()]
        for earlier in candidates:
            if earlier is None or earlier.take is None or earlier.key is None or earlier.key != record.key:
                continue
            try:
                is_whole = file_digest(self._folder / earlier.take) == earlier.take_sha256
            except OSError:
                continue
            if is_whole:
                return replace(
                    earlier, name=record.name, footage=record.footage, state="done", same_as=None, error=None
                )
        return None

    def _check_place(self, take: Path) -> None:
        """RequestError if the take's path holds a file that no batch wrote."""
        written = {record.take: record.take_sha256 for record in self._earlier.values()}
        if take.exists() and written.get(take.name) != file_digest(take):
            raise RequestError(
                f"{take} exists and was not written by a batch. Move it away, or choose another folder."
            )

    def _with_take(self, record: ShotRecord) -> ShotRecord:
        shot = self._shots[record.name]
        out = Path(shot.request.out)
        try:
            take = load_take(out)
            rows = worst_rows(take)
            write_pictures(
                take, shot.request, (typical_row(take), *rows), self._folder / PICTURES, record.name
            )
            return replace(
                record,
                take=out.name,
                take_sha256=file_digest(out),
                preview=Path(shot.request.preview).name if shot.request.preview else None,
                frames=take.frame_count,
                left=hand_record(take, 0),
                right=hand_record(take, 1),
                worst_frames=tuple(int(take.frame[row]) for row in rows),
            )
        except (DuohandError, OSError) as error:
            return _failed_here(record, error)

    def _with_blender_files(
        self, record: ShotRecord, wanted: Callable[[Path, str], dict[str, Path]]
    ) -> ShotRecord:
        files = wanted(self._folder, record.name)
        if record.state != "done" or record.take is None:
            return record
        try:
            if files:
                self._blender.write(self._folder / record.take, files)
        except DuohandError as error:
            return _failed_here(record, error)
        name = record.name
        return replace(
            record,
            blend=f"{name}.blend" if self._blender.blend else record.blend,
            fbx=f"{name}.fbx" if self._blender.fbx else record.fbx,
        )

    def _keep(self, record: ShotRecord) -> None:
        """Record the shot's outcome; a failure does not replace the record of a finished take of other content."""
        self._records[record.name] = record
        if record.state == "done":
            write_record(self._folder, record)
        self._tell(record, "", 0, 0)


def _failed_here(record: ShotRecord, error: Exception) -> ShotRecord:
    """The record of a shot whose files this machine could not write."""
    kind, text = type(error).__name__, str(error)
    return replace(record, state="failed", error_kind=kind, error=text, may_try_again=True)


def run_batch(
    shots: Sequence[Shot],
    folder: Path,
    pool: Pool,
    tell: Tell,
    stop: threading.Event,
    retries: int = 1,
    blender: BlenderFiles = NO_BLENDER_FILES,
) -> tuple[ShotRecord, ...]:
    """Capture all unfinished shots into the folder; every shot's record, in order.

    RequestError or TakeError if the folder, or a record in it, cannot be used.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(
            f"{folder} cannot be made: {error.strerror or error}. Choose another folder."
        ) from error
    batch = Batch(shots, folder, blender, tell)
    with suppress(KeyboardInterrupt, Cancelled):  # unfinished shots are recorded as stopped
        pool(batch.plan(), retries, batch, stop)
    batch.finish()
    return batch.records


def write_reports(folder: Path, records: Sequence[ShotRecord]) -> Path:
    """Write the shots' report.json and report.html; the page's path. TakeError if that fails."""
    write_report(folder, records)
    return write_page(folder, records)
