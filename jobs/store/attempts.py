"""A run's folder and its attempts: which one may train the run, and which published its record."""

import errno
import hashlib
import json
import logging
import os
import secrets
import shutil
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jobs import files, locks
from jobs.store import journal
from jobs.store.journal import AttemptSummary, Event
from jobs.sweep import Run

log = logging.getLogger(__name__)

RECORD, JOURNAL = "record.json", "journal.jsonl"
_ASIDE_PREFIX = "record.torn-"
LIFE = "set-aside.json"
RUN_PARTS = {"run.json", JOURNAL, RECORD, "attempts"}
"""The names that the layout knows in a run's folder."""


class RunFolder:
    """The folder of one run, by `store`'s layout."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def run_file(self) -> Path:
        """The run."""
        return self.path / "run.json"

    @property
    def record_file(self) -> Path:
        """The outcome, published once."""
        return self.path / RECORD

    @property
    def journal_file(self) -> Path:
        """A line per change of state."""
        return self.path / JOURNAL

    @property
    def id(self) -> str:
        """The run's id, which is the folder's name."""
        return self.path.name

    def create(self, run: Run) -> None:
        """Make the folder and write the run; doing it again changes nothing."""
        (self.path / "attempts").mkdir(parents=True, exist_ok=True)
        if not self.run_file.exists():
            files.write_atomically(self.run_file, files.to_json(run.to_json(), indent=1))

    def set_record_aside(self) -> None:
        """Rename an invalid or edited record, so that the run can have a record again."""
        self.record_file.rename(self.path / f"{_ASIDE_PREFIX}{time.time_ns()}.json")

    def set_aside(self, last_fence: int, *, by: str, why: str, submission: int) -> Path | None:
        """End the run's life so far: the run begins anew, without its record and checkpoints.

        The next fence is taken as by an attempt, so that no older attempt can publish any more; its
        folder keeps the record. If this is interrupted, a second call finishes the work.

        Args:
            last_fence: the expected newest fence.
            by: the person or process that does this.
            why: the reason.
            submission: the newest submission; it and older ones belong to the life so far.

        Returns:
            The new path of the record; None: the run had no record.

        Raises:
            ClaimedError: an attempt has begun in the meantime.
        """
        ended = EndedLife(time=time.time(), by=by, why=why, submission=submission)
        attempt = self.claim(last_fence, ends_life=ended)
        try:
            self.note(journal.set_aside(by=by, why=why, attempts=attempt.fence))
            self.record_file.rename(attempt.kept_record_file)
        except FileNotFoundError:
            return None
        finally:
            attempt.release()
        return attempt.kept_record_file

    def life(self) -> int:
        """The fence that ended the run's previous life; 0: this is the first.

        Attempts up to that fence do not count, and their checkpoints are not used.
        """
        fences = range(self.last_fence(), 0, -1)
        return next((fence for fence in fences if self.attempt(fence).life_file.exists()), 0)

    def claim(
        self, last_fence: int | None = None, *, ends_life: "EndedLife | None" = None
    ) -> "Attempt":
        """Start an attempt by taking the next fence. Fences only grow; no two claims share a fence.

        The attempt holds its lock from the moment its folder exists until `release`, or until the
        object is deleted: the folder is made under another name, locked, and renamed.

        Args:
            last_fence: the expected newest fence; None: any.
            ends_life: the claim is no attempt but ends the run's life so far (`set_aside`).

        Raises:
            ClaimedError: the newest fence is another one.
        """
        attempts = self.path / "attempts"
        attempts.mkdir(parents=True, exist_ok=True)
        place = attempts / f".claim-{secrets.token_hex(8)}.tmp"
        place.mkdir()
        lock = os.open(place / "lock", os.O_CREAT | os.O_RDWR, 0o666)  # the umask applies
        locks.hold(lock, place / "lock")
        if ends_life is not None:
            files.write_atomically(place / LIFE, files.to_json(asdict(ends_life)))
        while True:
            newest = self.last_fence()
            if last_fence not in {None, newest}:
                os.close(lock)
                shutil.rmtree(place)
                raise ClaimedError(f"attempt {newest} has been made in the meantime")
            attempt = Attempt(self, newest + 1)
            try:
                place.rename(attempt.path)  # fails if that exists: no attempt's folder is empty
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
            else:
                attempt.holds(lock)
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

    def note(self, event: Event) -> None:
        """Append a line to the journal."""
        line = {"time": time.time(), "event": event.name, **event.details}
        files.append_line(self.journal_file, line)

    def journal(self) -> list[dict[str, Any]]:
        """The journal's lines; a torn line is left out."""
        return files.read_lines(self.journal_file)

    def history(self) -> list[AttemptSummary]:
        """Every attempt that the journal knows, oldest first."""
        return journal.summaries(self.journal())

    def is_locked(self) -> bool:
        """Whether the newest attempt is alive."""
        fence = self.last_fence()
        return fence > 0 and self.attempt(fence).is_alive()


