"""The commands `probprec collect` and `probprec plot` turn records into tables and figures."""

import gc
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
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
from jobs.errors import InputError
from jobs.results import ledger, study, table_files
from jobs.results.cells import name_of
from jobs.results.figure_options import DEFAULTS, FigureOptions
from jobs.results.ledger import Collection, Ledger
from jobs.results.reading import Unsettled
from jobs.results.study import Study
from jobs.store.store import Store
from jobs.sweep import PlannedRun

_WIDTH_COLUMNS = 130
"""The width of an output that is no terminal holds a row of the table."""


def collect(*stores: Store, strict: bool, out: Path | None = None, as_json: bool) -> int:
    """Write the tables; 1 while a run or a choice is missing, or a run failed or contradicts its copy.

    `strict`: 1 also if there is any finding. `out`: the tables' folder; default: the sweep's own.

    Raises:
        InputError: there are several sweeps, and no `out`.
    """
    found = _found(stores, out)
    if isinstance(found, Study):
        ledgers = [one.ledger.to_json() for one in found.members.values()]
        ledger_json = {
            "schema": 1,
            "sweeps": ledgers,
            "findings": [one.to_json() for one in found.findings],
            "selections": [one.to_json() for one in found.selections],
        }
        name, is_whole = "study.json", found.is_whole
    else:
        ledger_json = found.ledger.to_json()
        name, is_whole = "ledger.json", found.ledger.is_whole
    known = stores[0].known_tables_file if out is None else None
    folder = out or stores[0].collected
    written = table_files.write(folder, found, {name: ledger_json}, known=known)
    if as_json:
        print_json(ledger_json | {"files": [str(path) for path in written]})
    else:
        _report(PlainConsole(width=width()), stores, found, written)
    return DONE if is_whole and not (strict and found.findings) else INCOMPLETE


def plot(
    *stores: Store,
    figure: str,
    options: FigureOptions = DEFAULTS,
    for_latex: bool = False,
    out: Path | None = None,
    as_json: bool,
) -> int:
    """Draw a figure of the records that exist so far, as PNG and PDF, and write its caption.

    `for_latex`: as PGF, too. `out`: its folder; default: the sweep's own.

    Raises:
        FigureError: there is no such figure, or nothing to draw it from.
        InputError: there are several sweeps, and no `out`.
    """
    from jobs.results import figures

    found = _found(stores, out)
    written = figures.save(out or stores[0].figures, found, figure, options, for_latex=for_latex)
    content = {
        "schema": 1,
        "figure": figure,
        "runs": len(found.found),
        "expected": len(found.outcomes),
        "files": [str(path) for path in written],
    }
    if as_json:
        print_json(content)
        return DONE
    console = PlainConsole(soft_wrap=True)
    for line in (*_lacking(stores, found), *map(plain, written)):
        console.print(line)
    return DONE


def _lacking(stores: Sequence[Store], found: Collection | Study) -> Iterator[Text]:
    for store, one in zip(stores, _members(found), strict=True):
        if not one.ledger.is_whole:
            yield to_copy(_what_lacks(store, one), style="yellow")


def _what_lacks(store: Store, collection: Collection) -> str:
    number = f"{len(collection.found)} of {collection.ledger.expected} runs have a record"
    if collection.ledger.undecided:
        number += ", and not all that is tuned is chosen yet"
    return f"{number}; {advice.collect_command(store)} says what the others lack"


def _found(stores: Sequence[Store], out: Path | None) -> Collection | Study:
    if len(stores) > 1 and out is None:
        raise InputError("several sweeps have no folder in common: say --out DIR")
    return collected(*stores, keep=out is None)


def collected(*stores: Store, keep: bool) -> Collection | Study:
    """Read the sweeps, and show how far it is; of millions of objects none is garbage meanwhile."""
    gc.disable()
    try:
        if len(stores) > 1:
            return study.collect(stores, _show_progress, keep=keep)
        return ledger.collect(stores[0], _show_progress, keep=keep)
    finally:
        gc.enable()


def _members(found: Collection | Study) -> Sequence[Collection]:
    return [*found.members.values()] if isinstance(found, Study) else [found]


def _show_progress(runs: Sequence[PlannedRun]) -> Iterable[PlannedRun]:
    console = PlainConsole(stderr=True)
    return track(
        runs, "reading records", console=console, transient=True, disable=not console.is_terminal
    )


def _report(
    console: Console,
    stores: Sequence[Store],
    results: Collection | Study,
    written: Sequence[Path],
) -> None:
    members = _members(results)
    console.print(plain(f"{results.name}: {len(results.outcomes)} runs"))
    for block in summary.blocks(results, console.width):
        console.print()
        console.print(block)
    for one in members:
        console.print(plain(("" if len(members) == 1 else f"{one.name}: ") + _counts(one.ledger)))
    failed = [entry for one in members for entry in one.ledger.unsettled if entry.is_failed]
    lines = [_failure(entry) for entry in failed[:MAX_LINES_SHOWN]]
    if len(failed) > MAX_LINES_SHOWN:
        lines.append(plain(f"x and {len(failed) - MAX_LINES_SHOWN} more in {written[-1].name}"))
    findings = [one for one in results.findings if one.code != "undecided"]  # named above
    lines += [plain(f"! {finding}", style="yellow") for finding in findings[:MAX_LINES_SHOWN]]
    if len(findings) > MAX_LINES_SHOWN:
        more = f"! and {len(findings) - MAX_LINES_SHOWN} more in {written[-1].name}"
        lines.append(plain(more, "yellow"))
    lines += map(plain, written)
    for store, one in zip(stores, members, strict=True):
        is_all = len(one.found) == one.ledger.expected  # copies that differ are named above
        is_complete = is_all and not one.ledger.undecided
        if len(members) == 1 or not is_complete:
            lines.append(to_copy(str(advice.of_tables(store, is_complete=is_complete))))
    for line in lines:
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
