"""Looking at a spec before anything runs: `check`, `explain`, `schema`.

Results go to stdout, mistakes to stderr with exit code 2; with `as_json` both are one object on
stdout.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cluster.commands.construction import construct
from cluster.profile.find import load
from cluster.submit import missing_data, price
from cluster.terminal.exit_codes import DONE, WRONG_INPUT
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole
from jobs import spec as specs
from jobs.resources import Resources, written
from jobs.sweep import PlannedRun
from jobs.text import ranges, spelled

FIRST_RUNS = 8
VALUES_SHOWN = 4


def check(
    spec: Path, overrides: Sequence[str], *, on: str | None = None, as_json: bool = False
) -> int:
    """Validate a spec and show what it asks for; with a profile also what that would lack.

    Raises:
        InputError: of the profile, or of image or data that would not be found by it.
    """
    counts = {"schema": 1, "runs": 0, "cells": 0, "array_tasks": 0}
    profile = load(on) if on is not None else None
    try:
        plan = specs.make_plan(spec, overrides)
        construction = construct(plan)
    except specs.SpecError as error:
        return _refuse(error, counts, as_json=as_json)
    if profile is not None:
        missing_data.require(plan.sweep, profile, plan.sweep.runs, plan)
    runs, cells = len(plan.sweep.runs), len(set(plan.cells))
    base = profile.resources if profile and profile.engine == "slurm" else None
    follow = plan.sweep.to_follow
    cost = price.asked([*plan.sweep.runs, *follow], base)
    lacking = missing_data.notes(plan) if profile is None else []
    if as_json:
        counts |= {"runs": runs, "cells": cells, "array_tasks": _array_tasks(plan)}
        counts |= {"runs_to_follow": len(follow)}
        bound = {"hours_at_most": cost.at_most if cost else None}
        noted = {"missing_data": lacking, **asdict(construction)}
        print_json({**counts, **bound, **noted, "errors": []})
        return DONE
    console = _console()
    console.print(_headline(plan, runs, cells), style="bold")
    if follow:
        console.print(_then(plan, len(follow)))
    if plan.sweep.description:
        console.print(plan.sweep.description)
    tables = [_grid(plan), _problems(plan), _optimizers(plan), *_resources(plan), _first_runs(plan)]
    for table in tables:
        console.print()
        console.print(table)
    if runs > FIRST_RUNS:
        console.print(f"... and {runs - FIRST_RUNS:,} more", style="dim")
    console.print(
        "\n".join(["", *([str(cost)] if cost else []), *construction.lines()]), soft_wrap=True
    )
    for note in lacking:
        _console(stderr=True).print(note, style="yellow", soft_wrap=True)
    return DONE


def explain(spec: Path, run: str, overrides: Sequence[str], *, as_json: bool = False) -> int:
    """Show which line of a spec gave each value of a run, named by its id or a beginning of it."""
    try:
        plan = specs.make_plan(spec, overrides)
        index = specs.find_run(plan, run)
    except specs.SpecError as error:
        return _refuse(error, {"schema": 1}, as_json=as_json)
    planned, _ = plan.everything()[index]
    origins = specs.explain_run(plan, index)
    if as_json:
        fields = [asdict(origin) for origin in origins]
        run_is = {"id": planned.run.id, "cell": planned.run.cell}
        print_json({"schema": 1, **run_is, "fields": fields})
        return DONE
    console = _console()
    title = (
        f"run {planned.run.id}: {planned.optimizer} on {planned.problem}, seed {planned.run.seed}"
    )
    console.print(title, style="bold")
    rows = [(origin.name, spelled(origin.value, exact=True), origin.source) for origin in origins]
    console.print(_table("", ("value of", "is", "because of"), rows))
    return DONE


def schema() -> int:
    """Print the JSON Schema of a spec."""
    print_json(specs.json_schema())
    return DONE


def _headline(plan: specs.Plan, runs: int, cells: int) -> str:
    sweep = plan.sweep
    counted = (
        _count(cells, "cell"),
        f"{_count(len(plan.seeds), 'seed')} ({ranges(plan.seeds)})",
        _count(len(sweep.problems), "problem"),
        _count(len(sweep.optimizers), "optimizer"),
    )
    return f"{sweep.name}: {_count(runs, 'run')} in {', '.join(counted)}"


def _then(plan: specs.Plan, follow: int) -> str:
    """What follows from the tunings."""
    tunings = plan.sweep.tunings
    criteria = ", ".join(dict.fromkeys(str(one.criterion) for one in tunings))
    seeds = ranges({seed for one in tunings for seed in one.seeds})
    chosen = f"{_count(len(tunings), 'setting')} chosen by {criteria} on seed {seeds}"
    return f"then {_count(follow, 'run')} more: {chosen}"


def _grid(plan: specs.Plan) -> Table:
    """How many cells each optimizer has on each problem."""
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
    return _table("Cells", ("", *plan.sweep.problems), rows, right=range(1, 99))


def _problems(plan: specs.Plan) -> Table:
    rows = []
    for entry in {cell.problem.label: cell.problem for cell in plan.cells}.values():
        settings = {setting.name: setting for setting in entry.settings}
        values = (_values(settings[name]) for name in ("epochs", "batch_size", "init"))
        target = plan.sweep.targets.get(entry.label)
        wanted = f"{target.metric} {target.value}" if target else "-"
        rows.append((entry.label, *values, wanted))
    return _table("Problems", ("problem", "epochs", "batch size", "init", "target"), rows)


def _values(setting: Any) -> str:
    """The values of a setting, with a mark where nobody asked for them."""
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
    return _table("Optimizers", ("optimizer", "class", "given", "pinned", "default"), rows)


def _array_tasks(plan: specs.Plan) -> int:
    """How many: a task holds runs that ask for the same; a profile may pack more of them."""
    asked = Counter(planned.resources for planned in plan.sweep.runs)
    return sum(-(-runs // (found.runs_per_task or 1)) for found, runs in asked.items())


def _resources(plan: specs.Plan) -> Iterator[Table]:
    """Who asks for what, if anybody asks for anything."""
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
        yield _table("Resources", ("runs", "problems", "optimizers", "ask for"), rows, right=(0,))


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
        for planned in plan.sweep.runs[:FIRST_RUNS]
    ]
    columns = ("run", "problem", "optimizer", "seed", "epochs", "batch size", "varied")
    return _table("First runs", columns, rows, right=range(3, 6))


def _table(
    title: str, columns: Iterable[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()
) -> Table:
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        justify: Any = "right" if index in set(right) else "left"
        table.add_column(column, justify=justify, header_style="dim", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _listed(values: Iterable[Any]) -> str:
    texts = [_text(value) for value in values]
    if len(texts) <= VALUES_SHOWN:
        return ", ".join(texts)
    return f"{', '.join(texts[: VALUES_SHOWN - 1])}, ... {texts[-1]} ({len(texts)} values)"


def _text(value: Any) -> str:
    """A value as a spec would say it; fractions rounded to what a person reads."""
    return f"{value:.6g}" if isinstance(value, float) else spelled(value, exact=True)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _refuse(error: specs.SpecError, content: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        print_json({**content, "errors": [asdict(mistake) for mistake in error.mistakes]})
    else:
        console = _console(stderr=True)
        console.print(str(error), soft_wrap=True)
        console.print(_count(len(error.mistakes), "mistake"), style="bold red")
    return WRONG_INPUT


def _console(*, stderr: bool = False) -> Console:
    console = PlainConsole(stderr=stderr)
    if not console.is_terminal:
        console.width = 120  # a file or a pipe has no width of its own
    return console
