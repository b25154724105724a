"""The time limits of partitions: a job that asks for more waits for ever, without a word of sbatch."""

from collections.abc import Iterable, Iterator, Sequence

from cluster.slurm import site
from cluster.slurm.process import SlurmError
from cluster.slurm.site import NodeKind
from jobs.errors import InputError
from jobs.resources import Resources, slurm_time

_PATIENCE_S = 15.0
"""Slurm has this long to list its partitions; else the times are not checked."""


def seconds_of(text: str) -> int | None:
    """The seconds of a time limit as Slurm prints it, `1-00:00:00` or `10:00`; None: no limit.

    Raises:
        ValueError: the text is no time.
    """
    if text.lower() in {"infinite", "unlimited", "n/a", "none", ""}:
        return None
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    while len(parts) < 3:
        parts.insert(0, 0)  # sinfo leaves leading hours out
    hours, minutes, seconds = parts
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def longest(rows: Sequence[NodeKind]) -> int | None:
    """The longest time limit of these partitions, in seconds; None: no limit."""
    limits = [seconds_of(row.max_time) for row in rows]
    known = [limit for limit in limits if limit is not None]
    return max(known, default=None) if len(known) == len(limits) else None


def check_times(asked: Iterable[Resources]) -> list[str]:
    """Refuse times above the limit of every partition asked for; Slurm is asked once, if there is a time.

    Returns:
        Warnings about times that a named quality of service may still allow.

    Raises:
        InputError: all times that are too long, with the limit and what to do.
    """
    timed = list(dict.fromkeys(one for one in asked if one.time is not None))
    if not timed:
        return []
    try:
        rows = site.partitions(_PATIENCE_S)
    except SlurmError:
        return []
    found = list(dict.fromkeys(_too_long(timed, rows)))
    refused = [text for text, is_certain in found if is_certain]
    if refused:
        raise InputError("\n".join(refused))
    return [text for text, _ in found]


def _too_long(asked: Iterable[Resources], rows: Sequence[NodeKind]) -> Iterator[tuple[str, bool]]:
    default = next((row.partition for row in rows if row.is_default), "")
    for one in asked:
        names = one.partition or default
        chosen = [row for row in rows if row.partition in names.split(",")]
        limit = longest(chosen)
        if limit is None or one.time is None or one.time <= limit:
            continue
        text = (
            f"time: {slurm_time(one.time)} asked, partition {names} gives at most"
            f" {slurm_time(limit)}: such a job would wait for ever"
        )
        if one.qos is not None:
            yield f"{text}, if the quality of service {one.qos} does not allow more", False
            continue
        given = slurm_time(limit)
        next_ = f"next: --set resources.time={given} (retry: --time {given}), or so in the profile"
        yield f"{text}; {next_}: runs go on where they stopped", True
