"""The last state that Slurm gives an array element, and its meaning for the element's runs.

The launcher notes why an attempt ended. Only if it could not (the node died, or the run never began)
Slurm's state counts, and is noted, because Slurm forgets within minutes.
"""

import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cluster.slurm import client, states
from cluster.slurm.client import AccountingRow
from cluster.status.queue import Placement
from jobs.failure import Failure
from jobs.store import journal
from jobs.store.attempts import RunFolder
from jobs.store.state import State, ended
from jobs.store.state_cache import StateCache
from jobs.store.store import Store

_NAMED_ELEMENTS_MAX = 200
"""sacct is asked for whole arrays if there are more elements than this."""


def state_after_attempt(folder: RunFolder, known: State, slurm_state: str | None) -> State:
    """Give the state of a run whose last attempt left no end, or was requeued and is in no queue.

    Slurm's state is noted in the run's journal, so that other users and later commands know it, too.
    """
    if slurm_state is None or slurm_state not in states.FAILURES:
        said = f"says {slurm_state} of" if slurm_state else "no longer knows"
        evidence = f"{known.evidence}; Slurm {said} {known.element}"
        return replace(known, state="lost", failure="lost", evidence=evidence)
    failure, message = states.FAILURES[slurm_state]
    if known.state == "pending":
        message += " while it waited to go on"
    evidence = f"Slurm says {slurm_state} of {known.element}"
    why = Failure(failure=failure, message=message, evidence=evidence)
    with suppress(OSError):  # another user's sweep cannot be written to
        folder.attempt(known.attempts).note(journal.ended(why, step=known.step, by="status"))
    return replace(known, state=ended(failure), failure=failure, message=message, evidence=evidence)


def state_without_attempt(
    known: State, sent: Placement, slurm_state: str | None, *, is_late: bool = False
) -> State:
    """Give the state of a run whose job is over before an attempt of it began.

    `is_late`: the job ended long ago, so that a record or an attempt would be seen by now.
    """
    name = sent.name
    known = replace(known, log=None, node=None, element=name)
    if slurm_state is None:
        evidence = f"sent as {name}; no attempt began, and Slurm no longer knows it"
        message = "vanished before it began"
        return replace(known, state="lost", failure="lost", message=message, evidence=evidence)
    if slurm_state == states.CANCELLED_WHILE_PENDING:
        evidence = f"{name} was in the queue no more while its array was; no attempt began"
        message = "cancelled before it began"
        return replace(
            known, state="stopped", failure="cancelled", message=message, evidence=evidence
        )
    evidence = f"Slurm says {slurm_state} of {name}, and no attempt began"
    if (
        slurm_state == "COMPLETED" and not is_late
    ):  # the launcher may have seen a record, or a newer attempt
        evidence += "; the file system may be late: look again in a minute"
        return replace(known, state="unknown", evidence=evidence)
    failure, message = states.FAILURES.get(slurm_state, ("lost", "vanished"))
    if slurm_state in {"FAILED", "COMPLETED"}:
        code = " with exit code 0" if slurm_state == "COMPLETED" else ""
        message = f"its batch script ended{code} before the launcher could begin"
        failure = "setup"
    else:
        message += " before it began"
    return replace(known, state=ended(failure), failure=failure, message=message, evidence=evidence)


def logs_of(store: Store, sent: Placement) -> list[Path]:
    """The logs of an element's batch script: errors, then output; as submitit names them."""
    folder = store.submission(sent.submission).submitit
    return [folder / f"{sent.name}_0_log.{kind}" for kind in ("err", "out")]


def ask_accounting(
    store: Store, memory: StateCache, lost: Mapping[str, int]
) -> tuple[list[AccountingRow], list[str]]:
    """Ask sacct once about the lost elements, and cache their last states.

    `lost`: each element's name, and the number of its submission.

    Returns:
        The rows of sacct, and notes on what could not be known.
    """
    names = {name: number for name, number in lost.items() if name not in memory.asked}
    if not names:
        return [], []
    memory.asked.update(names)
    since = min(_time_of(store, number) for number in set(names.values()))
    arrays = {name.partition("_")[0] for name in names}
    ids = sorted(arrays if len(names) > _NAMED_ELEMENTS_MAX else names)
    rows = client.accounting(ids, since)
    if rows is None:
        many = "1 run was" if len(names) == 1 else f"{len(names)} runs were"
        return [], [f"no accounting (sacct) here: why {many} lost cannot be asked"]
    found = last_states(rows)
    for name in names:
        if found.get(name) in states.OVER:
            memory.remember_slurm_state(name, found[name])
    return rows, []


def _time_of(store: Store, number: int) -> float:
    """The unix time a little before a submission was made."""
    try:
        return store.submission(number).file.stat().st_mtime - 60
    except FileNotFoundError:
        return time.time() - 30 * 86400


def last_states(rows: Iterable[AccountingRow]) -> dict[str, str]:
    """The last state of every element, by the rows of all its starts and steps."""
    found: dict[str, str] = {}
    for row in rows:
        for name in _expanded(row.element):
            if not row.is_step:
                found[name] = row.state  # the last start of a requeued element counts
            elif row.state == "OUT_OF_MEMORY" and found.get(name) in states.OVER:
                found[name] = row.state
    return found


def _expanded(names: str) -> list[str]:
    """The names of the elements in `100_[0-3,7%2]`, sacct's name for pending ones; else the name itself."""
    match = re.fullmatch(r"(\d+)_\[([\d,-]+)(%\d+)?\]", names)
    if match is None:
        return [names]
    ranges = (part.partition("-") for part in match[2].split(","))
    return [
        f"{match[1]}_{index}"
        for first, _, last in ranges
        for index in range(int(first), int(last or first) + 1)
    ]
