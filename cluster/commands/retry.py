"""Submit again what failed, with what it lacked: `probprec retry`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster.commands import escalate, selection
from cluster.commands.escalate import Retry
from cluster.commands.profile_changes import changed_since
from cluster.profile import syntax
from cluster.slurm import partitions
from cluster.slurm.process import CallCount
from cluster.status import advice, meaning, nodes
from cluster.status.run_status import RunStatus
from cluster.status.sweep_status import SweepStatus, sweep_status
from cluster.submit import submit
from cluster.submit.seal import sealed
from cluster.submit.submit import Receipt
from cluster.terminal.exit_codes import DONE, INCOMPLETE
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole, command, plain, to_copy
from jobs.errors import InputError
from jobs.profile import Profile
from jobs.store.state import UNFINISHED
from jobs.store.store import Store
from jobs.yaml.mistakes import did_you_mean, listed


@dataclass
class _Choice:
    """What is retried, and what is not, and why."""

    chosen: list[RunStatus] = field(default_factory=list)
    left: list[tuple[RunStatus, str]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Which:
    """Which of the runs that failed, were lost or were stopped are retried."""

    failed: bool = False  # all of them; else those that may go well without anything mended
    classes: Sequence[str] = ()  # only these failure classes
    runs: Sequence[str] = ()  # only these; ids or beginnings of ids

    def __post_init__(self) -> None:
        """InputError if there is no such class."""
        for name in self.classes:
            if name not in meaning.CLASSES:
                raise InputError(
                    f"--class {name}: no such class{did_you_mean(name, meaning.CLASSES)}"
                    f" (there are: {listed(sorted(meaning.CLASSES))})"
                )


def retry(
    store: Store,
    *,
    which: Which,
    mem: str | None,
    time: str | None,
    exclude_bad_nodes: bool,
    profile: Profile | None,
    as_json: bool,
) -> int:
    """Submit failed, lost and cancelled runs again; 1 if something failed and none could be sent.

    Args:
        store: the sweep.
        which: of those that failed.
        mem: `x2`, `+2G` or `8G`, instead of what the policy does.
        time: `x2`, `+50%`, `+01:00:00` or `04:00:00`, likewise.
        exclude_bad_nodes: avoid the nodes against which there is evidence.
        profile: where; default: as the last time.
        as_json: print one JSON object.

    Raises:
        InputError: no such run, class or amount; data is not there, or not as it was sealed.
        SlurmError: Slurm does not answer, or takes nothing.
    """
    changes = escalate.parse_change("mem", mem), escalate.parse_change("time", time)
    calls, look = CallCount(), sweep_status(store)
    place = profile or advice.last_profile(store)
    _require_limits(place, is_asked=bool(mem or time or exclude_bad_nodes))
    choice = _choose(look, place, which)
    bad = nodes.suspicious(look.runs) if exclude_bad_nodes else []
    planned = escalate.plan(look, store, place, choice.chosen, changes, [node.name for node in bad])
    receipt = _send(store, look, place, planned) if planned else None
    console = PlainConsole(stderr=as_json, soft_wrap=as_json)
    _show(console, store, look, planned, choice, receipt)
    changed = [] if profile else _warned(console, place)
    if as_json:
        notes = {"notes": [*look.notes, *changed], "slurm_calls": calls.total}
        print_json(_to_json(planned, choice, receipt) | notes)
    return _code(look, planned, receipt)


def _warned(console: Console, place: Profile) -> list[str]:
    """Say what has changed in a profile since the last time; returns it."""
    changed = changed_since(place)
    for line in changed:
        console.print(plain(line, style="yellow"), soft_wrap=True)
    return changed


def _require_limits(place: Profile, *, is_asked: bool) -> None:
    if place.engine == "local" and is_asked:
        raise InputError("on this machine there are no limits: --mem, --time, ... change nothing")


def _code(look: SweepStatus, planned: Sequence[Retry], receipt: Receipt | None) -> int:
    if receipt is not None and receipt.fed is not None and receipt.fed.problem:
        return INCOMPLETE
    return DONE if _sent(planned, receipt) or look.is_complete else INCOMPLETE


def _sent(planned: Sequence[Retry], receipt: Receipt | None) -> list[Retry]:
    """What was really sent: somebody else may have been quicker."""
    submitted = receipt.submitted if receipt is not None else {}
    return [retry_ for retry_ in planned if retry_.one.planned.run.id in submitted]


def _choose(look: SweepStatus, place: Profile, which: Which) -> _Choice:
    """The runs that failed and are wanted; of the others that were asked for, why not."""
    named = {planned.run.id for planned in selection.resolve(look.sweep, which.runs)}
    is_all = bool(which.classes or which.failed or named)
    found = _Choice()
    for one in look.runs:
        state, run_id = one.state, one.planned.run.id
        if named and run_id not in named:
            continue
        name = state.failure or state.state
        if state.state not in UNFINISHED:
            if named:
                found.left.append((one, f"{state.state}: {state.evidence}"))
        elif look.queue.is_live(run_id):
            found.left.append((one, "its array task still runs other runs"))
        elif which.classes and name not in which.classes:
            continue
        elif not is_all and meaning.action_of(place.policy, name) == "stop":
            found.left.append((one, f"{name}: {meaning.MEANING[name][1]}"))
        else:
            found.chosen.append(one)
    return found


def _send(store: Store, look: SweepStatus, place: Profile, planned: Sequence[Retry]) -> Receipt:
    more = {retry_.one.planned.run.id: retry_.more for retry_ in planned}
    wanted = [retry_.one.planned for retry_ in planned]
    syntax.require(store.root, place)
    if place.engine == "slurm":
        partitions.check_times(
            place.resources.merged(one.one.planned.resources).merged(one.more) for one in planned
        )
    receipt = submit.submit(
        look.sweep,
        store,
        sealed(look.sweep, place, wanted, store),
        chosen=lambda run: run.run.id in more,
        more=lambda run: more[run.run.id],
    )
    receipt.wait_until_at_work()
    return receipt


def _show(
    console: Console,
    store: Store,
    look: SweepStatus,
    planned: Sequence[Retry],
    choice: _Choice,
    receipt: Receipt | None,
) -> None:
    if planned:
        console.print(_table(planned))
    groups: dict[str, list[RunStatus]] = {}
    for one, why in choice.left:
        groups.setdefault(why, []).append(one)
    for why, members in groups.items():
        first = members[0].planned.run.id
        text = plain(f"{len(members)} not retried, e.g. {first}: {why}")
        console.print(text if len(members) > 1 else plain(f"{first} not retried: {why}"))
    if receipt is None:
        console.print(_why_nothing(store, look, choice), soft_wrap=True)
        return
    for line in sent_lines(receipt):
        console.print(plain(line))
    held = len(planned) - len(_sent(planned, receipt))
    if held:
        said = f"{held} of them not sent: somebody else is running them by now"
        console.print(plain(said, style="bold yellow"))
    console.print(to_copy(str(advice.of_live(store)), style="dim"), soft_wrap=True)


def _table(planned: Sequence[Retry]) -> Table:
    groups: dict[tuple[str, str], int] = {}
    for retry_ in planned:
        key = (retry_.failure, retry_.changes)
        groups[key] = groups.get(key, 0) + 1
    table = Table()
    table.add_column("class", no_wrap=True)
    table.add_column("runs", justify="right", no_wrap=True)
    table.add_column("retried with", overflow="fold")
    for (failure, changes), number in groups.items():
        table.add_row(plain(failure), str(number), plain(changes))
    return table


def sent_lines(receipt: Receipt) -> list[str]:
    """The jobs or workers that a submission came to, a line each."""
    fed = receipt.fed
    if fed is None:
        return [f"{len(receipt.submitted)} runs on {len(receipt.workers)} workers of this machine"]
    return [*fed.lines(), *([fed.lacks] if fed.lacks else [])]


def _why_nothing(store: Store, look: SweepStatus, choice: _Choice) -> Text:
    unknown = sum(one.state.state == "unknown" for one in look.runs)
    if unknown:
        return plain(
            f"nothing to retry now; of {unknown} runs nothing is known: {'; '.join(look.notes)}"
        )
    unmended = [one for one, _ in choice.left if one.state.state in UNFINISHED]
    if unmended and not any(look.queue.is_live(one.planned.run.id) for one in unmended):
        again = command("retry", store.root, "--failed")
        again += advice.on_again(store, {one.state.failure for one in unmended})
        return to_copy(f"nothing is retried; when it is mended: {again}")
    said = "every run has a record" if look.is_complete else "no run failed so"
    return to_copy(f"nothing to retry: {said}; {advice.of_sweep(store, look)}")


def _to_json(planned: Sequence[Retry], choice: _Choice, receipt: Receipt | None) -> dict[str, Any]:
    return {
        "schema": 1,
        "retried": [
            {
                "id": retry_.one.planned.run.id,
                "class": retry_.failure,
                "resources": retry_.more.to_json(),
                "changes": retry_.changes,
            }
            for retry_ in _sent(planned, receipt)
        ],
        "left": [{"id": one.planned.run.id, "why": why} for one, why in choice.left],
        **submit.jobs_json(receipt),
    }
