"""The table of `probprec collect` has a block per problem, and as many columns as there is room for."""

import math
import statistics
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cluster.terminal.plain import plain
from jobs.results import collapse, tables, targets
from jobs.results.cells import Cell, metric_of
from jobs.results.reading import is_better_high
from jobs.results.selection import Selection
from jobs.results.study import Results
from jobs.results.tunings import TuningResult
from jobs.sweep import Target
from jobs.text import spelled

MAX_LINES_SHOWN = 12
"""Findings, runs or tunings beyond this number are only counted."""

_GAP_COLUMNS = 2  # columns between two columns
_NAME_COLUMNS_MIN = 36  # columns that names get at least, before a number is left out for them

_LEGEND = {
    "n": "n: completed of planned runs; only completed ones are averaged",
    "final": "±: standard deviation over seeds",
    "median": "median: of completed and diverged runs; a diverged one is worse than any",
    "collapsed": "collapsed: completed, and no better than untrained",
    "at best valid": "at best valid: when the validation metric was best",
    "to target": "to target: median epochs (runs that got there/with a record)",
}

_STYLES = {"diverged": "magenta", "collapsed": "magenta"}

Columns = Mapping[str, Sequence[str]]
"""Heading -> an entry per cell."""


def blocks(collection: Results, width: int) -> Iterator[RenderableType]:
    """The blocks of the summary: results by problem, the columns' meaning, and the choices.

    Args:
        collection: the sweep's records.
        width: columns of the terminal.
    """
    by_problem: dict[str, list[Cell]] = {}
    for cell in collection.reported:
        by_problem.setdefault(cell.problem, []).append(cell)
    shown: dict[str, None] = {}
    stuck = collapse.collapsed(collection.cells)
    for problem, cells in by_problem.items():
        declared = collection.targets.get(problem)
        target = targets.on(declared) if declared else None
        metric = metric_of(cells, "test")
        numbers = _fitting(_numbers(cells, metric, target, stuck), width)
        shown |= dict.fromkeys(numbers)
        yield _heading(problem, metric, target)
        yield _block(cells, numbers, width)
    yield plain("; ".join(text for name, text in _LEGEND.items() if name in shown), style="dim")
    choices = [*_tunings(collection.tunings), *_selected(collection.selections)]
    if choices:
        yield _folded(choices, width)


def _tunings(found: Sequence[TuningResult]) -> Iterator[Text]:
    """A line per tuning, undecided ones first."""
    for one in sorted(found, key=lambda one: one.why is None):
        sign, style = ("", "") if one.why is None else ("! ", "yellow")
        yield plain(f"{sign}{one}", style)


def _selected(found: Sequence[Selection]) -> Iterator[Text]:
    """A line per optimizer of whose settings one was selected here; findings name the others."""
    for one in found:
        if one.by and one.cell is not None and one.cell.tuning is None:
            yield plain(str(one))


def _folded(lines: Sequence[Text], width: int) -> Group:
    """The first lines; what does not fit into one is indented below."""
    parts = [
        plain(part, str(line.style))
        for line in lines[:MAX_LINES_SHOWN]
        for part in textwrap.wrap(line.plain, width, subsequent_indent="  ")
    ]
    if len(lines) > MAX_LINES_SHOWN:
        parts.append(plain(f"and {len(lines) - MAX_LINES_SHOWN} more in ledger.json"))
    return Group(*parts)


def _heading(problem: str, metric: str, target: Target | None) -> Text:
    heading = plain(problem, style="bold")
    better = "higher" if is_better_high(metric) else "lower"
    heading.append(f": {_words(metric)}, {better} is better", style="not bold")
    if target is not None:
        name = "" if target.metric == metric else f"{_words(target.metric)} "
        heading.append(f"; target: {name}{spelled(target.value)}", style="not bold")
    return heading


def _words(metric: str) -> str:
    return metric.replace("_", " ")


