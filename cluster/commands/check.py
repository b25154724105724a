"""The commands `check`, `explain` and `schema` look at a spec before anything runs.

Results go to stdout, mistakes to stderr with exit code 2; with `as_json` both are one object on
stdout.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from cluster.commands import plan_screen
from cluster.commands.ask_construction import construct
from cluster.profile.find import load
from cluster.submit import missing_data, price
from cluster.terminal.exit_codes import DONE, WRONG_INPUT
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole
from jobs import spec as specs
from jobs.text import spelled


def check(
    spec: Path, overrides: Sequence[str], *, on: str | None = None, as_json: bool = False
) -> int:
    """Validate a spec and show its cells and runs; with a profile also check image and data.

    Raises:
        InputError: the profile has mistakes, or would not find the image or the data.
    """
    profile = load(on) if on is not None else None
    try:
        plan = specs.make_plan(spec, overrides)
        construction = construct(plan)
    except specs.SpecError as error:
        nothing = {"schema": 1, "runs": 0, "cells": 0, "array_tasks": 0}
        return _refuse(error, nothing, as_json=as_json)
    if profile is not None:
        from cluster.submit import seal

        seal.sealed(plan.sweep, profile, plan.sweep.runs, None, plan)
    base = profile.resources if profile and profile.engine == "slurm" else None
    cost = price.asked([*plan.sweep.runs, *plan.sweep.to_follow], base)
    lacking = missing_data.notes(plan) if profile is None else []
    if as_json:
        bound = {"hours_at_most": cost.at_most if cost else None}
        noted = {"missing_data": lacking, **asdict(construction)}
        print_json({**_counts(plan), **bound, **noted, "errors": []})
        return DONE
    console = _console()
    for part in plan_screen.screen(plan):
        console.print(part)
    console.print(
        "\n".join(["", *([str(cost)] if cost else []), *construction.lines()]), soft_wrap=True
    )
    for note in lacking:
        _console(stderr=True).print(note, style="yellow", soft_wrap=True)
    return DONE


def _counts(plan: specs.Plan) -> dict[str, int]:
    """The number of runs, cells and array tasks of a spec."""
    asked = Counter(planned.resources for planned in plan.sweep.runs)
    return {
        "schema": 1,
        "runs": len(plan.sweep.runs),
        "cells": len(set(plan.cells)),
        "array_tasks": sum(-(-runs // (of.runs_per_task or 1)) for of, runs in asked.items()),
        "runs_to_follow": len(plan.sweep.to_follow),
    }


def explain(spec: Path, run: str, overrides: Sequence[str], *, as_json: bool = False) -> int:
    """Show which line of a spec gave each value of a run; `run` is its id or a beginning of it."""
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
    console.print(plan_screen.table("", ("value of", "is", "because of"), rows))
    return DONE


def schema() -> int:
    """Print the JSON Schema of a spec."""
    print_json(specs.json_schema())
    return DONE


def _refuse(error: specs.SpecError, content: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        print_json({**content, "errors": [asdict(mistake) for mistake in error.mistakes]})
    else:
        console = _console(stderr=True)
        console.print(str(error), soft_wrap=True)
        console.print(plan_screen.count(len(error.mistakes), "mistake"), style="bold red")
    return WRONG_INPUT


def _console(*, stderr: bool = False) -> Console:
    console = PlainConsole(stderr=stderr)
    if not console.is_terminal:
        console.width = 120  # a file or a pipe has no width of its own
    return console
