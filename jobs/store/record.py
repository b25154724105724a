"""A record is the published outcome of a run; records are checked when they are read."""

import hashlib
import operator
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jobs import files
from jobs.errors import ExpectedError
from jobs.store.attempts import JOURNAL, RECORD, RunFolder
from jobs.store.journal import AttemptSummary
from jobs.sweep import Run

SCHEMA = 1

EPOCH_METRICS = (
    "train_loss",
    "train_accuracy",
    "valid_loss",
    "valid_accuracy",
    "test_loss",
    "test_accuracy",
)
"""Curves with one value per evaluation, from epoch 0 (before training); accuracies are optional."""

STEP_METRICS = ("minibatch_loss", "learning_rate")
"""Curves with steps: `{"step": [0, 10, ...], "value": [...]}`."""

TIME_SERIES = ("wall_s", "cpu_s", "steps")
"""Series of training time: sums over all epochs so far, one per evaluation, 0 at epoch 0."""

_LARGEST_SUM = 2**63 - 1

_VALUE_TYPES = {float, int, type(None)}

PHASES = ("setup", "train", "eval", "estimate", "apply")
"""The phases of a run, into which its cost is split."""


class RecordError(ExpectedError, ValueError):
    """A record's file is torn, foreign, or of another run than its folder."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run's outcome.

    `stop` is `{"reason", "epoch", "step"}`. `curves` has the keys of `EPOCH_METRICS` (as far as the
    problem has them), of `STEP_METRICS`, and `optimizer` (the optimizer's own log). `cost` maps
    each of `PHASES` to `{"wall_s", "cpu_s", "forward", "backward", "hvp"}`, and `peak_memory_bytes`
    and `peak_gpu_memory_bytes` to a number or null.

    `time` has the keys of `TIME_SERIES`, one value per evaluation: seconds of training by the wall
    clock and on the CPU (all threads), and steps, from the run's beginning to that evaluation. What
    is no training is not in the seconds: setup, evaluations, checkpoints. On a GPU they end when its
    work has ended. They are summed over attempts; what was lost with an attempt is not in them.
    Records of older versions have no `time`.
    """

    id: str
    run: Run
    outcome: Literal["completed", "diverged"]
    stop: Mapping[str, Any]
    curves: Mapping[str, Any]
    cost: Mapping[str, Any]
    provenance: Mapping[str, Any]
    time: Mapping[str, list[float]] | None

    def to_json(self) -> dict[str, Any]:
        """The content of `record.json`."""
        return {
            "schema": SCHEMA,
            "id": self.id,
            "run": self.run.to_json(),
            "outcome": self.outcome,
            "stop": dict(self.stop),
            "curves": dict(self.curves),
            **({} if self.time is None else {"time": dict(self.time)}),
            "cost": dict(self.cost),
            "provenance": dict(self.provenance),
        }

    @property
    def evaluated_epochs(self) -> int:
        """Number of evaluations, epoch 0 included."""
        return len(self.curves.get("test_loss", ()))


@dataclass(frozen=True, kw_only=True)
class PublishedRecord:
    """A record that is what an attempt published, and what is known of it besides."""

    record: Record
    sha256: str  # of its file
    history: tuple[AttemptSummary, ...]  # of all attempts, oldest first


def read(path: Path, *, run_id: str | None = None) -> Record:
    """Read and check one record; with `run_id`, also that it is the record of that run.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the file cannot be read, so that nothing is known of the record.
        RecordError: the file is torn, of another schema or run, or its id is not that of its run.
    """
    return _checked(files.read(path), path, run_id)


def read_published(folder: RunFolder) -> PublishedRecord:
    """The record of a run if it is, byte for byte, what an attempt published; and all attempts.

    Journals of older versions lack the sha256: if no attempt has one, any valid record is accepted.

    Raises:
        FileNotFoundError: the run has no record.
        RecordError: the record is invalid, of another run, or was changed after it was published.
    """
    content = files.read(folder.record_file)
    found = _checked(content, folder.record_file, folder.id)
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        history = folder.history()  # read after the record, which the journal precedes
    except OSError:
        history = []
    published = {past.record_sha256 for past in history if past.record_sha256 is not None}
    if published and sha256 not in published:
        raise RecordError(
            f"{folder.record_file}: was changed after it was published: its sha256 is "
            f"{sha256[:12]}, and not {', '.join(sorted(one[:12] for one in published))} as in "
            f"{folder.journal_file.name}"
        )
    return PublishedRecord(record=found, sha256=sha256, history=tuple(history))


