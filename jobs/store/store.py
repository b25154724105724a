"""The layout of a sweep folder; but for `attempts` and `submissions`, nothing else knows it.

sweeps/NAME/
  sweep.json                 the sweep: every run, in order (`Sweep.to_json`)
  replaced/0001.json         an earlier sweep.json, kept by `--replace`
  choices/KEY.json           the chosen setting of a tuning, and the others; published once
  choices/KEY.set-aside-0001.json   an earlier choice, whose tuning runs got a `redo`
  code/SHA.zip               the code that the runs use, as it was when they were submitted
  manifests/SHA.json         each data set, byte for byte, as it was when runs were submitted
  submissions/
    lock                     held (flock) by the submitting process
    0001.json                the plan of one submission: profile, code, array tasks
    0001/chunk-00000.json    one array, recorded before sbatch; named by its first task
    0001/chunk-00000.receipt.json   the array's job id, recorded after sbatch
    0001/worker-0.lock       held (flock) by a local worker as long as it may begin another run
    0001/feeder-00010.json   the job that will submit the tasks from 10 on; receipt likewise
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
      outcome.json           the training's outcome, before it is published
      error.json             why the training ended early
    attempts/0002/           no attempt: `redo` took this fence to set the record aside
      set-aside.json         who set the record aside, when and why
      record.json            the run's record until then
  collected/                 tables (`probprec collect`)
    records.cache            what was read of the records } both may be
    tables.cache             what the tables are made of  } deleted at any time
  figures/                   figures (`probprec plot`)
  report.html                all of it on one page (`probprec report`)
"""

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jobs import files, locks
from jobs.errors import InputError
from jobs.store.attempts import RUN_PARTS, RunFolder
from jobs.store.submission_plan import Plan
from jobs.store.submissions import Submission
from jobs.sweep import Sweep
from jobs.tuning import Choice

_SWEEP_PARTS = {
    "sweep.json",
    "replaced",
    "choices",
    "code",
    "manifests",
    "submissions",
    "submitit",
    "states.json",
    "runs",
    "collected",
    "figures",
    "report.html",
}


class StoreError(InputError):
    """A sweep folder is missing, or holds no sweep."""


