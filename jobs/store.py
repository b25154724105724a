"""The layout of a sweep folder; nothing else knows where in it a file lies.

sweeps/NAME/
  sweep.json                 what was asked for: every run, in order (`Sweep.to_json`)
  submitit/                  scripts and logs of the array tasks
  runs/ID/
    run.json                 the run (`Run.to_json`)
    journal.jsonl            a line per change of state, appended and synced
    lock                     held (flock) by the launcher while an attempt lives
    record.json              the outcome, published once
    attempts/0001/           one folder per attempt, named by its fence
      output.log             stdout and stderr of the training
      outcome.json           what the training found, before it is published
      error.json             why the training ended early
  collected/                 tables (`probprec collect`)
  figures/                   figures (`probprec plot`)
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobs import files
from jobs.errors import InputError
from jobs.sweep import Run, Sweep

_SWEEP_PARTS = {"sweep.json", "submissions", "submitit", "runs", "collected", "figures"}
_RUN_PARTS = {"run.json", "journal.jsonl", "lock", "record.json", "attempts"}


class StoreError(InputError):
    """A sweep folder is missing, or is not one."""


class Store:
    """One sweep's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def sweep_file(self) -> Path:
        """What was asked for."""
        return self.root / "sweep.json"

    @property
    def collected(self) -> Path:
        """Folder of the tables."""
        return self.root / "collected"

    @property
    def figures(self) -> Path:
        """Folder of the figures."""
        return self.root / "figures"

    @property
    def runs(self) -> Path:
        """Folder of the runs."""
        return self.root / "runs"

    def run(self, run_id: str) -> "RunFolder":
        """The folder of one run; it need not exist."""
        return RunFolder(self.runs / run_id)

    def sweep(self) -> Sweep:
        """The sweep as last submitted.

        Raises:
            StoreError: there is none, or it cannot be read.
        """
        try:
            return Sweep.from_json(json.loads(self.sweep_file.read_bytes()))
        except FileNotFoundError:
            raise StoreError(f"{self.root} is no sweep: it has no {self.sweep_file.name}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{self.sweep_file} cannot be read: {error}") from None

    def exists(self) -> bool:
        """Whether a sweep has been submitted here."""
        return self.sweep_file.is_file()

    def save(self, sweep: Sweep) -> None:
        """Write what is asked for; a sweep may be edited and submitted again."""
        self.runs.mkdir(parents=True, exist_ok=True)
        files.write_atomically(self.sweep_file, files.to_json(sweep.to_json(), indent=1))

    def submission(self, number: int) -> "Submission":
        """A submission by its number."""
        return Submission(self.root, number)

    def new_submission(self, content: Mapping[str, Any]) -> "Submission":
        """Write down what is about to be submitted, under the next number."""
        folder = self.root / "submissions"
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            numbers = [int(path.stem) for path in folder.glob("*.json") if path.stem.isdecimal()]
            submission = self.submission(max(numbers, default=0) + 1)
            try:
                files.publish(submission.file, files.to_json(content, indent=1))
            except FileExistsError:
                continue
            return submission

    def folders(self) -> Iterator["RunFolder"]:
        """Every folder below `runs`, whether asked for or not, by name."""
        if self.runs.is_dir():
            with os.scandir(self.runs) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir())
            yield from (RunFolder(self.runs / name) for name in names)

    def strangers(self) -> Iterator[Path]:
        """What this layout does not know in the folder and beside the runs, by name."""
        yield from _others(self.root, _SWEEP_PARTS)
        for folder in (self.collected, self.figures):
            yield from filter(is_leftover, _others(folder, set()))
        names = {folder.id for folder in self.folders()}
        yield from _others(self.runs, names)


class Submission:
    """What one `submit` or `run` sent off."""

    def __init__(self, root: Path, number: int) -> None:
        self.number = number
        self.file = root / "submissions" / f"{number:04d}.json"
        self.submitit = root / "submitit" / f"{number:04d}"

    def content(self) -> dict[str, Any]:
        """What was written down."""
        content: dict[str, Any] = json.loads(self.file.read_bytes())
        return content


