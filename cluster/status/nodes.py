"""Bad nodes fail runs that pass on others; a node is named only if chance does not explain it."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from cluster.status.run_status import RunStatus

BLAMED = frozenset(
    {"node_fail", "gpu_missing", "killed", "disk_full", "image", "lost", "drifted", "bad_data"}
)
"""The failure classes that may be a node's fault: its hardware, its disks, its mounts."""

_P_VALUE_MAX = 0.05
"""A node with a smaller p is suspicious."""

_RESCUED_RUNS_MIN = 2
"""A node is suspicious, too, if so many runs failed on it and passed on another one."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node, with how attempts ended on it and elsewhere."""

    name: str
    failures: dict[str, int] = field(default_factory=dict)  # of the blamed classes
    passed: int = 0  # attempts that left a record
    elsewhere_failed: int = 0
    elsewhere_passed: int = 0
    rescued: int = 0  # runs that failed here and have a record from another node
    p: float = 1.0  # chance of so many failures here if all nodes were alike, times the nodes

    @property
    def failed(self) -> int:
        """The number of attempts here that ended in a blamed class."""
        return sum(self.failures.values())

    @property
    def is_suspicious(self) -> bool:
        """Whether there is enough evidence against the node."""
        return self.failed > 0 and (self.p < _P_VALUE_MAX or self.rescued >= _RESCUED_RUNS_MIN)

    @property
    def evidence(self) -> str:
        """The evidence against the node, or for it, in one line."""
        classes = ", ".join(f"{name} {count}" for name, count in sorted(self.failures.items()))
        here = f"{self.failed} of {self.failed + self.passed} attempts failed here ({classes})"
        elsewhere = self.elsewhere_failed + self.elsewhere_passed
        there = f"{self.elsewhere_failed} of {elsewhere} elsewhere"
        rescued = f"; {self.rescued} of its runs passed elsewhere" if self.rescued else ""
        return f"{here}, {there}{rescued}; p = {self.p:.2g}"

    def to_json(self) -> dict[str, Any]:
        """The node as `--json` shows it."""
        return {**asdict(self), "suspicious": self.is_suspicious, "evidence": self.evidence}


def judge(runs: Iterable[RunStatus]) -> list[Node]:
    """The nodes on which an attempt ended in a blamed class, the worst first.

    One-sided Fisher exact test of each node against all others, corrected for the number of nodes
    (Bonferroni). Preemption, time limits, cancellation, memory and errors of the run's own say
    nothing about a node and are left out.
    """
    failures: defaultdict[str, Counter[str]] = defaultdict(Counter)
    passed: Counter[str] = Counter()
    rescued: Counter[str] = Counter()
    for one in runs:
        tried = one.state.tried
        success = next((where for where, failure in tried if failure is None), None)
        if success is not None:
            passed[success] += 1
        bad = [tried_ for tried_ in _with_lost(one) if tried_[1] in BLAMED]
        for where, failure in bad:
            failures[where][failure or ""] += 1
        if success is not None:
            rescued.update({where for where, _ in bad} - {success})
    names = failures.keys() | passed.keys()
    all_failed, all_passed = sum(map(Counter.total, failures.values())), passed.total()
    found = []
    for name in failures:
        failed = failures[name].total()
        p = fisher(failed, passed[name], all_failed - failed, all_passed - passed[name])
        node = Node(
            name=name,
            failures=dict(failures[name]),
            passed=passed[name],
            elsewhere_failed=all_failed - failed,
            elsewhere_passed=all_passed - passed[name],
            rescued=rescued[name],
            p=min(1.0, p * len(names)),
        )
        found.append(node)
    return sorted(found, key=lambda node: (not node.is_suspicious, node.p, -node.failed, node.name))


def suspicious(runs: Iterable[RunStatus]) -> list[Node]:
    """The nodes against which there is enough evidence."""
    return [node for node in judge(runs) if node.is_suspicious]


def _with_lost(one: RunStatus) -> list[tuple[str, str | None]]:
    """The attempts with how they ended; a vanished one, which has no end in the journal, is `lost`."""
    state = one.state
    lost = [(state.node, "lost")] if state.state == "lost" and state.node else []
    return [*state.tried, *lost]


def fisher(failed: int, passed: int, other_failed: int, other_passed: int) -> float:
    """The probability of at least `failed` failures here, all four margins given (hypergeometric)."""
    here, bad = failed + passed, failed + other_failed
    total = here + other_failed + other_passed
    ways = math.comb(total, here)
    if total == here:  # no other node to compare with
        return 1.0
    return (
        sum(
            math.comb(bad, count) * math.comb(total - bad, here - count)
            for count in range(failed, min(here, bad) + 1)
        )
        / ways
    )
