"""The tables of a sweep: a row per run, a row per value, a row per cell and role."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from jobs.results import columns, targets
from jobs.results.cells import Cell
from jobs.results.reading import Result, Unsettled, is_better_high
from jobs.results.study import Results
from jobs.statistics import deepobs
from jobs.store.record import EPOCH_METRICS
from jobs.store.state import UNFINISHED
from jobs.sweep import Target
from jobs.text import described

if TYPE_CHECKING:
    import pandas as pd

_PART_RESULTS = 1000  # of which the curves are copied at a time: all at once take twice the memory


def runs(collection: Results) -> pa.Table:
    """A row per planned run, whatever became of it; the columns are those of `columns.RUNS`.

    Of which type a column is depends on its name alone.
    """
    wanted = {problem: targets.on(target) for problem, target in collection.targets.items()}
    rows = [
        {"sweep": sweep, **_run_row(one, wanted.get(one.planned.problem))}
        for sweep, one in zip(collection.sweeps, collection.outcomes, strict=True)
    ]
    arrays = {}
    for group in columns.RUNS:
        for name in _hyperparameters(rows) if group is columns.NUMBERS else group.expanded():
            arrays[name] = columns.array(_at(rows, name), group.type)
    return pa.table(arrays)


def curves(results: Sequence[Result]) -> pa.Table:
    """A row per run, epoch and metric that was measured: `run`, `epoch`, `metric`, `value`."""
    runs = pa.array([result.planned.run.id for result in results], pa.string())
    starts = range(0, max(len(results), 1), _PART_RESULTS)  # none makes a table, too
    return pa.concat_tables(
        [_measured(results[at : at + _PART_RESULTS], at, runs) for at in starts]
    )


def _measured(results: Sequence[Result], first: int, runs: pa.Array) -> pa.Table:
    """The rows of some results, of which the first is so far behind the first of all `runs`."""
    values, epochs, owners, kinds = [], [], [], []
    for owner, result in enumerate(results, first):
        for kind, metric in enumerate(EPOCH_METRICS):
            curve = result.curves.get(metric, np.empty(0))
            (measured,) = np.nonzero(~np.isnan(curve))
            values.append(curve[measured])
            epochs.append(measured)
            owners.append(np.full(len(measured), owner))
            kinds.append(np.full(len(measured), kind))
    return pa.table(
        {
            "run": _labels(owners, runs),
            "epoch": pa.array(_joined(epochs).astype(np.int32)),
            "metric": _labels(kinds, pa.array(EPOCH_METRICS, pa.string())),
            "value": pa.array(_joined(values)),
        }
    )


def summary(cells: Sequence[Cell], wanted: Mapping[str, Target]) -> "pd.DataFrame":
    """A row per cell: n, mean, sd (n-1), min and max over completed runs, and the median over all.

    A diverged run has no final value: it is counted, not averaged, and the worst in the median.
    Where a completed run lacks a value, so does its cell. `wanted`: the targets, by problem.
    """
    import pandas as pd  # takes as long as all the rest, where the table is there already

    axes = dict.fromkeys(key for cell in cells for key in cell.varied)
    rows = [_cell_row(cell, axes, wanted.get(cell.problem)) for cell in cells]
    names = dict.fromkeys(name for row in rows for name in row)
    return pd.DataFrame({name: _column([row.get(name) for row in rows]) for name in names})


def to_parquet(table: pa.Table) -> bytes:
    """The table as a Parquet file: the same bytes for the same table."""
    import pyarrow.parquet as pq  # takes long, and tables that are there already need it not

    buffer = BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def to_csv(table: "pd.DataFrame") -> bytes:
    """The table as UTF-8 CSV; numbers keep all their digits, a missing one is empty."""
    return table.to_csv(index=False, lineterminator="\n").encode()


def _run_row(outcome: Result | Unsettled, target: Target | None) -> dict[str, Any]:
    planned, run = outcome.planned, outcome.planned.run
    row: dict[str, Any] = {
        "run": run.id,
        "cell": run.cell,
        "problem": planned.problem,
        "optimizer": planned.optimizer,
        "setting": described(planned.varied),
        "problem_class": run.problem,
        "optimizer_class": run.optimizer,
        "seed": run.seed,
        "role": planned.role,
        "epochs": run.epochs,
        "batch_size": run.batch_size,
        "init": run.init,
        "protocol": run.protocol,
        "hyperparameters": dict(run.hyperparameters),
        **_numbers("hp", run.hyperparameters),
        "regime": dict(run.regime),
    }
    if isinstance(outcome, Unsettled):
        state = outcome.state
        row |= {"outcome": "failed" if outcome.is_failed else "missing"} | _reach(outcome, target)
        if state.state in UNFINISHED:
            row |= {"failure_class": state.failure, "failure_message": state.message}
        return row
    row |= {
        "outcome": "diverged" if outcome.diverged else "completed",
        "stop": outcome.stop,
        **_reach(outcome, target),
        "cost": outcome.cost,
        "provenance": outcome.provenance,
    }
    for metric in EPOCH_METRICS:
        row |= {
            f"final_{metric}": outcome.final(metric),
            f"at_best_valid_{metric}": outcome.at_best_valid(metric),
            f"{'oracle' if metric.startswith('test') else 'best'}_{metric}": outcome.best(metric),
        }
    return row


def _reach(outcome: Result | Unsettled, target: Target | None) -> dict[str, Any]:
    if target is None:
        return {}
    if isinstance(outcome, Unsettled):
        return {"censored": True}
    epochs = outcome.epochs_to(target)
    is_there = not outcome.diverged and math.isfinite(epochs)
    return {"epochs_to_target": epochs, "reached": is_there, "censored": False}


def _numbers(name: str, value: object) -> dict[str, int | float]:
    """Every number in a hyperparameter, by its dotted name."""
    if isinstance(value, int | float):
        return {name: int(value) if isinstance(value, bool) else value}
    parts: Iterable[tuple[object, object]] = ()
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    return {
        key: number
        for part, inner in parts
        for key, number in _numbers(f"{name}.{part}", inner).items()
    }


def _hyperparameters(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({name for row in rows for name in row if name.startswith("hp.")})


def _at(rows: Iterable[Mapping[str, Any]], name: str) -> Iterator[object]:
    """The value of each row under a name, or a dotted path into what is nested; None: none."""
    path = name.split(".")
    for row in rows:
        yield row[name] if name in row else _nested(row, path)


def _nested(row: object, path: Iterable[str]) -> object:
    for key in path:
        row = row.get(key) if isinstance(row, dict) else None
    return row


def _cell_row(cell: Cell, axes: Iterable[str], target: Target | None) -> dict[str, Any]:
    completed, diverged = cell.completed, cell.diverged
    failed = sum(one.is_failed for one in cell.unsettled)
    row: dict[str, Any] = {
        "cell": cell.id,
        "problem": cell.problem,
        "optimizer": cell.optimizer,
        "setting": cell.setting,
        "role": cell.role,
        "chosen": cell.chosen,
        **{f"varied.{name}": cell.varied.get(name) for name in axes},
        "n_expected": len(cell.planned),
        "n": len(completed),
        "n_diverged": len(diverged),
        "n_failed": failed,
        "n_missing": len(cell.unsettled) - failed,
        "seeds": _seeds(completed),
        "diverged_seeds": _seeds(diverged),
    }
    for metric in EPOCH_METRICS:
        for name, value in (("final", Result.final), ("at_best_valid", Result.at_best_valid)):
            values = [value(result, metric) for result in completed]
            row |= statistics(f"{name}_{metric}", values)
            row[f"{name}_{metric}_median"] = median(values, len(diverged), metric)
    return row | (_solved(cell, target) if target else dict.fromkeys(_SOLVED))


_SOLVED = ("target", "n_reached_target", "epochs_to_target_median", "deepobs_speed")


def _solved(cell: Cell, target: Target) -> dict[str, Any]:
    wanted, published = targets.on(target), targets.on(target, "test")
    epochs = epochs_to_target(cell, wanted)
    middle = float(np.median(epochs)) if epochs else math.inf
    is_high = is_better_high(published.metric)
    curves = [one.curves.get(published.metric, np.empty(0)) for one in cell.results]
    budget = max(one.run.epochs for one in cell.planned)
    speed = (
        deepobs.speed(curves, epochs=budget, target=published.value, is_better_high=is_high)
        if curves
        else None
    )
    numbers = sum(map(math.isfinite, epochs)), middle if math.isfinite(middle) else None, speed
    return dict(zip(_SOLVED, (f"{wanted.metric} {wanted.value}", *numbers), strict=True))


def epochs_to_target(cell: Cell, target: Target) -> list[float]:
    """(n,) The first epoch at which each run with a record reached the target; infinity: it never did.

    A run that diverged never did, also if it was there before.
    """
    epochs = [math.nan if one.diverged else one.epochs_to(target) for one in cell.results]
    return [math.inf if math.isnan(epoch) else epoch for epoch in epochs]


def median(values: Sequence[float], diverged: int, metric: str) -> float | None:
    """The median of completed runs and of diverged ones, which are worse than any (Lachin 1999).

    None: the median run diverged, or there is none. By numpy alone: a table needs no scipy, which
    takes longer to import than the tables of a small sweep.
    """
    worst = -math.inf if is_better_high(metric) else math.inf
    every = [*values, *[worst] * diverged]
    middle = float(np.median(every)) if every else worst
    return middle if math.isfinite(middle) else None


def statistics(name: str, values: Sequence[float]) -> dict[str, float | None]:
    """Mean, sd (n-1), min and max, each under its name; NaN where a value is NaN."""
    n = len(values)
    return {
        f"{name}_mean": float(np.mean(values)) if n else None,
        f"{name}_sd": float(np.std(values, ddof=1)) if n > 1 else None,
        f"{name}_min": float(np.min(values)) if n else None,
        f"{name}_max": float(np.max(values)) if n else None,
    }


def _seeds(results: Iterable[Result]) -> str:
    return " ".join(str(seed) for seed in sorted(result.planned.run.seed for result in results))


def _column(values: Sequence[Any]) -> "pd.Series[Any]":
    """The narrowest of boolean, integer, float and text that holds all values."""
    import pandas as pd

    kinds = {type(value) for value in values} - {type(None)}
    if kinds and kinds <= {bool}:
        return pd.Series(values, dtype="boolean")
    if kinds == {int} and all(abs(value) < 2**63 for value in values if value is not None):
        return pd.Series(values, dtype="Int64")
    if kinds <= {int, float}:
        return pd.Series(values, dtype="float64")
    return pd.Series([_text(value) for value in values], dtype="string")


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, sort_keys=True)


def _labels(codes: Sequence[Any], names: pa.Array) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(_joined(codes).astype(np.int32)), names)


def _joined(parts: Sequence[Any]) -> Any:
    return np.concatenate(parts) if parts else np.empty(0)
