"""A figure's caption tells what is drawn of which runs, and what is left out of it."""

from collections.abc import Iterator, Sequence

from jobs.results.cells import Cell, spell_seeds
from jobs.results.selection import Selection
from jobs.results.study import Results
from jobs.text import printable

_NAME_CHARACTERS_MAX = 32  # of sweeps in a figure; the caption has all of them


def caption(
    collection: Results,
    cells: Sequence[Cell],
    what: Sequence[str],
    *,
    selections: Sequence[Selection] = (),
    runs: Sequence[str] = (),
    is_of_all: bool = False,
) -> str:
    """A caption has paragraphs: what is drawn, the runs, the exclusions, where all of it is from.

    Args:
        collection: That the figure is of.
        cells: All that are drawn, or would be if they had a record.
        what: Sentences: the axes, the marks, the intervals.
        selections: The settings that stand for their optimizers, if they were selected.
        runs: More lines on the runs, one for each thing that is drawn.
        is_of_all: What is drawn counts diverged runs too: they are not left out.
    """
    excluded = list(_excluded(cells, selections, is_of_all=is_of_all))
    codes = sorted(
        {_code(result.provenance.get("code")) for cell in cells for result in cell.results}
    )
    paragraphs = (
        (" ".join(what),),
        ("Runs:", *map(_item, (*map(_selected, selections), *runs))),
        ("Left out:", *map(_item, excluded)) if excluded else ("Left out: nothing.",),
        (f"Source: {collection.name}; code {', '.join(codes) or 'unknown'}.",),
    )
    return "\n\n".join("\n".join(map(printable, lines)) for lines in paragraphs) + "\n"


def origin(collection: Results, cells: Sequence[Cell]) -> str:
    """The sweep and how many of its runs have a record: `quickstart · 12 of 12 runs`."""
    found = sum(len(cell.results) for cell in cells)
    expected = sum(len(cell.planned) for cell in cells)
    name = collection.name
    if len(name) > _NAME_CHARACTERS_MAX:
        name = f"{name[:_NAME_CHARACTERS_MAX]} …"
    return f"{name} · {found} of {expected} runs"


def spell_counts(counts: Sequence[int]) -> str:
    """Numbers of runs as a figure shows them: `n=5`, `n=3 to 5`."""
    if not counts:
        return "n=0"
    low, high = min(counts), max(counts)
    return f"n={low}" if low == high else f"n={low} to {high}"


def _selected(one: Selection) -> str:
    if one.cell is None:
        return str(one)
    text = f"{one}; n={len(one.cell.completed)}"
    if diverged := len(one.cell.diverged):
        text += f", {diverged} of {len(one.cell.results)} diverged"
    return text


def _excluded(
    cells: Sequence[Cell], selections: Sequence[Selection], *, is_of_all: bool
) -> Iterator[str]:
    """Tell of each optimizer on each problem what is in no mean, or in nothing that is drawn."""
    for one in selections:
        if one.cell is None:
            yield f"{one.name}: nothing selected"
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.problem, cell.optimizer), []).append(cell)
    for names, own in groups.items():
        planned = sum(len(cell.planned) for cell in own)
        unsettled = [one for cell in own for one in cell.unsettled]
        failed = sum(one.is_failed for one in unsettled)
        diverged = sum(len(cell.diverged) for cell in own)
        if diverged and not is_of_all:
            yield f"{' '.join(names)}: {diverged} of {planned} runs diverged, and are in no mean"
        if unsettled:
            seeds = spell_seeds(one.planned.run.seed for one in unsettled)
            how = f", {failed} failed" if failed else ""
            yield (
                f"{' '.join(names)}: {len(unsettled)} of {planned} runs have no record ({seeds}{how})"
            )


def _code(value: object) -> str:
    return value if isinstance(value, str) else "unknown"


def _item(line: str) -> str:
    return f"- {line}"