class Store:
    """The folder of one sweep, as laid out above."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def sweep_file(self) -> Path:
        """File of the sweep."""
        return self.root / "sweep.json"

    @property
    def collected(self) -> Path:
        """Folder of the tables."""
        return self.root / "collected"

    @property
    def known_records_file(self) -> Path:
        """What `collect` and `plot` remember of records; may be deleted at any time."""
        return self.collected / "records.cache"

    @property
    def known_tables_file(self) -> Path:
        """What `collect` remembers of the tables that are there; may be deleted at any time."""
        return self.collected / "tables.cache"

    @property
    def figures(self) -> Path:
        """Folder of the figures."""
        return self.root / "figures"

    @property
    def report_file(self) -> Path:
        """The report."""
        return self.root / "report.html"

    @property
    def runs(self) -> Path:
        """Folder of the runs."""
        return self.root / "runs"

    def run(self, run_id: str) -> RunFolder:
        """The folder of one run; it need not exist."""
        return RunFolder(self.runs / run_id)

    def sweep(self) -> Sweep:
        """The sweep as last submitted, with the evaluation runs of its choices.

        Raises:
            StoreError: the folder has no sweep, or the sweep or a choice cannot be read.
        """
        try:
            asked = Sweep.from_json(json.loads(files.read(self.sweep_file)))
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(f"{self.root} is no sweep: it has no {self.sweep_file.name}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{self.sweep_file} cannot be read: {error}") from None
        return self.with_choices(asked)

    def with_choices(self, sweep: Sweep) -> Sweep:
        """The sweep with the evaluation runs of this folder's choices; StoreError as `sweep`."""
        found = [(tuning, self.choice(tuning.key)) for tuning in sweep.tunings]
        for tuning, choice in found:
            if choice is not None and {one.cell for one in choice.candidates} != {*tuning.cells}:
                raise self._unusable(tuning.key, "it is of other settings")
        choices = (choice for _, choice in found if choice is not None)
        return sweep.with_choices(choices) if found else sweep

    def version(self) -> tuple[int, int]:
        """Numbers that change whenever `sweep` may return something new; OSError if it is gone."""
        choices = self.root / "choices"
        chosen = choices.stat().st_mtime_ns if choices.exists() else 0
        return self.sweep_file.stat().st_mtime_ns, chosen

    def choice_file(self, key: str) -> Path:
        """File of the choice of the tuning with that key."""
        return self.root / "choices" / f"{key}.json"

    def choice(self, key: str) -> Choice | None:
        """The choice of a tuning; None: no choice yet; StoreError as `sweep`."""
        try:
            return Choice.from_json(json.loads(files.read(self.choice_file(key))))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._unusable(key, error) from None

    def _unusable(self, key: str, why: object) -> StoreError:
        """The error of a choice that is torn, or was changed since it was published."""
        todo = "move it away, and the next submission chooses again, by the records"
        return StoreError(f"{self.choice_file(key)} cannot be used: {why}; {todo}")

    def choose(self, choice: Choice) -> None:
        """Publish a choice, once; FileExistsError: the tuning has a choice already."""
        path = self.choice_file(choice.key)
        path.parent.mkdir(exist_ok=True)
        files.publish(path, files.to_json(choice.to_json(), indent=1))

    def set_choice_aside(self, key: str) -> None:
        """Rename a choice, which no longer counts; a new choice can be made."""
        path = self.choice_file(key)
        former = len(list(path.parent.glob(f"{key}.set-aside-*.json")))
        path.rename(path.with_name(f"{key}.set-aside-{former + 1:04d}.json"))

    def size(self) -> int:
        """Bytes of all files in the folder that can be read."""
        total = 0
        for folder, _, names in os.walk(self.root):
            for name in names:
                with suppress(OSError):  # gone by now
                    total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - quick
        return total

    def exists(self) -> bool:
        """Whether a sweep has been submitted here; OSError if the folder cannot be read."""
        try:
            return stat.S_ISREG(self.sweep_file.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def save(self, sweep: Sweep, *, keep_former: bool = False) -> None:
        """Write the sweep; an edited sweep may be submitted again.

        With `keep_former`, the sweep so far is kept in `replaced`, if it differs.
        """
        self.runs.mkdir(parents=True, exist_ok=True)
        content = files.to_json(sweep.to_json(), indent=1)
        if keep_former and self.exists() and (former := self.sweep_file.read_bytes()) != content:
            folder = self.root / "replaced"
            folder.mkdir(exist_ok=True)
            numbers = (int(path.stem) for path in folder.glob("*.json") if path.stem.isdecimal())
            files.publish(folder / f"{max(numbers, default=0) + 1:04d}.json", former)
        files.write_atomically(self.sweep_file, content)

    @property
    def code(self) -> Path:
        """Folder of the code snapshots."""
        return self.root / "code"

    def manifest_file(self, sha256: str) -> Path:
        """The manifest of a data set, by its hash."""
        return self.root / "manifests" / f"{sha256}.json"

    @property
    def states_file(self) -> Path:
        """File of the state cache; may be deleted at any time."""
        return self.root / "states.json"

    def submission(self, number: int) -> Submission:
        """A submission by its number."""
        return Submission(self.root, number)

    def submissions(self) -> list[Submission]:
        """Every submission, oldest first."""
        folder = self.root / "submissions"
        numbers = (int(path.stem) for path in folder.glob("*.json") if path.stem.isdecimal())
        return [self.submission(number) for number in sorted(numbers)]

    def new_submission(self, plan: Plan) -> Submission:
        """Record the plan of a new submission, under the next number."""
        (self.root / "submissions").mkdir(parents=True, exist_ok=True)
        while True:
            newest = max((known.number for known in self.submissions()), default=0)
            submission = self.submission(newest + 1)
            try:
                files.publish(submission.file, files.to_json(plan.to_json()))
            except FileExistsError:
                continue
            return submission

    @contextmanager
    def submitting(self, on_wait: Callable[[], object] = lambda: None) -> Iterator[int]:
        """Hold the sweep's lock, after other submitters are done; yields the lock's descriptor.

        `on_wait` is called once if another process holds the lock.

        A child that inherits the descriptor holds the lock, too: if a submitter is killed while its
        `sbatch` still talks to the controller, the next submitter waits until sbatch is done.
        """
        folder = self.root / "submissions"
        folder.mkdir(parents=True, exist_ok=True)
        lock = folder / "lock"
        with lock.open("ab") as file:
            if not locks.try_hold(file.fileno(), lock):
                on_wait()
                locks.hold(file.fileno(), lock)
            yield file.fileno()

    def folders(self) -> Iterator[RunFolder]:
        """Every folder below `runs`, by name, also of runs that the sweep no longer has."""
        return map(self.run, self.names())

    def names(self) -> list[str]:
        """The names of those folders, which are ids of runs, sorted."""
        if not self.runs.is_dir():
            return []
        with os.scandir(self.runs) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())

    def strangers(self) -> Iterator[Path]:
        """The paths that the layout does not know, in the folder and beside the runs, by name."""
        yield from files.others(self.root, _SWEEP_PARTS)
        for folder in (self.root / "choices", self.collected, self.figures):
            yield from files.leftovers(folder)
        yield from files.others(self.runs, set(self.names()))

    def strangers_of(self, runs: Iterable[str]) -> Iterator[Path]:
        """The paths in these runs' folders that the layout lacks, and leftovers of killed writers."""
        place = f"{self.runs}{os.sep}"  # thousands of them: a Path for each is slow
        for run in runs:
            names = files.names(f"{place}{run}")
            if not names <= RUN_PARTS:
                yield from files.others(f"{place}{run}", RUN_PARTS)
            if "attempts" in names:
                attempts = f"{place}{run}{os.sep}attempts"
                for name in sorted(files.names(attempts)):
                    yield from files.leftovers(f"{attempts}{os.sep}{name}")
