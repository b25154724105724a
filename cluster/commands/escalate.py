"""A run that is submitted again gets more of what it lacked: memory, time, or another node."""

import math
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cluster.status import meaning, progress
from cluster.status.run_status import RunStatus
from cluster.status.sweep_status import SweepStatus
from jobs.errors import InputError
from jobs.profile import Profile
from jobs.resources import Resources, parse_size, parse_time, written
from jobs.store.store import Store
from jobs.sweep import PlannedRun

_MEMORY_FACTOR = 2
_TIME_MARGIN = 1.2  # x the time that the epochs that are left took so far
_TIME_FACTOR_MIN = 1.5  # x the time there was, at least

_TIMES = re.compile(r"x([0-9]+(?:\.[0-9]+)?)")
_PERCENT = re.compile(r"\+([0-9]+(?:\.[0-9]+)?)%")


@dataclass(frozen=True)
class Change:
    """A change of memory or time: x2, +50%, +2G, or 8G."""

    text: str
    factor: float | None = None
    more: int | None = None
    value: int | None = None

    def of(self, before: int | None, name: str) -> int:
        """The new value.

        Raises:
            InputError: the change is relative, and nothing was asked for before.
        """
        if self.value is not None:
            return self.value
        if before is None:
            raise InputError(
                f"--{name} {self.text}: nothing was asked for before that could be changed;"
                f" give it as a whole, e.g. --{name} {'8G' if name == 'mem' else '04:00:00'}"
            )
        return math.ceil(before * self.factor) if self.factor else before + (self.more or 0)


@dataclass(frozen=True)
class Retry:
    """One run that is to be submitted again, and what it gets."""

    one: RunStatus
    more: Resources
    changes: str  # for people

    @property
    def failure(self) -> str:
        """The class of its failure."""
        return self.one.state.failure or self.one.state.state


def parse_change(name: str, text: str | None) -> Change | None:
    """The change that `--mem` or `--time` asks for.

    Raises:
        InputError: the text is no change.
    """
    if text is None:
        return None
    text = text.strip()
    read = parse_size if name == "mem" else parse_time
    try:
        if match := _TIMES.fullmatch(text):
            return _by_factor(text, float(match[1]))
        if match := _PERCENT.fullmatch(text):
            return _by_factor(text, 1 + float(match[1]) / 100)
        if text.startswith("+"):
            return Change(text, more=read(text[1:]))
        return Change(text, value=read(text))
    except ValueError as error:
        raise InputError(f"--{name} {text}: {error}; or x2, +50%, or + with an amount") from None


def _by_factor(text: str, factor: float) -> Change:
    if not 0 < factor <= 1000:
        raise ValueError(f"expected a factor above 0 and not above 1000, found {factor:g}")
    return Change(text, factor=factor)


def plan(
    look: SweepStatus,
    store: Store,
    place: Profile,
    chosen: Sequence[RunStatus],
    changes: tuple[Change | None, Change | None],
    bad: Sequence[str],
) -> list[Retry]:
    """The resources that each chosen run gets when it is submitted again.

    Args:
        look: the sweep as it stands.
        store: the sweep's folder.
        place: the profile that the runs go to; on this machine there is nothing to give.
        chosen: the runs.
        changes: of memory and of time, as they were asked for; None: as the policy says.
        bad: nodes that all the runs avoid.
    """
    if place.engine == "local":
        return [Retry(one, Resources(), "as before") for one in chosen]
    last = last_asked(store)
    seen = {node for one in look.runs for node, _ in one.state.tried}
    return [
        _plan_one(one, place, last.get(one.planned.run.id), changes, bad, seen) for one in chosen
    ]


