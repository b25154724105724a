"""A submission's plan and its jobs are recorded on disk before sbatch, with receipts after it."""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from jobs import files
from jobs.store.submission_plan import Chunk, FeederJob, Plan

PartKind = Literal["chunk", "feeder"]


class Submission:
    """A submission: all that one command has submitted, or is still to submit."""

    def __init__(self, root: Path, number: int) -> None:
        self.number = number
        self.file = root / "submissions" / f"{number:04d}.json"
        self.folder = root / "submissions" / f"{number:04d}"
        self.submitit = root / "submitit" / f"{number:04d}"

    def plan(self) -> Plan:
        """The plan of the submission."""
        return Plan.from_json(_read(self.file))

    def owner(self) -> int:
        """The uid of the user who submitted, and so of the jobs' owner."""
        return self.file.stat().st_uid

    def part(self, kind: PartKind, first: int) -> "Part":
        """The array that begins with task `first`, or the feeder that will submit that array."""
        return Part(self.folder, kind, first)

    def parts(self, kind: PartKind) -> list["Part"]:
        """The arrays, or the feeders, recorded so far, in order."""
        names = (path.stem for path in self.folder.glob(f"{kind}-*.json"))
        numbers = (name.removeprefix(f"{kind}-") for name in names)
        return [self.part(kind, int(text)) for text in sorted(numbers) if text.isdecimal()]


class Part:
    """One job of a submission, an array or a feeder: recorded before sbatch, a receipt after it."""

    def __init__(self, folder: Path, kind: PartKind, first: int) -> None:
        self.kind: PartKind = kind
        self.first = first
        self.file = folder / f"{kind}-{first:05d}.json"
        self.receipt_file = folder / f"{kind}-{first:05d}.receipt.json"

    def intend(self, content: Chunk | FeederJob) -> None:
        """Record the job before sbatch is called; FileExistsError if another process has."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        files.publish(self.file, files.to_json(content.to_json()))

    def chunk(self) -> Chunk:
        """The recorded array."""
        return Chunk.from_json(_read(self.file))

    def feeder(self) -> FeederJob:
        """The recorded feeder."""
        return FeederJob.from_json(_read(self.file))

    def settle(self, job_id: int) -> None:
        """Record the receipt: Slurm has accepted the job."""
        content = {"job_id": job_id, "time": time.time()}
        with suppress(FileExistsError):  # the submitter and a repair may both write it
            files.publish(self.receipt_file, files.to_json(content))

    def job_id(self) -> int | None:
        """The job's id; None: there is no receipt."""
        try:
            return int(json.loads(files.read(self.receipt_file))["job_id"])
        except FileNotFoundError:
            return None

    def withdraw(self, reason: str) -> None:
        """Undo `intend`: Slurm never took the job, or it ended without doing its work.

        The reason is kept in a `.withdrawn-*` file.
        """
        aside = self.file.with_name(f"{self.file.stem}.withdrawn-{time.time_ns()}.json")
        files.write_atomically(aside, files.to_json({"reason": reason, "time": time.time()}))
        self.receipt_file.unlink(missing_ok=True)
        self.file.unlink()


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(files.read(file))
    return content
