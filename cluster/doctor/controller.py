"""Slurm's controller is asked whether it answers, and what the cluster offers."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cluster.doctor.finding import Check, Group
from cluster.slurm import client, site
from cluster.slurm.process import SlurmError
from cluster.slurm.site import Association, NodeKind

_MAX_PARTITIONS_SHOWN = 6  # the others are only counted


@dataclass(frozen=True, kw_only=True)
class Offer:
    """The offer of a cluster: settings, partitions and accounts, each asked for once."""

    config: Mapping[str, str] = field(default_factory=dict)  # empty: the controller does not answer
    partitions: list[NodeKind] = field(default_factory=list)
    associations: list[Association] | None = None
    has_accounting: bool = False
    error: str = ""

    @property
    def default(self) -> str | None:
        """The partition of jobs that name none."""
        return next((row.partition for row in self.partitions if row.is_default), None)

    @property
    def cluster(self) -> str | None:
        """The cluster's name, also in the accounting; None: the settings have none."""
        return self.config.get("ClusterName")

    def rows(self, partition: str | None) -> list[NodeKind]:
        """The kinds of nodes in a partition, or in several: `day,week`."""
        names = (partition or "").split(",")
        return [row for row in self.partitions if row.partition in names]


def ask() -> Offer:
    """Ask Slurm for the offer, by four short calls."""
    try:
        config = site.config()
        rows = site.partitions()
    except SlurmError as error:
        return Offer(error=str(error))
    return Offer(
        config=config,
        partitions=rows,
        associations=site.associations(config.get("ClusterName")),
        has_accounting=client.accounting([1], time.time()) is not None,
    )


def look(offer: Offer, *, is_chosen: bool) -> Iterator[Check]:
    """The group Slurm; `is_chosen`: a profile names the partition, so not all are listed."""
    group = Group("Slurm")
    if offer.error:
        advice = (
            "on a login node? is a module needed (`module load slurm`)?"
            " A Slurm of your own to try things: probprec lab up, then --on lab"
        )
        yield group.problem("controller", offer.error, advice)
        return
    config = offer.config
    name = f"Slurm {config.get('SLURM_VERSION', '?')}, cluster {config.get('ClusterName', '?')}"
    yield group.ok("controller", f"answers: {name}")
    if not is_chosen:
        yield from _partitions(group, offer)
    limit = site.submit_limit(None, None, offer.cluster)
    yield group.ok(
        "limits",
        f"an array's indices end before {config.get('MaxArraySize', '?')}; jobs in the queue:"
        f" {f'at most {limit}' if limit else 'no known limit'} of yours,"
        f" {config.get('MaxJobCount', '?')} of everybody",
    )
    yield _accounting(group, offer)
    yield _requeue(group, config)


def _partitions(group: Group, offer: Offer) -> Iterator[Check]:
    names = list(dict.fromkeys(row.partition for row in offer.partitions))
    if not names:
        yield group.problem("partitions", "there is none that you may use", "see: sinfo")
    for name in names[:_MAX_PARTITIONS_SHOWN]:
        rows = offer.rows(name)
        found = f"{name}{' (default)' if name == offer.default else ''}: {described(rows)}"
        is_up = any(row.availability == "up" for row in rows)
        yield group.ok("partition", found) if is_up else group.note("partition", found)
    if len(names) > _MAX_PARTITIONS_SHOWN:
        more = (
            f"{len(names) - _MAX_PARTITIONS_SHOWN} more: {', '.join(names[_MAX_PARTITIONS_SHOWN:])}"
        )
        yield group.note("partition", more, "all of them: sinfo")


def described(rows: Sequence[NodeKind]) -> str:
    """A partition in a few words: its state, its time limit, its nodes."""
    kinds = []
    for row in rows:
        gres = re.sub(r"\(S:[^)]*\)", "", row.gres)  # the sockets of the GPUs
        gpus = "" if gres in {"(null)", ""} else f", {gres}"
        kinds.append(f"{row.nodes} nodes ({row.idle} idle) of {row.cpus} CPUs{gpus}")
    return f"{rows[0].availability}, at most {rows[0].max_time}; {'; '.join(kinds[:3])}"


def _accounting(group: Group, offer: Offer) -> Check:
    if offer.has_accounting:
        return group.ok("sacct", "answers")
    age = offer.config.get("MinJobAge", "300 sec")
    return group.note(
        "sacct",
        f"no accounting: Slurm forgets a job {age} after its end; what is lost is only extra"
        " evidence, the runs write down their ends themselves",
    )


def _requeue(group: Group, config: Mapping[str, str]) -> Check:
    mode, kind = config.get("PreemptMode", "OFF"), config.get("PreemptType", "")
    said = f"JobRequeue={config.get('JobRequeue', '?')} (runs ask for it themselves)"
    if kind in {"", "preempt/none", "(null)"}:
        return group.ok("requeue", f"{said}; no preemption")
    found = f"{said}; jobs may be preempted ({kind}, {mode})"
    if "CANCEL" in mode:
        return group.note("requeue", found, "a preempted run is cancelled: probprec retry SWEEP")
    return group.ok("requeue", f"{found}: runs go on from their checkpoint")