def _numbers(
    cells: Sequence[Cell], metric: str, target: Target | None, collapsed: frozenset[str]
) -> Columns:
    """The columns of numbers; none that would be empty."""
    stuck = [sum(one.planned.run.id in collapsed for one in cell.completed) for cell in cells]
    columns = {
        "n": [f"{len(cell.completed)}/{len(cell.planned)}" for cell in cells],
        "diverged": [str(len(cell.diverged) or "") for cell in cells],
        "collapsed": [str(number or "") for number in stuck],
        "median": [_median(cell, metric) for cell in cells],
        "final": [_mean_and_sd([one.final(metric) for one in cell.completed]) for cell in cells],
        "at best valid": [
            _mean_and_sd([one.at_best_valid(metric) for one in cell.completed]) for cell in cells
        ],
        "to target": [_to_target(target, cell) for cell in cells],
    }
    if not any(cell.completed and cell.diverged for cell in cells):
        del columns["median"]  # it says what the others say
    return {name: entries for name, entries in columns.items() if any(entries) or name == "final"}


def _median(cell: Cell, metric: str) -> str:
    """The median run's final value, or that it diverged."""
    if not cell.results:
        return ""
    found = tables.median([one.final(metric) for one in cell.completed], len(cell.diverged), metric)
    return "diverged" if found is None else _spell(found)


def _fitting(numbers: Columns, width: int) -> Columns:
    """The columns for which there is room beside the names."""
    kept = dict(numbers)
    for name in ("at best valid", "to target"):
        if width - _taken(kept) < _NAME_COLUMNS_MIN:
            kept.pop(name, None)
    return kept


def _taken(columns: Columns) -> int:
    return sum(
        max(map(cell_len, (name, *entries))) + _GAP_COLUMNS for name, entries in columns.items()
    )


def _block(cells: Sequence[Cell], numbers: Columns, width: int) -> Table:
    """A row per cell; its setting stands beside its optimizer, or below if that is too wide."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    names: Columns = {
        "optimizer": [cell.optimizer for cell in cells],
        "setting": [cell.label for cell in cells],
    }
    is_beside = any(names["setting"]) and _taken(names) <= width - _taken(numbers)
    for name in names if is_beside else ("optimizer",):
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    above = None
    for row, cell in enumerate(cells):
        first = cell.optimizer if cell.optimizer != above else ""
        entries = [plain(numbers[name][row], _STYLES.get(name, "")) for name in numbers]
        if is_beside:
            table.add_row(plain(first), plain(cell.label), *entries)
        elif sum(one.optimizer == cell.optimizer for one in cells) == 1:
            table.add_row(plain(f"{cell.optimizer} {cell.label}".strip()), *entries)
        else:
            if first:
                table.add_row(plain(first))
            table.add_row(Padding(plain(cell.label), (0, 0, 0, 2)), *entries)
        above = cell.optimizer
    return table


def _mean_and_sd(values: Sequence[float]) -> str:
    numbers = tables.statistics("x", values)
    mean, sd = numbers["x_mean"], numbers["x_sd"]
    if mean is None or math.isnan(mean):
        return ""
    return _spell(mean) if sd is None else f"{_spell(mean)} ± {sd:{_form(mean)}}"


def _spell(value: float) -> str:
    return f"{value:{_form(value)}}"


def _form(value: float) -> str:
    """Four decimals where they are enough, and not many more digits than that."""
    return ".4f" if value == 0 or 0.001 <= abs(value) < 1000 else ".3e"


def _to_target(target: Target | None, cell: Cell) -> str:
    if target is None or not cell.results:
        return ""
    epochs = tables.epochs_to_target(cell, target)
    reached, middle = sum(map(math.isfinite, epochs)), statistics.median(epochs)
    if not reached:
        return "never"
    share = "" if reached == len(epochs) else f" ({reached}/{len(epochs)})"
    return f"{middle:.1f}{share}" if math.isfinite(middle) else f"never{share}"
