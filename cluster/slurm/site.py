"""A site as Slurm describes it: settings, partitions, accounts and limits, and sbatch's options."""

import os
import pwd
import re
from dataclasses import dataclass

from cluster.slurm.process import PATIENCE_S, SlurmError, run


def config(patience: float = PATIENCE_S) -> dict[str, str]:
    """The controller's settings, e.g. MaxArraySize, MinJobAge, KillWait."""
    output = run(["scontrol", "show", "config"], timeout=patience)
    pairs = re.findall(r"^(\w+)\s*=[ \t]*(.*)$", output, re.MULTILINE)
    return {name: value.strip() for name, value in pairs}


@dataclass(frozen=True, kw_only=True)
class NodeKind:
    """One kind of node in one partition, in the words of sinfo."""

    partition: str
    is_default: bool  # whether jobs that name no partition go there
    availability: str  # up, down, drain, inact
    max_time: str  # 1-00:00:00, 30:00 or infinite
    default_time: str  # the same, or n/a
    nodes: str  # number of nodes
    idle: str  # of these nodes
    cpus: str  # of each node
    mem: str  # of each node, MiB
    gres: str  # of each node; (null): none


def partitions(patience: float = PATIENCE_S) -> list[NodeKind]:
    """Each kind of node in each partition, by one call of sinfo."""
    wanted = "--format=%P|%a|%l|%L|%D|%A|%c|%m|%G|%f"
    output = run(["sinfo", "--noheader", "--exact", wanted], timeout=patience)
    lines = (line.strip().split("|") for line in output.splitlines())
    return [_node_kind(*line[:9]) for line in lines if len(line) >= 10]  # sites print greetings


def _node_kind(name: str, up: str, most: str, usual: str, *node: str) -> NodeKind:
    count, states, cpus, mem, gres = node
    return NodeKind(
        partition=name.removesuffix("*"),
        is_default=name.endswith("*"),
        availability=up,
        max_time=most,
        default_time=usual,
        nodes=count,
        idle=states.partition("/")[2],  # allocated/idle
        cpus=cpus,
        mem=mem,
        gres=gres,
    )


@dataclass(frozen=True, kw_only=True)
class Association:
    """An association of the user: an account, for one partition or all."""

    account: str
    partition: str  # empty: all
    qos: str  # usable ones: a,b


def associations(cluster: str | None = None) -> list[Association] | None:
    """The user's associations; None: Slurm cannot tell.

    Args:
        cluster: its ClusterName; None: of all clusters that one accounting serves.
    """
    where = ["where", *_mine(cluster), "format=Account,Partition,QOS"]
    try:
        output = run(["sacctmgr", "-nP", "show", "assoc", *where])
    except SlurmError:
        return None
    lines = (line.split("|") for line in filter(_has_three, output.splitlines()))
    return [
        Association(account=account, partition=partition, qos=qos)
        for account, partition, qos in lines
    ]


def _mine(cluster: str | None) -> list[str]:
    return [f"user={_user()}", *([f"cluster={cluster}"] if cluster else [])]


def _user() -> str:
    """The user's name; the uid if it has none. Accounting knows names alone."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


@dataclass(frozen=True, kw_only=True)
class Cap:
    """A cap on the user's jobs in the queue."""

    jobs: int
    qos: str | None = None  # jobs of this quality of service count; None: all jobs


def submit_caps(account: str | None, qos: str | None, cluster: str | None = None) -> list[Cap]:
    """The caps on jobs of this account and quality of service, as far as sacctmgr tells.

    These are MaxSubmitJobs of the user's associations, and MaxSubmitJobsPerUser of the quality of
    service that the jobs will get. `cluster`: see `associations`.
    """
    where = [*_mine(cluster), *([f"account={account}"] if account else [])]
    fields = "format=MaxSubmitJobs,DefaultQOS,QOS"
    try:
        rows = run(["sacctmgr", "-nP", "show", "assoc", "where", *where, fields]).splitlines()
        names = {qos} if qos else set()
        found: list[tuple[str, str | None]] = []
        for row in filter(_has_three, rows):
            limit, default, all_of_them = row.split("|")
            found.append((limit, None))
            if not qos:  # slurmctld takes the default, else the only one, else `normal`
                names.add(default or ("normal" if "," in all_of_them else all_of_them))
        for name in filter(None, sorted(names)):
            chosen = ["where", f"name={name}", "format=MaxSubmitJobsPerUser"]
            lines = run(["sacctmgr", "-nP", "show", "qos", *chosen]).splitlines()
            found += [(line, name) for line in lines]
    except SlurmError:
        return []
    return [Cap(jobs=int(text), qos=name) for text, name in found if text.isdecimal()]


def _has_three(row: str) -> bool:
    return row.count("|") == 2


def submit_limit(account: str | None, qos: str | None, cluster: str | None = None) -> int | None:
    """The tightest of `submit_caps`; None: sacctmgr lists none."""
    return min((cap.jobs for cap in submit_caps(account, qos, cluster)), default=None)


def sbatch_help() -> str | None:
    """The text of `sbatch --help`, options of the site's plugins included; None: no answer.

    sbatch needs the site's slurm.conf for this, but no running controller.
    """
    try:
        return run(["sbatch", "--help"])
    except SlurmError:
        return None
