"""The commands `probprec collect` and `probprec plot` turn records into tables and figures."""

import gc
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.text import Text

from cluster.commands import summary
from cluster.commands.summary import MAX_LINES_SHOWN
from cluster.status import advice
from cluster.terminal.exit_codes import DONE, INCOMPLETE
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole, plain, to_copy
from jobs.results import ledger, table_files
from jobs.results.cells import name_of
from jobs.results.ledger import Collection, Ledger
from jobs.results.reading import Unsettled
from jobs.store.store import Store
from jobs.sweep import PlannedRun

_WIDTH_COLUMNS = 130
"""The width of an output that is no terminal holds a row of the table."""


def collect(store: Store, *, strict: bool, out: Path | None = None, as_json: bool) -> int:
    """Write the tables; 1 while a run or a choice is missing, or a run failed or contradicts its copy.

    `strict`: 1 also if there is any finding. `out`: the tables' folder; default: the sweep's own.
    """
    collection = collected(store, keep=out is None)
    if out is None:
        written = table_files.write(store.collected, collection, known=store.known_tables_file)
    else:
        written = table_files.write(out, collection)
    found = collection.ledger
    if as_json:
        print_json(found.to_json() | {"files": [str(path) for path in written]})
    else:
        _report(PlainConsole(width=width()), store, collection, written)
    return DONE if found.is_whole and not (strict and found.findings) else INCOMPLETE


def plot(
    store: Store,
    *,
    figure: str,
    metric: str | None = None,
    out: Path | None = None,
    as_json: bool,
) -> int:
    """Draw a figure of the records that exist so far, as PNG and PDF.

    `out`: the figure's folder; default: the sweep's own.

    Raises:
        FigureError: there is no such figure, or nothing to draw it from.
    """
    from jobs.results import figures

    collection = collected(store, keep=out is None)
    written = figures.save(out or store.figures, collection, figure, metric)
    content = {
        "schema": 1,
        "figure": figure,
        "runs": len(collection.found),
        "expected": collection.ledger.expected,
        "files": [str(path) for path in written],
    }
    if as_json:
        print_json(content)
        return DONE
    console = PlainConsole(soft_wrap=True)
    if not collection.ledger.is_whole:
        number = f"{len(collection.found)} of {collection.ledger.expected} runs have a record"
        if collection.ledger.undecided:
            number += ", and not all that is tuned is chosen yet"
        todo = advice.collect_command(store)
        console.print(to_copy(f"{number}; {todo} says what the others lack", style="yellow"))
    for path in written:
        console.print(plain(path))
    return DONE


def collected(store: Store, *, keep: bool) -> Collection:
    """Read the sweep, and show how far it is; of millions of objects none is garbage meanwhile."""
    gc.disable()
    try:
        return ledger.collect(store, _show_progress, keep=keep)
    finally:
        gc.enable()


def _show_progress(runs: Sequence[PlannedRun]) -> Iterable[PlannedRun]:
    console = PlainConsole(stderr=True)
    return track(
        runs, "reading records", console=console, transient=True, disable=not console.is_terminal
    )


def _report(
    console: Console, store: Store, collection: Collection, written: Sequence[Path]
) -> None:
    found = collection.ledger
    console.print(plain(f"{collection.sweep.name}: {found.expected} runs"))
    for block in summary.blocks(collection, console.width):
        console.print()
        console.print(block)
    console.print(plain(_counts(found)))
    failed = [entry for entry in found.unsettled if entry.is_failed]
    lines = [_failure(entry) for entry in failed[:MAX_LINES_SHOWN]]
    if len(failed) > MAX_LINES_SHOWN:
        lines.append(plain(f"x and {len(failed) - MAX_LINES_SHOWN} more in ledger.json"))
    undecided = {one.finding for one in found.tunings if one.why is not None}  # named above
    findings = [finding for finding in found.findings if finding not in undecided]
    lines += [plain(f"! {finding}", style="yellow") for finding in findings[:MAX_LINES_SHOWN]]
    if len(findings) > MAX_LINES_SHOWN:
        lines.append(
            plain(f"! and {len(findings) - MAX_LINES_SHOWN} more in ledger.json", "yellow")
        )
    is_all = len(collection.found) == found.expected  # copies that differ are named above
    is_complete = is_all and not found.undecided
    step = advice.of_tables(store, is_complete=is_complete)
    for line in [*lines, *map(plain, written), to_copy(str(step))]:
        console.print(line, soft_wrap=True)


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


def _failure(entry: Unsettled) -> Text:
    log = f" ({entry.state.log})" if entry.state.log else ""
    why = entry.state.message or entry.state.failure
    return plain(f"x {entry.planned.run.id} {name_of(entry.planned)}: {why}{log}")


def width() -> int | None:
    """Columns to fold the output to; None: those of the terminal, or of `COLUMNS`."""
    return None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH_COLUMNS
