"""The layout of a sweep folder; nothing else knows where in it a file lies.

sweeps/NAME/
  sweep.json                 what was asked for: every run, in order (`Sweep.to_json`)
  code/SHA.zip               the code that the runs use, as it was when they were submitted
  submissions/
    lock                     held (flock) by whoever is submitting
    0001.json                what one command sent off: profile, code, array tasks
    0001/chunk-00000.json    one array, written down before it is sent; named by its first task
    0001/chunk-00000.receipt.json   its job id, written down afterwards
    0001/feeder-00010.json   the job that will send what comes from task 10 on; receipt likewise
  submitit/0001/             batch scripts and logs of the array tasks
  runs/ID/
    run.json                 the run (`Run.to_json`)
    journal.jsonl            a line per change of state, appended and synced
    record.json              the outcome, published once
    attempts/0001/           one folder per attempt, named by its fence
      lock                   held (flock) by the launcher while the attempt lives
      output.log             stdout and stderr of the training
      progress.jsonl         a line per evaluated epoch and per checkpoint
      checkpoint-a.pt, -b.pt two generations, by turns
      outcome.json           what the training found, before it is published
      error.json             why the training ended early
  collected/                 tables (`probprec collect`)
  figures/                   figures (`probprec plot`)
"""

import errno
import fcntl
import json
import os
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from jobs import files
from jobs.errors import InputError
from jobs.sweep import Run, Sweep

_SWEEP_PARTS = {
    "sweep.json",
    "code",
    "submissions",
    "submitit",
    "states.json",
    "runs",
    "collected",
    "figures",
}
_RUN_PARTS = {"run.json", "journal.jsonl", "record.json", "attempts"}


PartKind = Literal["chunk", "feeder"]


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

    @property
    def code(self) -> Path:
        """Folder of the code snapshots."""
        return self.root / "code"

    @property
    def states_file(self) -> Path:
        """What `status` remembers of records it has read; may be deleted at any time."""
        return self.root / "states.json"

    def submission(self, number: int) -> "Submission":
        """A submission by its number."""
        return Submission(self.root, number)

    def submissions(self) -> list["Submission"]:
        """Every submission, oldest first."""
        folder = self.root / "submissions"
        numbers = (int(path.stem) for path in folder.glob("*.json") if path.stem.isdecimal())
        return [self.submission(number) for number in sorted(numbers)]

    def new_submission(self, content: Mapping[str, Any]) -> "Submission":
        """Write down what is about to be submitted, under the next number."""
        (self.root / "submissions").mkdir(parents=True, exist_ok=True)
        while True:
            newest = max((known.number for known in self.submissions()), default=0)
            submission = self.submission(newest + 1)
            try:
                files.publish(submission.file, files.to_json(content))
            except FileExistsError:
                continue
            return submission

    @contextmanager
    def submitting(self, on_wait: Callable[[], object] = lambda: None) -> Iterator[int]:
        """Wait until nobody else is submitting, then hold the sweep; yields the lock's descriptor.

        Calls `on_wait` if it has to wait.

        Whoever inherits the descriptor holds the lock, too: a submitter that is killed while its
        `sbatch` still talks to the controller keeps the next one out until that is over.
        """
        folder = self.root / "submissions"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
            yield file.fileno()

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
    """What one command sent off, or is still to send."""

    def __init__(self, root: Path, number: int) -> None:
        self.number = number
        self.file = root / "submissions" / f"{number:04d}.json"
        self.folder = root / "submissions" / f"{number:04d}"
        self.submitit = root / "submitit" / f"{number:04d}"

    def content(self) -> dict[str, Any]:
        """What was written down."""
        content: dict[str, Any] = json.loads(self.file.read_bytes())
        return content

    def part(self, kind: PartKind, first: int) -> "Part":
        """The array that begins with task `first`, or the feeder that will send it."""
        return Part(self.folder, kind, first)

    def parts(self, kind: PartKind) -> list["Part"]:
        """The arrays, or the feeders, written down so far, in order."""
        names = (path.stem for path in self.folder.glob(f"{kind}-*.json"))
        numbers = (name.removeprefix(f"{kind}-") for name in names)
        return [self.part(kind, int(text)) for text in sorted(numbers) if text.isdecimal()]


