"""The command `status` shows the runs' states with their evidence, as a table or as JSON."""

import time
from typing import Any

from cluster.commands.sweep_screen import _is_typed, count, screen
from cluster.status import choice_lines, nodes, progress
from cluster.status.run_status import RunStatus
from cluster.status.sweep_status import SweepStatus, sweep_status
from cluster.terminal.exit_codes import DONE, INCOMPLETE
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole
from jobs.store.store import Store


def status(store: Store, *, watch: bool, as_json: bool) -> int:
    """Print how the sweep stands; 1 while a run has no record.

    With `watch`, look again until no run waits or runs any more; Ctrl-C leaves the jobs alone.
    """
    if watch:
        from cluster.commands.watch import until_over

        look = until_over(store, PlainConsole(stderr=as_json))
    else:
        look = sweep_status(store)
    if as_json:
        print_json(to_json(look, store))
    else:
        console = PlainConsole()
        lines = screen(look, store, width=console.width, fit=console.is_terminal)
        for line in lines:  # folding would break a command that is copied
            console.print(line, soft_wrap=_is_typed(line) or not console.is_terminal)
    return DONE if look.is_complete else INCOMPLETE


def to_json(look: SweepStatus, store: Store) -> dict[str, Any]:
    """The object that `--json` prints."""
    eta = progress.eta(look.runs)
    return {
        "schema": 1,
        "sweep": look.sweep.name,
        "states": dict(count(look.runs)),
        "slurm_calls": look.slurm_calls,
        "time": time.time(),
        "notes": look.notes,
        "epochs": {
            "done": sum(map(progress.done, look.runs)),
            "wanted": progress.wanted(look.runs),
        },
        "eta_s": eta.seconds,
        "eta_basis": eta.basis,
        "nodes": [node.to_json() for node in nodes.judge(look.runs)],
        "tunings": choice_lines.to_json(store, look.sweep, look.runs),
        "runs": [run_json(one) for one in look.runs],
    }


def run_json(one: RunStatus) -> dict[str, Any]:
    """The entry of one run in `--json`."""
    return {
        "id": one.planned.run.id,
        "cell": one.planned.run.cell,
        "seed": one.planned.run.seed,
        "state": one.state.state,
        "class": one.state.failure,
        "evidence": one.state.evidence,
        "attempts": one.state.attempts,
        "epoch": one.state.epoch,
        "step": one.state.step,
        "steps": one.state.steps,
        "message": one.state.message,
        "log": one.state.log,
        "element": one.element,
        "node": one.state.node,
        "reason": one.reason.name if one.reason else None,
        "live": one.is_live,
    }
