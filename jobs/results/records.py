"""The records of a sweep are read; one that was read before only if its files have changed."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from pathlib import Path

import pyarrow as pa

from jobs.results import record_cache, rows
from jobs.results.reading import Result, Unsettled
from jobs.results.rows import Numbers, Refusal, Rows
from jobs.store import record, state
from jobs.store.attempts import RunFolder
from jobs.store.state import State
from jobs.store.store import Store
from jobs.sweep import PlannedRun

Track = Callable[[Sequence[PlannedRun]], Iterable[PlannedRun]]
"""Passes the planned runs through while it shows how far they are."""

MAX_RECORDS_READ_HERE = 500
"""More records than these are worth the start of other processes."""

_PROCESSES = 2
_CHUNK_RECORDS = 50  # enough to be worth a message, few enough for Ctrl-C not to wait for


def read(
    store: Store, runs: Sequence[PlannedRun], track: Track, *, keep: bool
) -> tuple[Result | Unsettled, ...]:
    """What became of each run, in their order.

    Args:
        store: the sweep's folder.
        runs: its planned runs.
        track: shows how far this is.
        keep: whether what is read is kept in the sweep's folder for the next time.
    """
    versions = _versions(store, runs)
    known = record_cache.still_true(record_cache.load(store.known_records_file), versions)
    there = set(known["run"].to_pylist())
    anew = [run for run in versions if run not in there]
    with closing(_read_anew([store.run(run).path for run in anew])) as chunks:
        records = _Records(store, known, anew, chunks)
        outcomes = tuple(map(records.outcome, track(runs)))
    if keep and anew:
        record_cache.save(store.known_records_file, records.table)
    return outcomes


class _Records:
    """What is known of the records by now; what is not is waited for when it is asked for."""

    def __init__(
        self, store: Store, known: pa.Table, anew: Sequence[str], chunks: Iterator[Rows]
    ) -> None:
        self._store = store
        self._tables = [known]
        self._numbers = Numbers(known)
        self._refusals: dict[str, Refusal] = {}
        self._chunk_of = {run: number // _CHUNK_RECORDS for number, run in enumerate(anew)}
        self._chunks = chunks

    @property
    def table(self) -> pa.Table:
        """All rows."""
        return pa.concat_tables(self._tables)

    def outcome(self, planned: PlannedRun) -> Result | Unsettled:
        """What became of a run."""
        run = planned.run.id
        while self._chunk_of.get(run, -1) >= len(self._tables) - 1:
            self._add(next(self._chunks))
        if (result := self._numbers.result(planned)) is not None:
            return result
        folder, refusal = self._store.run(run), self._refusals.get(run)
        if refusal is None:
            return Unsettled(planned=planned, state=_state_of(folder))
        why = _unreadable(refusal.failure, refusal.message, folder.record_file)
        return Unsettled(planned=planned, state=why)

    def _add(self, found: Rows) -> None:
        self._tables.append(found.table)
        self._numbers.add(found.table)
        self._refusals |= found.refusals


def _versions(store: Store, runs: Sequence[PlannedRun]) -> dict[str, str]:
    """Of each run that has a record, what tells whether it is the same; "" where nothing can."""
    versions: dict[str, str] = {}
    runs_folder = f"{store.runs}{os.sep}"
    for run in dict.fromkeys(planned.run.id for planned in runs):
        try:
            versions[run] = record.version(f"{runs_folder}{run}")
        except FileNotFoundError:
            continue
        except OSError:
            versions[run] = ""
    return versions


def _read_anew(folders: Sequence[Path]) -> Generator[Rows]:
    """Read records chunk by chunk, many of them in other processes; without those, in this one."""
    chunks = [folders[at : at + _CHUNK_RECORDS] for at in range(0, len(folders), _CHUNK_RECORDS)]
    done = 0
    if len(folders) > MAX_RECORDS_READ_HERE:
        try:
            for found in _elsewhere(chunks):
                yield found
                done += 1
        except (OSError, BrokenProcessPool):  # there is no room for them, or one was killed
            pass
    yield from map(rows.read, chunks[done:])


def _elsewhere(chunks: Sequence[Sequence[Path]]) -> Iterator[Rows]:
    pool = ProcessPoolExecutor(_PROCESSES, multiprocessing.get_context("spawn"))
    try:
        with _deaf_children():
            found = [pool.submit(rows.read, chunk) for chunk in chunks]
        for one in found:
            yield one.result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _deaf_children() -> Iterator[None]:
    """What is started here does not hear Ctrl-C: this process does, and ends them."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _state_of(folder: RunFolder) -> State:
    """The state by the run's other files, which may be garbage, too."""
    try:
        return state.of(folder)
    except (OSError, LookupError, TypeError, ValueError) as error:
        return _unreadable("bad_files", str(error), folder.path)


def _unreadable(failure: str, message: str, evidence: Path) -> State:
    return State(state="failed", failure=failure, message=message, evidence=str(evidence))
