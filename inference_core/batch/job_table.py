# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress of a batch in the form that Open Job Description's runners read."""

from inference_core.batch.records import ShotRecord
from inference_core.cli.job_progress import JobProgress


class JobTable(JobProgress):
    """Prints status and per cent of all shots. Use as a context manager; `tell` is a batch's Tell."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self._total = total
        self._ended: set[str] = set()

    def tell(self, record: ShotRecord, stage: str, done: int, total: int) -> None:
        """Report that a shot has progressed or ended."""
        if record.state == "running":
            if self._total == 1:
                self.show(stage, done, total)
            return
        self._ended.add(record.name)
        print(f"openjd_status: {record.name} is {record.state}", flush=True)
        if record.error is not None:
            print(f"{record.name}: {record.error}", flush=True)
        print(f"openjd_progress: {100 * len(self._ended) / self._total:.1f}", flush=True)