def version(folder: str) -> str:
    """What differs once `read_published` may say something else: what `stat` tells of both files.

    The run's folder is given as a text: there are thousands of them, and a Path for each is slow.

    Raises:
        FileNotFoundError: the run has no record.
        OSError: it, or the journal, cannot be looked at.
    """
    found = [os.stat(f"{folder}{os.sep}{RECORD}")]  # noqa: PTH116 - of a text that is quick
    with suppress(FileNotFoundError):
        found.append(os.stat(f"{folder}{os.sep}{JOURNAL}"))  # noqa: PTH116
    return " ".join(f"{it.st_size} {it.st_mtime_ns} {it.st_ctime_ns} {it.st_ino}" for it in found)


def parse(content: Mapping[str, Any]) -> Record:
    """The record in `content`; ValueError, KeyError or TypeError if that is no record."""
    if content["schema"] != SCHEMA:
        raise ValueError(f"schema {content['schema']!r}, expected {SCHEMA}")
    run = Run.from_json(content["run"])
    if content["id"] != run.id:
        raise ValueError(f"says to be run {content['id']!r}, but its content is run {run.id!r}")
    if not isinstance(content["run"]["seed"], int):
        raise TypeError(f"seed {content['run']['seed']!r} is no integer")
    if content["outcome"] not in {"completed", "diverged"}:
        raise ValueError(f"outcome {content['outcome']!r}, expected completed or diverged")
    for key in ("stop", "curves", "cost", "provenance"):
        if not isinstance(content[key], dict):
            raise TypeError(f"{key} is no mapping")
    evaluations = _count_evaluations(content["curves"])
    if content["outcome"] == "completed" and evaluations != run.epochs + 1:
        raise ValueError(f"completed with {evaluations} evaluations instead of {run.epochs + 1}")
    if (time := content.get("time")) is not None:
        _require_sums(time, evaluations)
    return Record(
        id=content["id"],
        run=run,
        outcome=content["outcome"],
        stop=content["stop"],
        curves=content["curves"],
        cost=content["cost"],
        provenance=content["provenance"],
        time=time,
    )


def _checked(content: bytes, path: Path, run_id: str | None) -> Record:
    """The record that a file holds; RecordError if it holds none, or that of another run."""
    from pydantic_core import from_json  # quick and strict; where runs are trained it is not there

    try:
        found = parse(from_json(content, allow_inf_nan=False))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{path}: {_reason(error)}") from None
    if run_id not in {None, found.id}:
        raise RecordError(f"{path}: is the record of run {found.id}, not of {run_id}")
    return found


def _count_evaluations(curves: Mapping[str, Any]) -> int:
    """The common length of the epoch curves, of numbers and nulls; 0 without curves."""
    found = {key: curves[key] for key in EPOCH_METRICS if key in curves}
    lengths = {key: len(values) for key, values in found.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"curves of unequal length: {lengths}")
    for key, values in found.items():
        if not isinstance(values, list) or not set(map(type, values)) <= _VALUE_TYPES:
            raise TypeError(f"{key} is no list of numbers")
    return lengths.get("test_loss", 0)


def _require_sums(time: Mapping[str, Any], evaluations: int) -> None:
    """Raise ValueError, KeyError or TypeError if these are no sums of what was taken so far."""
    if not isinstance(time, dict):
        raise TypeError("time is no mapping")
    for name in TIME_SERIES:
        values = time[name]
        kinds = {int} if name == "steps" else {int, float}
        if not isinstance(values, list) or not set(map(type, values)) <= kinds:
            raise TypeError(f"time.{name} is no list of numbers")
        if len(values) != evaluations:
            raise ValueError(f"time.{name} has {len(values)} values for {evaluations} evaluations")
        if not all(map(operator.le, [0, *values], [*values, _LARGEST_SUM])):  # NaN is not, either
            raise ValueError(f"time.{name} does not grow from 0 on")


def _reason(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
