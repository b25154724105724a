"""How long an optimizer's epoch takes as a multiple of the baseline's, where that can be known.

Wall clock is compared over pairs of runs of equal problem, seed, batch size and initial weights, on equal
hardware, and only if neither run shared its host with another one. CPU time is compared over all pairs.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jobs.results.reading import Result
from jobs.results.selection import Selection, baseline_of
from jobs.statistics.time_ratio import TimeRatio, time_ratio

PHASES = ("train", "estimate", "apply")
"""The phases of a training without evaluation."""

_HARDWARE = ("machine", "cpu", "device", "gpu", "threads", "torch")

HOW_TO_MEASURE = (
    "to measure it, one run at a time: probprec run SPEC --name NAME --workers 1,"
    " or in a cluster's profile `options: {exclusive: true}`"
)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The time of an optimizer's epochs on a problem, as a multiple of the baseline's."""

    selection: Selection
    wall: TimeRatio | None  # None: see `refused`
    cpu: TimeRatio | None  # None: no pair tells it
    refused: str | None  # why the wall clock of some pairs, or of all, is not compared


def paces(selections: Sequence[Selection], results: Sequence[Result]) -> Iterator[Pace]:
    """Compare the times of each optimizer with those of the baseline, problem by problem.

    Args:
        selections: the setting of each optimizer and problem.
        results: all that ran, whatever it was: what shares a host with a run slows it down.
    """
    shared = shared_hosts(results)
    base = baseline_of(selections)
    of_base = {one.problem: _by_conditions(one) for one in selections if one.optimizer == base}
    for one in selections:
        own, others = _by_conditions(one), of_base.get(one.problem, {})
        pairs = [(own[key], others[key]) for key in own if key in others]
        if one.optimizer != base and pairs:
            yield _pace(one, pairs, shared)


def shared_hosts(results: Sequence[Result]) -> Mapping[str, str]:
    """Say of each run (by id) whose wall clock is not that of its work alone, or unknown, why."""
    found = {}
    by_host: dict[str, list[tuple[float, float, str]]] = {}
    for one in results:
        run, started, ended = one.planned.run.id, *map(one.provenance.get, ("started", "ended"))
        if why := _own_reason(one):
            found[run] = why
        if isinstance(started, int | float) and isinstance(ended, int | float):
            runs_of_host = by_host.setdefault(str(one.provenance.get("host")), [])
            runs_of_host.append((float(started), float(ended), run))
        else:
            found.setdefault(run, "a record does not say when its run was trained")
    for runs in by_host.values():
        for run in _overlapping(sorted(runs)):
            found.setdefault(run, "other runs were trained on the same host at the same time")
    return found


def _own_reason(one: Result) -> str | None:
    """What a record itself says against its wall clock; None: nothing."""
    if one.provenance.get("device") == "cuda" and one.seconds is None:
        return "an older record of a GPU has the host's time, which did not wait for the GPU"
    if one.provenance.get("co_tenants"):
        return "runs of the same task were trained at the same time"
    return None


def why_not_comparable(own: Sequence[Result], results: Sequence[Result]) -> str | None:
    """Say why the wall clocks of these runs cannot be compared with each other; None: they can.

    Args:
        own: the runs.
        results: all that ran, as of `paces`.
    """
    shared = shared_hosts(results)
    counts = Counter(why for one in own if (why := shared.get(one.planned.run.id))).most_common()
    reasons = [f"{why} ({count} of {len(own)} runs)" for why, count in counts]
    differing = [
        name for name in _HARDWARE if len({repr(one.provenance.get(name)) for one in own}) > 1
    ]
    if differing:
        reasons.append(f"different {', '.join(differing)}")
    return "; ".join(reasons) or None


def _overlapping(runs: Sequence[tuple[float, float, str]]) -> Iterator[str]:
    """The runs, sorted by their start, that overlap with an earlier or a later one."""
    latest_end = -math.inf
    for index, (start, end, run) in enumerate(runs):
        next_start = runs[index + 1][0] if index + 1 < len(runs) else math.inf
        if start < latest_end or next_start < end:
            yield run
        latest_end = max(latest_end, end)


def _by_conditions(one: Selection) -> dict[tuple[object, ...], Result]:
    completed = one.cell.completed if one.cell is not None else []
    return {_conditions(result): result for result in completed}


def _conditions(result: Result) -> tuple[object, ...]:
    run = result.planned.run
    return run.seed, run.batch_size, run.init


def _pace(
    one: Selection, pairs: Sequence[tuple[Result, Result]], shared: Mapping[str, str]
) -> Pace:
    reasons = [_why_not(pair, shared) for pair in pairs]
    alone = [pair for pair, why in zip(pairs, reasons, strict=True) if why is None]
    counts = Counter(why for why in reasons if why is not None).most_common()
    refused = "; ".join(f"{why} ({count} of {len(pairs)} pairs)" for why, count in counts)
    return Pace(
        selection=one,
        wall=_ratio(alone, lambda result: result.seconds_per_epoch(PHASES, "wall_s")),
        cpu=_ratio(pairs, lambda result: result.seconds_per_epoch(PHASES, "cpu_s")),
        refused=refused or None,
    )


def _why_not(pair: tuple[Result, Result], shared: Mapping[str, str]) -> str | None:
    """Say why the wall clock of a pair is not compared; None: it is."""
    for one in pair:
        if why := shared.get(one.planned.run.id):
            return why
    first, second = (one.provenance for one in pair)
    differing = [name for name in _HARDWARE if first.get(name) != second.get(name)]
    return f"different {', '.join(differing)}" if differing else None


def _ratio(
    pairs: Sequence[tuple[Result, Result]], seconds: Callable[[Result], float]
) -> TimeRatio | None:
    times = np.array([[seconds(one) for one in pair] for pair in pairs]).reshape(-1, 2)
    times = times[np.isfinite(times).all(axis=1) & (times > 0).all(axis=1)]
    return time_ratio(times[:, 0], times[:, 1]) if len(times) else None