class Part:
    """One call of sbatch: written down before, with a receipt after."""

    def __init__(self, folder: Path, kind: PartKind, first: int) -> None:
        self.kind: PartKind = kind
        self.first = first
        self.file = folder / f"{kind}-{first:05d}.json"
        self.receipt_file = folder / f"{kind}-{first:05d}.receipt.json"

    def intend(self, content: Mapping[str, Any]) -> None:
        """Write down what is about to be sent; FileExistsError if somebody else has."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        files.publish(self.file, files.to_json(content))

    def content(self) -> dict[str, Any]:
        """What was written down."""
        content: dict[str, Any] = json.loads(self.file.read_bytes())
        return content

    def settle(self, job_id: int) -> None:
        """Write down that it was sent."""
        content = {"job_id": job_id, "time": time.time()}
        with suppress(FileExistsError):  # the submitter and a repair may both find out
            files.publish(self.receipt_file, files.to_json(content))

    def job_id(self) -> int | None:
        """Its job's id; None while it is not known to be sent."""
        try:
            return int(json.loads(self.receipt_file.read_bytes())["job_id"])
        except FileNotFoundError:
            return None

    def withdraw(self, reason: str) -> None:
        """It was not sent, or is over for nothing: take it back, and keep the reason."""
        aside = self.file.with_name(f"{self.file.stem}.withdrawn-{time.time_ns()}.json")
        files.write_atomically(aside, files.to_json({"reason": reason, "time": time.time()}))
        self.receipt_file.unlink(missing_ok=True)
        self.file.unlink()


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

    def claim(self, last_fence: int | None = None) -> "Attempt":
        """Start an attempt: take the next fence. Fences only grow, and no two claims share one.

        The attempt holds its lock from the moment it exists until it is released or forgotten:
        its folder is made under another name, locked, and renamed.

        Args:
            last_fence: claim only if this is the newest fence.

        Raises:
            ClaimedError: it is not.
        """
        attempts = self.path / "attempts"
        attempts.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(dir=attempts, prefix=".claim-", suffix=".tmp"))
        place.chmod(0o755)
        lock = os.open(place / "lock", os.O_CREAT | os.O_RDWR, 0o644)
        fcntl.flock(lock, fcntl.LOCK_EX)
        while True:
            newest = self.last_fence()
            attempt = Attempt(self, newest + 1)
            is_free = last_fence in {None, newest}
            try:
                if is_free:
                    place.rename(attempt.path)  # refused if it exists: no attempt's folder is empty
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
                continue
            if is_free:
                attempt.holds(lock)
                return attempt
            os.close(lock)
            (place / "lock").unlink()
            place.rmdir()
            raise ClaimedError(f"attempt {newest} has been made in the meantime")

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

    def strangers(self) -> Iterator[Path]:
        """What this layout does not know in the folder, and leftovers of killed writers."""
        yield from _others(self.path, _RUN_PARTS)
        for attempt in _others(self.path / "attempts", set()):
            yield from filter(is_leftover, _others(attempt, set()))

    def is_locked(self) -> bool:
        """Whether the newest attempt is alive."""
        fence = self.last_fence()
        return fence > 0 and self.attempt(fence).is_alive()


class AttemptFiles:
    """The files of one execution of a run; the training knows no more than this folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log_file = path / "output.log"
        self.progress_file = path / "progress.jsonl"
        self.outcome_file = path / "outcome.json"
        self.error_file = path / "error.json"
        self.checkpoint_files = (path / "checkpoint-a.pt", path / "checkpoint-b.pt")


class Attempt(AttemptFiles):
    """One execution of a run."""

    def __init__(self, folder: RunFolder, fence: int) -> None:
        super().__init__(folder.path / "attempts" / f"{fence:04d}")
        self.folder = folder
        self.fence = fence
        self.release: Callable[[], Any] = _nothing

    def holds(self, lock: int) -> None:
        """Take over the descriptor of its lock; `release`, or forgetting the attempt, closes it."""
        self.release = weakref.finalize(self, os.close, lock)

    def is_alive(self) -> bool:
        """Whether a process holds its lock."""
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

    def has_checkpoint(self) -> bool:
        """Whether it left something to go on from."""
        return any(file.exists() for file in self.checkpoint_files)

    def checkpointed_step(self) -> int | None:
        """The step of its last checkpoint; None if it wrote none."""
        lines = files.read_lines(self.progress_file)
        steps = (line.get("step") for line in reversed(lines) if "checkpoint" in line)
        return next(steps, None)

    def drop_checkpoints(self) -> None:
        """Remove its checkpoints; what is published needs none."""
        for file in self.checkpoint_files:
            file.unlink(missing_ok=True)

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


class ClaimedError(RuntimeError):
    """A run was claimed by somebody else."""


class StaleAttemptError(RuntimeError):
    """An attempt that has been overtaken tried to publish."""


def _nothing() -> None:
    """An attempt that is only looked at holds nothing."""


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
