"""A row holds what a result needs of a record: rows are read from files, and results made of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.results.reading import Floats, Result
from jobs.store import record
from jobs.store.attempts import RunFolder
from jobs.store.record import EPOCH_METRICS, TIME_SERIES
from jobs.sweep import PlannedRun

SCHEMA = pa.schema(
    [
        ("run", pa.string()),
        ("version", pa.string()),  # of its files; "" if they changed while they were read
        ("sha256", pa.string()),
        ("diverged", pa.bool_()),
        ("facts", pa.string()),  # stop, cost and provenance, as JSON
        *((series, pa.list_(pa.float64())) for series in (*EPOCH_METRICS, "wall_s", "cpu_s")),
        ("steps", pa.list_(pa.int64())),
    ]
)
"""A row per record; a series that it lacks is null, a value that it lacks is NaN."""


@dataclass(frozen=True)
class Refusal:
    """Why a record is not counted: a class of failure, and its message."""

    failure: Literal["bad_files", "bad_record"]
    message: str


@dataclass(frozen=True)
class Rows:
    """What was read of some records: a row, or a refusal, or nothing where there is none."""

    table: pa.Table
    refusals: dict[str, Refusal]  # by the run's id


def read(paths: Sequence[Path]) -> Rows:
    """Read the records in these folders of runs, each of which is checked."""
    rows, refusals = [], {}
    for folder in map(RunFolder, paths):
        try:
            rows.append(_row(folder))
        except FileNotFoundError:
            continue
        except OSError as error:  # it may well be whole
            refusals[folder.id] = Refusal("bad_files", str(error))
        except (record.RecordError, OverflowError) as error:  # a number that no float can hold
            refusals[folder.id] = Refusal("bad_record", str(error))
    return Rows(pa.Table.from_pylist(rows, SCHEMA), refusals)


def _row(folder: RunFolder) -> dict[str, Any]:
    version = record.version(str(folder.path))
    found = record.read_published(folder)
    one = found.record
    curves = {name: _floats(one.curves[name]) for name in EPOCH_METRICS if name in one.curves}
    return {
        "run": folder.id,
        "version": version if record.version(str(folder.path)) == version else "",
        "sha256": found.sha256,
        "diverged": one.outcome == "diverged",
        "facts": json.dumps([one.stop, one.cost, one.provenance]),
        **curves,
        **({name: one.time[name] for name in TIME_SERIES} if one.time else {}),
    }


class Numbers:
    """The rows of a table, to make results of."""

    def __init__(self, table: pa.Table) -> None:
        self._places: dict[str, tuple[_Batch, int]] = {}
        self.add(table)

    def add(self, table: pa.Table) -> None:
        """Add the rows of another one."""
        for batch in map(_Batch, table.to_batches()):
            self._places |= {run: (batch, row) for row, run in enumerate(batch.runs)}

    def result(self, planned: PlannedRun) -> Result | None:
        """The run's result; None: there is no row of it."""
        place = self._places.get(planned.run.id)
        return None if place is None else place[0].result(planned, place[1])


class _Batch:
    """Rows whose curves lie one behind the other."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.runs: list[str] = batch["run"].to_pylist()
        self._sha256: list[str] = batch["sha256"].to_pylist()
        self._diverged: list[bool] = batch["diverged"].to_pylist()
        facts = ",".join(batch["facts"].to_pylist())
        self._facts = json.loads(f"[{facts}]")  # together, so that equal keys are one text
        self._curves = {name: _parts(batch[name]) for name in EPOCH_METRICS}
        self._time = {name: _parts(batch[name]) for name in TIME_SERIES}

    def result(self, planned: PlannedRun, row: int) -> Result:
        stop, cost, provenance = self._facts[row]
        curves = {name: parts[row] for name, parts in self._curves.items()}
        return Result(
            planned=planned,
            diverged=self._diverged[row],
            stop=stop,
            curves={name: curve for name, curve in curves.items() if curve is not None},
            cost=cost,
            provenance=provenance,
            sha256=self._sha256[row],
            seconds=self._time["wall_s"][row],
            cpu_seconds=self._time["cpu_s"][row],
            steps=self._time["steps"][row],
        )


def _parts(column: pa.ListArray) -> list[Any]:
    """The curve of each row, without a copy; None where the row has none."""
    values = _numbers(column.values, column.type.value_type)
    ends = _numbers(column.offsets, pa.int32()).tolist()
    parts: list[Any] = [values[start:end] for start, end in pairwise(ends)]
    if column.null_count:
        is_there = column.is_valid().to_pylist()
        parts = [part if there else None for part, there in zip(parts, is_there, strict=True)]
    return parts


def _numbers(column: pa.Array, kind: pa.DataType) -> npt.NDArray[Any]:
    """The numbers of a column without nulls, without a copy.

    As `to_numpy`, which first imports pandas: that takes longer than to read a thousand records.
    """
    _, content = column.buffers()
    found = np.frombuffer(content, _KINDS[kind])
    return found[column.offset : column.offset + len(column)]


_KINDS: Mapping[pa.DataType, type[np.generic]] = {
    pa.float64(): np.float64,
    pa.int64(): np.int64,
    pa.int32(): np.int32,
}


def _floats(values: list[float | None]) -> Floats:
    numbers = np.array(values, dtype=np.float64)  # null becomes NaN
    return np.where(np.isfinite(numbers), numbers, np.nan)
