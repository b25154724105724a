"""`probprec collect` and `probprec plot`: from the records to tables and figures."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cluster import advice
from jobs import files
from jobs.results import ledger, tables
from jobs.results.cells import Cell, group
from jobs.results.ledger import Collection, Ledger, Unsettled
from jobs.results.reading import Result
from jobs.store import Store
from jobs.sweep import PlannedRun

WIDTH = 130
"""Where the output is no terminal: wide enough for a row of the table."""

MANY = 12
"""Of more findings or runs than this, a person is shown the first ones."""


def collect(store: Store, *, strict: bool, out: Path | None = None, as_json: bool) -> int:
    """Write the tables; 1 while a run is missing, failed or contradicts its copy.

    With `strict` also if there is any finding. They go to `out`; default: the sweep's own folder.
    """
    collection = ledger.collect(store, _show_progress)
    cells = group(collection.sweep, collection.results)
    written = _write_tables(out or store.collected, collection, cells)
    found = collection.ledger
    if as_json:
        _print_json(found.to_json() | {"files": [str(path) for path in written]})
    else:
        console = Console(width=None if sys.stdout.isatty() else max(WIDTH, Console().width))
        _report(console, store, collection, cells, written)
    return 0 if found.is_whole and not (strict and found.findings) else 1


def plot(
    store: Store,
    *,
    figure: str,
    metric: str | None = None,
    out: Path | None = None,
    as_json: bool,
) -> int:
    """Draw a figure of what is there so far, as PNG and PDF.

    It goes to `out`; default: the sweep's own folder.

    Raises:
        FigureError: there is no such figure, or nothing to draw it from.
    """
    from jobs.results import figures

    collection = ledger.collect(store, _show_progress)
    written = figures.save(out or store.figures, collection, figure, metric)
    content = {
        "schema": 1,
        "figure": figure,
        "runs": len(collection.found),
        "expected": collection.ledger.expected,
        "files": [str(path) for path in written],
    }
    if as_json:
        _print_json(content)
        return 0
    console = Console(soft_wrap=True, highlight=False)
    if not collection.ledger.is_whole:
        console.print(
            f"[yellow]{len(collection.found)} of {collection.ledger.expected} runs have a record;"
            f" `probprec collect {store.root}` says what the others lack."
        )
    for path in written:
        console.print(str(path), markup=False)
    return 0


def _write_tables(folder: Path, collection: Collection, cells: Sequence[Cell]) -> list[Path]:
    found = collection.found
    contents = {
        "runs.parquet": tables.to_parquet(tables.runs(collection.sweep, found)),
        "curves.parquet": tables.to_parquet(tables.curves(found)),
        "summary.csv": tables.to_csv(tables.summary(cells, collection.sweep.targets)),
        "ledger.json": files.to_json(collection.ledger.to_json(), indent=1),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        files.write_atomically(folder / name, content)
    return [folder / name for name in contents]


def _show_progress(runs: Sequence[PlannedRun]) -> Iterable[PlannedRun]:
    console = Console(stderr=True)
    return track(
        runs, "reading records", console=console, transient=True, disable=not console.is_terminal
    )


def _print_json(content: Mapping[str, Any]) -> None:
    Console(soft_wrap=True, highlight=False).print_json(json.dumps(content), ensure_ascii=True)


def _report(
    console: Console,
    store: Store,
    collection: Collection,
    cells: Sequence[Cell],
    written: Sequence[Path],
) -> None:
    found = collection.ledger
    console.print(_summary_table(collection, cells))
    console.print(_counts(found))
    for entry in found.unsettled[:MANY]:
        if entry.state.state == "failed":
            console.print(_failure(entry), markup=False, soft_wrap=True)
    for finding in found.findings[:MANY]:
        console.print(f"! {finding}", markup=False, soft_wrap=True, style="yellow")
    if len(found.findings) > MANY:
        console.print(f"! and {len(found.findings) - MANY} more in ledger.json", style="yellow")
    for path in written:
        console.print(str(path), markup=False, soft_wrap=True, highlight=False)
    console.print(_next(collection, store), markup=False, soft_wrap=True)


def _summary_table(collection: Collection, cells: Sequence[Cell]) -> Table:
    table = Table(title=collection.sweep.name, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("problem", "optimizer", "setting"):
        table.add_column(column, overflow="fold")
    for column in ("n", "diverged", "final test", "best test", "target reached"):
        table.add_column(column, justify="right", no_wrap=True)
    above: tuple[str | None, str | None] = (None, None)
    for cell in cells:
        metric = "test_accuracy" if cell.measures("test_accuracy") else "test_loss"
        done = cell.completed
        table.add_row(
            cell.problem if cell.problem != above[0] else "",
            cell.optimizer if (cell.problem, cell.optimizer) != above else "",
            cell.setting,
            f"{len(done)}/{len(cell.planned)}",
            f"[magenta]{len(cell.diverged)}[/]" if cell.diverged else "",
            _mean_and_sd([result.final(metric) for result in done]),
            _mean_and_sd([result.best(metric) for result in done]),
            _to_target(collection, cell.problem, done),
        )
        above = cell.problem, cell.optimizer
    return table


def _mean_and_sd(values: Sequence[float]) -> str:
    numbers = tables.statistics("x", values)
    mean, sd = numbers["x_mean"], numbers["x_sd"]
    if mean is None:
        return ""
    return f"{mean:.4f}" if sd is None else f"{mean:.4f} ± {sd:.4f}"


def _to_target(collection: Collection, problem: str, done: Sequence[Result]) -> str:
    target = collection.sweep.targets.get(problem)
    if target is None or not done:
        return ""
    reached = tables.reached([result.epochs_to(target) for result in done])
    if not reached:
        return "never"
    share = "" if len(reached) == len(done) else f" ({len(reached)}/{len(done)})"
    return f"epoch {sum(reached) / len(reached):.1f}{share}"


def _counts(found: Ledger) -> str:
    missing = ", ".join(
        f"{found.states[name]} {name}" for name in ledger.MISSING if found.states.get(name)
    )
    numbers = found.to_json()
    return ", ".join(
        f"{name} {numbers[name]}" + (f" ({missing})" if name == "missing" and missing else "")
        for name in (
            "expected",
            "completed",
            "diverged",
            "failed",
            "missing",
            "duplicate",
            "extra",
        )
    )


def _failure(entry: Unsettled) -> str:
    planned = entry.planned
    log = f" ({entry.state.log})" if entry.state.log else ""
    return (
        f"x {planned.run.id} {planned.problem} {planned.optimizer} seed {planned.run.seed}: "
        f"{entry.state.message or entry.state.failure}{log}"
    )


def _next(collection: Collection, store: Store) -> str:
    found, name = collection.ledger, store.root
    if found.is_whole:
        return f"next: probprec plot {name}"
    go_on = advice.submit_command(store, collection.sweep)
    return f"next: probprec status {name} says why, {go_on} goes on"
