"""How a sweep stands: states with their evidence, as a table for people and as JSON for machines."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from jobs import state
from jobs.state import STATES, State
from jobs.store import Store
from jobs.sweep import PlannedRun, Sweep

STYLES: Mapping[str, str] = {
    "completed": "green",
    "diverged": "magenta",
    "running": "cyan",
    "pending": "dim",
    "failed": "bold red",
    "lost": "bold yellow",
}


@dataclass(frozen=True)
class Standing:
    """One run and its state."""

    planned: PlannedRun
    state: State


def standings(store: Store, sweep: Sweep) -> list[Standing]:
    """The state of every run, in the sweep's order."""
    return [Standing(planned, state.of(store.run(planned.run.id))) for planned in sweep.runs]


def status(store: Store, *, as_json: bool) -> int:
    """Print how the sweep stands; 1 while a run is failed, lost or has no record."""
    sweep = store.sweep()
    found = standings(store, sweep)
    counts = count(found)
    if as_json:
        Console(soft_wrap=True, highlight=False).print_json(json.dumps(_to_json(sweep, found)))
    else:
        console = Console()
        console.print(table(sweep, found))
        for line in troubles(found):
            console.print(line)
        console.print(_next(store.root, counts))
    return 0 if counts["completed"] + counts["diverged"] == len(found) else 1


def count(found: list[Standing]) -> Counter[str]:
    """Runs by state."""
    return Counter(standing.state.state for standing in found)


def table(sweep: Sweep, found: list[Standing]) -> Table:
    """A row per problem and optimizer, a column per state that occurs."""
    counts = count(found)
    shown = [name for name in STATES if counts[name]]
    rows: dict[tuple[str, str], Counter[str]] = {}
    for standing in found:
        key = (standing.planned.problem, standing.planned.optimizer)
        rows.setdefault(key, Counter())[standing.state.state] += 1
    result = Table(title=f"{sweep.name}: {len(found)} runs", title_justify="left")
    result.add_column("problem", overflow="fold")
    result.add_column("optimizer", overflow="fold")
    for name in shown:
        result.add_column(name, justify="right", style=STYLES[name])
    for (problem, optimizer), row in rows.items():
        result.add_row(problem, optimizer, *(str(row[name] or "") for name in shown))
    if len(rows) > 1:
        result.add_section()
        result.add_row("all", "", *(str(counts[name]) for name in shown))
    return result


def troubles(found: list[Standing], most: int = 5) -> list[RenderableType]:
    """What failed or was lost: first line of the error, and where its log lies."""
    bad = [standing for standing in found if standing.state.state in {"failed", "lost"}]
    lines: list[RenderableType] = []
    for standing in bad[:most]:
        run, known = standing.planned.run, standing.state
        text = Text()
        text.append(f"{known.failure or known.state} ", style=STYLES[known.state])
        text.append(f"{run.id} {standing.planned.problem} {standing.planned.optimizer}")
        text.append(f" seed {run.seed}: {known.message}")
        if known.log is not None:
            text.append(f"\n  log: {known.log}", style="dim")
        lines.append(text)
    if len(bad) > most:
        lines.append(Text(f"... and {len(bad) - most} more (--json lists them all)", style="dim"))
    return lines


def _next(root: Path, counts: Counter[str]) -> Text:
    if counts["running"]:
        advice = f"next: probprec status {root}"
    elif counts["failed"] or counts["lost"] or counts["pending"]:
        advice = "next: the same `probprec run` or `submit` again runs what has no record"
    else:
        advice = f"next: probprec collect {root}; probprec plot {root}"
    return Text(advice, style="dim")


def _to_json(sweep: Sweep, found: list[Standing]) -> dict[str, Any]:
    return {
        "schema": 1,
        "sweep": sweep.name,
        "states": dict(count(found)),
        "slurm_calls": 0,
        "runs": [
            {
                "id": standing.planned.run.id,
                "cell": standing.planned.run.cell,
                "seed": standing.planned.run.seed,
                "state": standing.state.state,
                "class": standing.state.failure,
                "evidence": standing.state.evidence,
                "attempts": standing.state.attempts,
                "epoch": standing.state.epoch,
                "message": standing.state.message,
                "log": standing.state.log,
            }
            for standing in found
        ],
    }
