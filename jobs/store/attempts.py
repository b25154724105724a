"""A run's folder and its attempts: who may train it, and who has published; see `jobs.store`."""

import errno
import hashlib
import json
import logging
import os
import secrets
import shutil
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jobs import files, locks
from jobs.store import journal
from jobs.store.journal import AttemptSummary, Event
from jobs.sweep import Run

log = logging.getLogger(__name__)

_ASIDE = "record.torn-"
LIFE = "set-aside.json"
_RUN_PARTS = {"run.json", "journal.jsonl", "record.json", "attempts"}


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
        """Give a record that is none, or was edited, another name: the run can have one again."""
        self.record_file.rename(self.path / f"{_ASIDE}{time.time_ns()}.json")

    def set_aside(self, last_fence: int, *, by: str, why: str, submission: int) -> Path | None:
        """End the run's life so far: it begins anew, without the record and the checkpoints it has.

        The next fence is taken as by an attempt, so that no older one can publish any more; its
        folder keeps the record. If this is interrupted, doing it again finishes it.

        Args:
            last_fence: only if this is the newest fence.
            by: who does it.
            why: for what.
            submission: the newest one; what comes from it, or an older one, is of the life so far.

        Returns:
            Where the record is now; None: there was none.

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
        """The fence that ended the run's life before this one; 0: it is its first.

        What an attempt up to that fence left is not gone on from, and not held against the run.
        """
        fences = range(self.last_fence(), 0, -1)
        return next((fence for fence in fences if self.attempt(fence).life_file.exists()), 0)

    def claim(
        self, last_fence: int | None = None, *, ends_life: "EndedLife | None" = None
    ) -> "Attempt":
        """Start an attempt: take the next fence. Fences only grow, and no two claims share one.

        The attempt holds its lock from the moment it exists until it is released or forgotten:
        its folder is made under another name, locked, and renamed.

        Args:
            last_fence: claim only if this is the newest fence.
            ends_life: it is no attempt, but ends the run's life so far (`set_aside`): why.

        Raises:
            ClaimedError: it is not.
        """
        attempts = self.path / "attempts"
        attempts.mkdir(parents=True, exist_ok=True)
        place = attempts / f".claim-{secrets.token_hex(8)}.tmp"
        place.mkdir()
        lock = os.open(place / "lock", os.O_CREAT | os.O_RDWR, 0o666)  # less the umask
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
                place.rename(attempt.path)  # refused if it exists: no attempt's folder is empty
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
        """The journal's lines; a torn one is left out."""
        return files.read_lines(self.journal_file)

    def history(self) -> list[AttemptSummary]:
        """Every attempt that the journal knows, oldest first."""
        return journal.summaries(self.journal())

    def strangers(self) -> Iterator[Path]:
        """What this layout does not know in the folder, and leftovers of killed writers."""
        yield from files.others(self.path, _RUN_PARTS)
        for attempt in files.others(self.path / "attempts", set()):
            yield from filter(files.is_leftover, files.others(attempt, set()))

    def is_locked(self) -> bool:
        """Whether the newest attempt is alive."""
        fence = self.last_fence()
        return fence > 0 and self.attempt(fence).is_alive()


def is_set_aside(path: Path) -> bool:
    """Whether it is a record that was set aside."""
    return path.name.startswith(_ASIDE)


@dataclass(frozen=True, kw_only=True)
class EndedLife:
    """That what a run had left so far was set aside."""

    time: float  # unix time
    by: str
    why: str
    submission: int  # the newest one then


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
        self.life_file = self.path / LIFE
        self.kept_record_file = self.path / folder.record_file.name
        self.release: Callable[[], Any] = _nothing

    def holds(self, lock: int) -> None:
        """Take over the descriptor of its lock; `release`, or forgetting the attempt, closes it."""
        self.release = weakref.finalize(self, os.close, lock)

    def note(self, event: Event) -> None:
        """Append a line about this attempt to the run's journal."""
        self.folder.note(event.of(self.fence))

    def try_note(self, event: Event) -> bool:
        """As `note`; whether that was possible: on a full disk other runs must still go on."""
        try:
            self.note(event)
        except OSError:
            text = "run %s, %s: %s; this cannot be written down"
            log.exception(text, self.folder.id, event.name, event.of(self.fence).details)
            return False
        return True

    def is_alive(self) -> bool:
        """Whether a process holds its lock."""
        return locks.is_held(self.path / "lock")

    def ended_life(self) -> "EndedLife | None":
        """Who set aside what was there so far, and why; None: it is an attempt."""
        try:
            return EndedLife(**json.loads(files.read(self.life_file)))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            return EndedLife(time=0.0, by="somebody", why="not known", submission=0)

    def has_checkpoint(self) -> bool:
        """Whether it left something to go on from."""
        return any(file.exists() for file in self.checkpoint_files)

    def checkpointed_step(self) -> int | None:
        """The step of its last checkpoint; None if it wrote none."""
        lines = files.read_lines(self.progress_file)
        steps = (line.get("step") for line in reversed(lines) if "checkpoint" in line)
        return next(steps, None)

    def why_anew(self) -> str | None:
        """Why it went on from no checkpoint of an earlier attempt; None: it did, or had none to."""
        lines = files.read_lines(self.progress_file) if self.fence > 1 else []
        return next((str(line["anew"]) for line in lines if "anew" in line), None)

    def drop_checkpoints(self) -> None:
        """Remove its checkpoints; what is published needs none."""
        for file in self.checkpoint_files:
            file.unlink(missing_ok=True)

    def publish(self, record: Mapping[str, Any]) -> None:
        """Make the record the run's outcome, once and for good.

        Its sha256 is in the journal before the record is there: whenever this is interrupted, no
        record lacks the line that says what was published.

        Raises:
            FileExistsError: the run has a record; it stays.
            StaleAttemptError: a newer attempt has been claimed; this one has nothing to say.
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
    """A run was claimed by somebody else."""


class StaleAttemptError(RuntimeError):
    """An attempt that has been overtaken tried to publish."""


def _nothing() -> None:
    """An attempt that is only looked at holds nothing."""
