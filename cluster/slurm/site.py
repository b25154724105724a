"""What Slurm says of a site: its settings, partitions, accounts and limits, and what sbatch takes."""

import os
import pwd
import re
from dataclasses import dataclass

from cluster.slurm.command import PATIENCE_S, SlurmError, run


def config(patience: float = PATIENCE_S) -> dict[str, str]:
    """The controller's settings, e.g. MaxArraySize, MinJobAge, KillWait."""
    output = run(["scontrol", "show", "config"], timeout=patience)
    pairs = re.findall(r"^(\w+)\s*=[ \t]*(.*)$", output, re.MULTILINE)
    return {name: value.strip() for name, value in pairs}


def partitions(patience: float = PATIENCE_S) -> list[dict[str, str]]:
    """What the partitions offer: a row for each kind of node in each partition, by one call.

    The keys: name, default ("yes" or ""), up, max_time, default_time (of Slurm's form, or
    "infinite", "n/a"), nodes, idle, cpus, mem (MiB per node), gres, features.
    """
    keys = [
        "name",
        "up",
        "max_time",
        "default_time",
        "nodes",
        "idle",
        "cpus",
        "mem",
        "gres",
        "features",
    ]
    wanted = "--format=%P|%a|%l|%L|%D|%A|%c|%m|%G|%f"
    output = run(["sinfo", "--noheader", "--exact", wanted], timeout=patience)
    rows = []
    for line in output.splitlines():
        row = dict(zip(keys, line.strip().split("|"), strict=False))
        if len(row) == len(keys):  # sites print greetings around it
            row["default"] = "yes" if row["name"].endswith("*") else ""
            row["name"] = row["name"].removesuffix("*")
            row["idle"] = row["idle"].partition("/")[2]  # allocated/idle
            rows.append(row)
    return rows


def associations(cluster: str | None = None) -> list[dict[str, str]] | None:
    """My accounts, each with its partition and the QOS that it may use; None: nobody can tell.

    Args:
        cluster: its ClusterName; None: of all clusters that one accounting serves.
    """
    keys = ("account", "partition", "qos")
    where = ["where", *_mine(cluster), "format=Account,Partition,QOS"]
    try:
        output = run(["sacctmgr", "-nP", "show", "assoc", *where])
    except SlurmError:
        return None
    lines = [line.split("|") for line in filter(_has_three, output.splitlines())]
    return [dict(zip(keys, line, strict=True)) for line in lines]


def _mine(cluster: str | None) -> list[str]:
    return [f"user={_user()}", *([f"cluster={cluster}"] if cluster else [])]


def _user() -> str:
    """My name, by the uid; where it has none, the uid: accounting knows names alone."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


@dataclass(frozen=True, kw_only=True)
class Cap:
    """How many jobs I may have in the queue."""

    jobs: int
    qos: str | None = None  # only those of this quality of service count; None: all do


def submit_caps(account: str | None, qos: str | None, cluster: str | None = None) -> list[Cap]:
    """The caps on jobs that ask for these, as far as sacctmgr tells.

    They are the MaxSubmitJobs of my associations and the MaxSubmitJobsPerUser of the quality of
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
            if not qos:  # as slurmctld: the default, else the only one, else this name
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
    """The tightest of `submit_caps`; None: sacctmgr tells of none."""
    return min((cap.jobs for cap in submit_caps(account, qos, cluster)), default=None)


def sbatch_help() -> str | None:
    """What `sbatch --help` prints, options of the site's plugins included; None: no answer.

    It needs the site's slurm.conf, but no running controller.
    """
    try:
        return run(["sbatch", "--help"])
    except SlurmError:
        return None