class RunFolder:
    """One run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_file = path / "run.json"
        self.record_file = path / "record.json"
        self.journal_file = path / "journal.jsonl"

    @property
    def id(self) -> str:
        """The run's id, by the folder's name."""
        return self.path.name

    def create(self, run: Run) -> None:
        """Make the folder and write the run; doing it again changes nothing."""
        (self.path / "attempts").mkdir(parents=True, exist_ok=True)
        if not self.run_file.exists():
            files.write_atomically(self.run_file, files.to_json(run.to_json(), indent=1))

    def set_record_aside(self) -> None:
        """Give a torn record another name, so that the run can have one."""
        self.record_file.rename(self.path / f"record.torn-{time.time_ns()}.json")

    def claim(self) -> "Attempt":
        """Start an attempt: take the next fence. Fences only grow, and no two claims share one."""
        attempts = self.path / "attempts"
        attempts.mkdir(parents=True, exist_ok=True)
        while True:
            attempt = Attempt(self, self.last_fence() + 1)
            try:
                attempt.path.mkdir()
            except FileExistsError:
                continue
            return attempt

    def last_fence(self) -> int:
        """The newest attempt's fence; 0 before the first."""
        try:
            names = [path.name for path in (self.path / "attempts").iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return 0
        return max((int(name) for name in names if name.isdecimal()), default=0)

    def attempt(self, fence: int) -> "Attempt":
        """The attempt of that fence."""
        return Attempt(self, fence)

    def note(self, event: str, **details: Any) -> None:
        """Append a line to the journal."""
        files.append_line(self.journal_file, {"time": time.time(), "event": event, **details})

    def journal(self) -> list[dict[str, Any]]:
        """The journal's lines; a torn one is left out."""
        return files.read_lines(self.journal_file)

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Hold the run for an attempt; yields False if another process holds it."""
        with (self.path / "lock").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def strangers(self) -> Iterator[Path]:
        """What this layout does not know in the folder, and leftovers of killed writers."""
        yield from _others(self.path, _RUN_PARTS)
        for attempt in _others(self.path / "attempts", set()):
            yield from filter(is_leftover, _others(attempt, set()))

    def is_locked(self) -> bool:
        """Whether an attempt is alive."""
        try:
            file = (self.path / "lock").open("rb")
        except FileNotFoundError:
            return False
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False


class AttemptFiles:
    """The files of one execution of a run; the training knows no more than this folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log_file = path / "output.log"
        self.progress_file = path / "progress.jsonl"
        self.outcome_file = path / "outcome.json"
        self.error_file = path / "error.json"


class Attempt(AttemptFiles):
    """One execution of a run."""

    def __init__(self, folder: RunFolder, fence: int) -> None:
        super().__init__(folder.path / "attempts" / f"{fence:04d}")
        self.folder = folder
        self.fence = fence

    def publish(self, record: Mapping[str, Any]) -> None:
        """Make the record the run's outcome, once and for good.

        Raises:
            FileExistsError: the run has a record; it stays.
            StaleAttemptError: a newer attempt has been claimed; this one has nothing to say.
        """
        newest = self.folder.last_fence()
        if newest > self.fence:
            raise StaleAttemptError(f"attempt {self.fence} is older than attempt {newest}")
        files.publish(self.folder.record_file, files.to_json(record))


class StaleAttemptError(RuntimeError):
    """An attempt that has been overtaken tried to publish."""


def is_leftover(path: Path) -> bool:
    """Whether it is a temporary file, which a killed writer leaves behind."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def _others(folder: Path, known: set[str]) -> list[Path]:
    """What is in the folder, by name, but for the known names; nothing if there is no folder."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - thousands of folders: a Path per name is slow
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in sorted(names) if name not in known]
