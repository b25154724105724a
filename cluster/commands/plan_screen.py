"""The screen of a plan shows tables of its cells, problems, optimizers and runs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from cluster.terminal.plain import plain
from jobs import spec as specs
from jobs.resources import Resources, written
from jobs.sweep import PlannedRun
from jobs.text import ranges, spelled

_MAX_RUNS_SHOWN = 8
_MAX_VALUES_SHOWN = 4


def screen(plan: specs.Plan) -> Iterator[RenderableType]:
    """The parts of a plan's screen, in their order."""
    yield plain(_headline(plan), style="bold")
    if follow := len(plan.sweep.to_follow):
        yield _then(plan, follow)
    if plan.sweep.description:
        yield plan.sweep.description
    for part in (
        *(_grid(plan), _problems(plan), _optimizers(plan)),
        *_resources(plan),
        _first_runs(plan),
    ):
        yield ""
        yield part
    more = len(plan.sweep.runs) - _MAX_RUNS_SHOWN
    if more > 0:
        yield plain(f"... and {more:,} more", style="dim")


def _headline(plan: specs.Plan) -> str:
    sweep, cells = plan.sweep, len(set(plan.cells))
    counted = (
        count(cells, "cell"),
        f"{count(len(plan.seeds), 'seed')} ({ranges(plan.seeds)})",
        count(len(sweep.problems), "problem"),
        count(len(sweep.optimizers), "optimizer"),
    )
    return f"{sweep.name}: {count(len(sweep.runs), 'run')} in {', '.join(counted)}"


def _then(plan: specs.Plan, follow: int) -> str:
    """A line on the runs that follow from the tunings."""
    tunings = plan.sweep.tunings
    criteria = ", ".join(dict.fromkeys(str(one.criterion) for one in tunings))
    seeds = ranges({seed for one in tunings for seed in one.seeds})
    chosen = f"{count(len(tunings), 'setting')} chosen by {criteria} on seed {seeds}"
    return f"then {count(follow, 'run')} more: {chosen}"


def _grid(plan: specs.Plan) -> Table:
    """The number of cells of each optimizer on each problem."""
    counts: dict[tuple[str, str], int] = {}
    for cell in dict.fromkeys(plan.cells):
        key = cell.optimizer.label, cell.problem.label
        counts[key] = counts.get(key, 0) + 1
    rows = [
        (
            optimizer,
            *(str(counts.get((optimizer, problem), "-")) for problem in plan.sweep.problems),
        )
        for optimizer in plan.sweep.optimizers
    ]
    return table("Cells", ("", *plan.sweep.problems), rows, right=range(1, 99))


def _problems(plan: specs.Plan) -> Table:
    rows = []
    for entry in {cell.problem.label: cell.problem for cell in plan.cells}.values():
        settings = {setting.name: setting for setting in entry.settings}
        values = (_values(settings[name]) for name in ("epochs", "batch_size", "init"))
        target = plan.sweep.targets.get(entry.label)
        wanted = f"{target.metric} {target.value}" if target else "-"
        rows.append((entry.label, *values, wanted))
    return table("Problems", ("problem", "epochs", "batch size", "init", "target"), rows)


def _values(setting: Any) -> str:
    """The values of a setting, marked if they are defaults."""
    is_default = any(choice.source.startswith("default") for choice in setting.choices)
    return _listed(choice.value for choice in setting.choices) + (
        " (default)" if is_default else ""
    )


def _optimizers(plan: specs.Plan) -> Table:
    rows = []
    for cell in {cell.optimizer.label: cell for cell in plan.cells}.values():
        entry = cell.optimizer
        given: list[str] = []
        pinned: list[str] = []
        for setting in entry.settings:
            text = f"{setting.name} = {_listed(choice.value for choice in setting.choices)}"
            is_pinned = setting.choices[0].source.startswith("pinned")
            (pinned if is_pinned else given).append(text)
        names = {setting.name for setting in entry.settings}
        default = [
            f"{parameter.name} = {parameter.written}"
            for parameter in specs.defaults(cell)
            if parameter.name not in names
        ]
        left = "not known here; checked where it runs" if entry.signature is None else ""
        columns = ("\n".join(texts) for texts in (given, pinned))
        rows.append((entry.label, entry.path, *columns, ", ".join(default) or left))
    return table("Optimizers", ("optimizer", "class", "given", "pinned", "default"), rows)


def _resources(plan: specs.Plan) -> Iterator[Table]:
    """The resources that parts of the spec ask for, if any do."""
    asked: dict[Resources, list[PlannedRun]] = {}
    for planned in plan.sweep.runs:
        asked.setdefault(planned.resources, []).append(planned)
    rows = [
        (
            str(len(runs)),
            ", ".join(dict.fromkeys(planned.problem for planned in runs)),
            ", ".join(dict.fromkeys(planned.optimizer for planned in runs)),
            ", ".join(f"{name} = {written(name, value)}" for name, value in found.said().items())
            or "what the cluster's profile says",
        )
        for found, runs in asked.items()
    ]
    if any(found.said() for found in asked):
        yield table("Resources", ("runs", "problems", "optimizers", "ask for"), rows, right=(0,))


def _first_runs(plan: specs.Plan) -> Table:
    rows = [
        (
            planned.run.id,
            planned.problem,
            planned.optimizer,
            str(planned.run.seed),
            str(planned.run.epochs),
            str(planned.run.batch_size),
            ", ".join(f"{name} = {_text(value)}" for name, value in planned.varied.items()),
        )
        for planned in plan.sweep.runs[:_MAX_RUNS_SHOWN]
    ]
    columns = ("run", "problem", "optimizer", "seed", "epochs", "batch size", "varied")
    return table("First runs", columns, rows, right=range(3, 6))


def table(
    title: str, columns: Iterable[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()
) -> Table:
    """A table in the style of these commands, with the columns in `right` aligned to the right."""
    found = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        justify: Any = "right" if index in set(right) else "left"
        found.add_column(column, justify=justify, header_style="dim", overflow="fold")
    for row in rows:
        found.add_row(*row)
    return found


def _listed(values: Iterable[Any]) -> str:
    texts = [_text(value) for value in values]
    if len(texts) <= _MAX_VALUES_SHOWN:
        return ", ".join(texts)
    return f"{', '.join(texts[: _MAX_VALUES_SHOWN - 1])}, ... {texts[-1]} ({len(texts)} values)"


def _text(value: Any) -> str:
    """A value as a spec would write it; fractions are rounded."""
    return f"{value:.6g}" if isinstance(value, float) else spelled(value, exact=True)


def count(number: int, noun: str) -> str:
    """`1 run`, `1,000 runs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