def _plan_one(
    one: RunStatus,
    place: Profile,
    last: Resources | None,
    changes: tuple[Change | None, Change | None],
    bad: Sequence[str],
    seen: set[str],
) -> Retry:
    """The resources of one run: what it had, changed by the flags, else by the policy."""
    mem, time = changes
    base = place.resources.merged(one.planned.resources)
    more = kept(one.planned, place, last)
    asked = base.merged(more)
    action = meaning.action_of(place.policy, one.state.failure)
    note = ""
    if mem is not None or action == "mem":
        grown = with_memory(asked, mem)
        note = "" if grown.said() else _no_more_memory(asked)
        more = more.merged(grown)
    if time is not None or action == "time":
        more = more.merged(with_time(asked, one, time))
    avoided = list(bad)
    if action == "exclude" and one.state.node is not None:
        if seen - {one.state.node} - set(asked.exclude or ()):
            avoided.append(one.state.node)
        else:
            note += f"; {one.state.node} is not avoided: no other node is known"
    more = more.merged(without(asked, avoided))
    return Retry(one, more, described(asked, more) + note)


def _no_more_memory(asked: Resources) -> str:
    if asked.mem == 0:
        return "; it had all memory of its node: name larger nodes (partition, constraint)"
    return "; it asked for no memory: give it some, e.g. --mem 8G"


def last_asked(store: Store) -> dict[str, Resources]:
    """The resources that each run asked for when it was last submitted."""
    found: dict[str, Resources] = {}
    for submission in store.submissions():
        for group in submission.plan().groups:
            found.update((entry.id, group.resources) for entry in group.entries)
    return found


def kept(planned: PlannedRun, profile: Profile, last: Resources | None) -> Resources:
    """The resources that earlier retries gave a run beyond the profile and the spec: the run keeps them."""
    base = profile.resources.merged(planned.resources)
    if last is None:
        return Resources()
    has_more = _memory(last) > _memory(base)
    return Resources(
        time=last.time if (last.time or 0) > (base.time or 0) else None,
        mem=last.mem if has_more else None,
        mem_per_cpu=last.mem_per_cpu if has_more else None,
    ).merged(without(base, last.exclude or ()))


def _memory(asked: Resources) -> int:
    """The memory of a whole task in MiB; 0: none was asked for."""
    if asked.mem == 0:  # `--mem=0`: all memory of the node
        return sys.maxsize
    return asked.mem or (asked.mem_per_cpu or 0) * (asked.cpus or 1)


def with_memory(asked: Resources, change: Change | None) -> Resources:
    """More memory than `asked`; no change if none, or all memory of a node, was asked for.

    Raises:
        InputError: the change is relative, and no memory was asked for.
    """
    if change is not None and change.value is not None:
        return Resources(mem=change.value)
    doubled = change or Change(f"x{_MEMORY_FACTOR}", factor=_MEMORY_FACTOR)
    if asked.mem_per_cpu is not None:
        return Resources(mem_per_cpu=doubled.of(asked.mem_per_cpu, "mem"))
    if asked.mem == 0 or (asked.mem is None and change is None):
        return Resources()
    return Resources(mem=doubled.of(asked.mem, "mem"))


def with_time(asked: Resources, one: RunStatus, change: Change | None) -> Resources:
    """More time than `asked`: enough for the epochs that are left, with a margin."""
    if change is not None:
        return Resources(time=change.of(asked.time, "time"))
    if asked.time is None:
        return Resources()
    left = one.planned.run.epochs - progress.done(one)
    measured = left * (one.state.epoch_s or 0.0) * _TIME_MARGIN
    return Resources(time=math.ceil(max(measured, asked.time * _TIME_FACTOR_MIN) / 60) * 60)


def without(asked: Resources, nodes: Iterable[str]) -> Resources:
    """The resources, with more nodes excluded."""
    excluded = tuple(dict.fromkeys((*(asked.exclude or ()), *nodes)))
    return Resources(exclude=excluded) if excluded != (asked.exclude or ()) else Resources()


def described(asked: Resources, more: Resources) -> str:
    """The difference in words: `mem 4G -> 8G, not on node7`."""
    before, parts = asked.said(), []
    for name, value in more.said().items():
        if before.get(name) == value:
            continue
        if name == "exclude":
            parts.append(f"not on {','.join(value)}")
        else:
            old = f"{written(name, before[name])} -> " if name in before else ""
            parts.append(f"{name} {old}{written(name, value)}")
    return ", ".join(parts) or "as before"
