"""The lines about tunings on the screens: settings that were chosen, and what a choice waits for."""

from collections.abc import Container, Iterator, Sequence
from typing import Any

from rich.text import Text

from cluster.status.run_status import RunStatus
from cluster.terminal.plain import plain
from jobs.store.state import RECORDED
from jobs.store.store import Store
from jobs.sweep import Sweep
from jobs.text import described, spelled
from jobs.tuning import Choice, Tuning


def lines(store: Store, sweep: Sweep, found: Sequence[RunStatus], most: int) -> list[Text]:
    """A line per tuning without a choice."""
    told, recorded = [], _recorded(found)
    for tuning in sweep.undecided[:most]:
        head = f"{tuning.problem} {tuning.optimizer}: {_why(store, sweep, tuning, recorded)}"
        runs = len(tuning.evaluation)
        then = f"then {runs} run{'' if runs == 1 else 's'} of the best of {len(tuning.cells)}"
        told.append(plain(f"{head}; {then}"))
    rest = len(sweep.undecided) - len(told)
    return [*told, *([plain(f"... and {rest} more choices", style="dim")] if rest else [])]


def _recorded(found: Sequence[RunStatus]) -> set[str]:
    """The ids of the runs that have a record."""
    return {one.planned.run.id for one in found if one.state.state in RECORDED}


def _why(store: Store, sweep: Sweep, tuning: Tuning, recorded: Container[str]) -> str:
    """The reason for which a choice is not made yet, or cannot be made."""
    runs = sweep.competing[tuning.key]
    done = sum(planned.run.id in recorded for planned in runs)
    if done < len(runs):
        return f"{done} of {len(runs)} tuning runs done"
    return _reason(store, sweep, tuning) or f"all {len(runs)} tuning runs done"


def told(choice: Choice) -> str:
    """The words for a choice: its setting, and the criterion."""
    setting = described(choice.winner.setting)
    return (
        f"{choice.problem} {choice.optimizer} {setting}, of {len(choice.candidates)} settings"
        f" by {choice.criterion} ({spelled(choice.winner.value)})"
    )


def new(store: Store, before: Sweep, now: Sweep) -> list[str]:
    """A line per choice that was made between two looks at a sweep."""
    known = {tuning.key for tuning in before.tunings if tuning.chosen}
    found = (one for one in now.tunings if one.chosen and one.key not in known)
    made = (store.choice(tuning.key) for tuning in found)
    return [f"chosen: {told(choice)}" for choice in made if choice is not None]


def hopeless(store: Store, sweep: Sweep) -> Iterator[str]:
    """The reasons for which tunings with all their records allow no choice."""
    for tuning in sweep.undecided:
        reason = _reason(store, sweep, tuning)
        if reason is not None:
            yield f"{tuning.problem} {tuning.optimizer}: {reason}"


def to_json(store: Store, sweep: Sweep, found: Sequence[RunStatus]) -> list[dict[str, Any]]:
    """The entries of `status --json` about tunings."""
    recorded = _recorded(found)
    return [
        {
            "problem": tuning.problem,
            "optimizer": tuning.optimizer,
            "choose": str(tuning.criterion),
            "settings": len(tuning.cells),
            "seeds": list(tuning.seeds),
            "evaluation_seeds": list(tuning.evaluation),
            "chosen": tuning.chosen,
            "why": None if tuning.chosen else _why(store, sweep, tuning, recorded),
        }
        for tuning in sweep.tunings
    ]


def _reason(store: Store, sweep: Sweep, tuning: Tuning) -> str | None:
    """The reason for which the records allow no choice; None: they allow one, or some are missing."""
    from jobs.store import choosing  # most sweeps need none of it

    verdict = choosing.judged(store, sweep, tuning)
    return verdict.why if isinstance(verdict, choosing.Undecided) and not verdict.missing else None