def is_set_aside(path: Path) -> bool:
    """Whether the path is a record that was set aside as invalid."""
    return path.name.startswith(_ASIDE_PREFIX)


@dataclass(frozen=True, kw_only=True)
class EndedLife:
    """The end of a run's life: its record and checkpoints were set aside."""

    time: float  # unix time
    by: str
    why: str
    submission: int  # the newest at that time


class AttemptFiles:
    """The files of one attempt; the training knows only this folder."""

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
        self.life_file = self.path / LIFE
        self.kept_record_file = self.path / folder.record_file.name
        self.release: Callable[[], Any] = _nothing

    def holds(self, lock: int) -> None:
        """Take over the lock's descriptor; `release`, or the object's deletion, closes it."""
        self.release = weakref.finalize(self, os.close, lock)

    def note(self, event: Event) -> None:
        """Append a line about this attempt to the run's journal."""
        self.folder.note(event.of(self.fence))

    def try_note(self, event: Event) -> bool:
        """Append a line as `note`; False if that fails: a full disk must not stop other runs."""
        try:
            self.note(event)
        except OSError:
            text = "run %s, %s: %s; this cannot be written down"
            log.exception(text, self.folder.id, event.name, event.of(self.fence).details)
            return False
        return True

    def is_alive(self) -> bool:
        """Whether a process holds the attempt's lock."""
        return locks.is_held(self.path / "lock")

    def ended_life(self) -> "EndedLife | None":
        """The end of a life that took this fence; None: the fence is an attempt's."""
        try:
            return EndedLife(**json.loads(files.read(self.life_file)))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            return EndedLife(time=0.0, by="somebody", why="not known", submission=0)

    def has_checkpoint(self) -> bool:
        """Whether the attempt left a checkpoint."""
        return any(file.exists() for file in self.checkpoint_files)

    def checkpointed_step(self) -> int | None:
        """The step of the attempt's last checkpoint; None: no checkpoint."""
        lines = files.read_lines(self.progress_file)
        steps = (line.get("step") for line in reversed(lines) if "checkpoint" in line)
        return next(steps, None)

    def why_anew(self) -> str | None:
        """Why the attempt resumed no earlier checkpoint; None: it did, or there was none."""
        lines = files.read_lines(self.progress_file) if self.fence > 1 else []
        return next((str(line["anew"]) for line in lines if "anew" in line), None)

    def drop_checkpoints(self) -> None:
        """Remove the attempt's checkpoints, which a published run does not need."""
        for file in self.checkpoint_files:
            file.unlink(missing_ok=True)

    def publish(self, record: Mapping[str, Any]) -> None:
        """Publish the record of the run, once and for good.

        The journal gets the record's sha256 before the record exists: whenever this is interrupted,
        no record lacks its journal line.

        Raises:
            FileExistsError: the run has a record already, which stays.
            StaleAttemptError: a newer attempt exists, so this one may not publish.
        """
        newest = self.folder.last_fence()
        if newest > self.fence:
            raise StaleAttemptError(f"attempt {self.fence} is older than attempt {newest}")
        if self.folder.record_file.exists():
            raise FileExistsError(f"the run has a record: {self.folder.record_file}")
        content = files.to_json(record)
        sha256 = hashlib.sha256(content).hexdigest()
        self.note(journal.publishing(sha256))
        files.publish(self.folder.record_file, content)


class ClaimedError(RuntimeError):
    """The run was claimed by another process."""


class StaleAttemptError(RuntimeError):
    """An attempt tried to publish although a newer one exists."""


def _nothing() -> None:
    """Release nothing: the attempt was not claimed here and holds no lock."""
