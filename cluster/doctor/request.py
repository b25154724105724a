"""The group Profile: what a profile asks for is compared with what the cluster offers."""

import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cluster.doctor.controller import Offer, described
from cluster.doctor.finding import Check, Group
from cluster.profile import syntax
from cluster.profile.sbatch_parameters import sbatch_parameters
from cluster.slurm import client, site
from cluster.slurm.partitions import longest, seconds_of
from cluster.slurm.process import SlurmError
from cluster.slurm.site import NodeKind
from jobs.profile import Option, Profile
from jobs.resources import Resources, slurm_mem, slurm_time
from jobs.yaml.mistakes import did_you_mean, listed

_GROUP = Group("Profile")


def look(profile: Profile, offer: Offer) -> list[Check]:
    """The group Profile."""
    group = _GROUP
    source = str(profile.source) if profile.source else "built in"
    found = [group.ok("file", f"{profile.name}: {source}")]
    if profile.engine == "local":
        return [*found, group.ok("engine", "local: runs need no Slurm")]
    if offer.error:
        return [*found, group.note("resources", "not looked at: Slurm does not answer")]
    r = profile.resources
    name = r.partition or offer.default
    found += group.look("partition", lambda: _partition(r, offer))
    if rows := offer.rows(name):
        found += group.look("time", lambda: _time(r, rows))
        found += group.look("nodes", lambda: _size(r, rows))
        found += group.look("gpus", lambda: _gpus(r, rows))
    found += group.look("account", lambda: _account(r, offer))
    found += group.look("limits", lambda: _limits(profile, offer))
    found += group.look("sbatch", lambda: [_verdict(profile)])
    return found


def _partition(r: Resources, offer: Offer) -> Iterator[Check]:
    names = sorted({row.partition for row in offer.partitions})
    line = f"write in the profile: resources: {{partition: {offer.default or 'NAME'}}}"
    if r.partition is None and offer.default is None:
        advice = f"{line}; there are {listed(names)}"
        yield _GROUP.problem("partition", "none is named, and the cluster has no default", advice)
        return
    for name in (r.partition or offer.default or "").split(","):
        rows = offer.rows(name)
        if not rows:
            found = f"no partition {name!r}{did_you_mean(name, names)} (known: {listed(names)})"
            yield _GROUP.problem("partition", found, line)
        elif not any(row.availability == "up" for row in rows):
            found = f"{name} takes no jobs now: {described(rows)}"
            yield _GROUP.problem("partition", found, "wait, or name another one; see: sinfo")
        else:
            kind = "" if r.partition else " (the cluster's default)"
            yield _GROUP.ok("partition", f"{name}{kind}: {described(rows)}")


def _time(r: Resources, rows: Sequence[NodeKind]) -> Iterator[Check]:
    limit, default = longest(rows), seconds_of(rows[0].default_time)
    if r.time is None:
        given = slurm_time(default) if default else f"the longest, {rows[0].max_time}"
        advice = "write in the profile: resources: {time: 02:00:00}"
        yield _GROUP.note("time", f"not asked for; the partition gives {given}", advice)
    elif limit is not None and r.time > limit:
        found = f"{slurm_time(r.time)} asked, the partition gives at most {slurm_time(limit)}"
        advice = f"write in the profile: resources: {{time: {slurm_time(limit)}}}"
        yield _GROUP.problem("time", found, f"{advice}; runs go on where they stopped")
    else:
        most = f"at most {slurm_time(limit)}" if limit is not None else "no limit"
        yield _GROUP.ok("time", f"{slurm_time(r.time)}; the partition gives {most}")


def _size(r: Resources, rows: Sequence[NodeKind]) -> Iterator[Check]:
    """The check that CPUs and memory of a task fit one node."""
    cpus = max(_number(row.cpus) for row in rows)
    mem = max(_number(row.mem) for row in rows)
    asked = r.mem or (r.mem_per_cpu or 0) * (r.cpus or 1)
    if (r.cpus or 1) > cpus:
        found, advice = f"{r.cpus} CPUs asked, no node has more than {cpus}", f"{{cpus: {cpus}}}"
        yield _GROUP.problem("cpus", found, f"write in the profile: resources: {advice}")
    if asked > mem:
        found = f"{slurm_mem(asked)} asked, no node has more than {slurm_mem(mem)}"
        advice = f"write in the profile: resources: {{mem: {slurm_mem(mem)}}}, or less"
        yield _GROUP.problem("mem", found, advice)
    if (r.cpus or 1) <= cpus and asked <= mem:
        said = f"{slurm_mem(asked)} of {slurm_mem(mem)}" if asked else "memory as Slurm gives it"
        said = "all memory of a node" if r.mem == 0 else said
        yield _GROUP.ok("nodes", f"CPUs: {r.cpus or 1} of {cpus}; {said}")


def _number(text: str) -> int:
    match = re.match(r"\d+", text)
    return int(match[0]) if match else 0


def gpus_of(gres: str) -> dict[str, int]:
    """The number of GPUs by type, of `gpu:gtx1080ti:2(S:0)`, or of `gpu:2`, whose type is empty."""
    found: dict[str, int] = {}
    for part in re.sub(r"\([^)]*\)", "", gres).split(","):
        words = part.split(":")
        if words[0] == "gpu":
            count = int(words[-1]) if words[-1].isdecimal() else 1
            kind = words[1] if len(words) > 1 and not words[1].isdecimal() else ""
            found[kind] = found.get(kind, 0) + count
    return found


def asked_gpus(r: Resources) -> dict[str, int]:
    """The number of a task's GPUs by type; an empty type stands for any."""
    if r.gres:
        return gpus_of(r.gres)
    return gpus_of(",".join(f"gpu:{part}" for part in str(r.gpus).split(","))) if r.gpus else {}


def _gpus(r: Resources, rows: Sequence[NodeKind]) -> Iterator[Check]:
    asked, there = asked_gpus(r), [gpus_of(row.gres) for row in rows]
    most: dict[str, int] = {}
    for kinds in there:
        most |= {kind: max(count, most.get(kind, 0)) for kind, count in kinds.items()}
    offered = ", ".join(f"{kind or 'any'}:{count}" for kind, count in most.items())
    if not asked:
        hint = f"the partition's nodes have {offered}; runs train on the CPU" if most else "none"
        yield _GROUP.ok("gpus", f"none asked ({hint})" if most else "none asked, none there")
        return
    said = ", ".join(f"{kind or 'any'}:{count}" for kind, count in asked.items())
    fits = any(
        all(
            count <= (kinds.get(kind, 0) if kind else sum(kinds.values()))
            for kind, count in asked.items()
        )
        for kinds in there
    )
    if fits:
        yield _GROUP.ok("gpus", f"{said} asked, nodes have {offered}")
        return
    advice = "name a partition that has GPUs; see: sinfo -o '%P %G'"
    if most:
        kind, count = next(iter(most.items()))
        advice = f"write in the profile: resources: {{gpus: {f'{kind}:1' if kind else count}}}"
    yield _GROUP.problem("gpus", f"{said} asked, nodes have {offered or 'none'}", advice)


def _account(r: Resources, offer: Offer) -> Iterator[Check]:
    rows = offer.associations
    if not rows:
        found = "which ones you may use cannot be known: no accounting here"
        yield _GROUP.note("account", found if rows is None else "you have none in the accounting")
        return
    accounts = sorted({row.account for row in rows})
    line = f"write in the profile: resources: {{account: {accounts[0]}}}"
    if r.account is not None and r.account not in accounts:
        found = (
            f"{r.account!r} is none of yours{did_you_mean(r.account, accounts)}: {listed(accounts)}"
        )
        yield _GROUP.problem("account", found, line)
    elif r.account is None and len(accounts) > 1:
        yield _GROUP.note("account", f"none named: your default of {listed(accounts)}", line)
    else:
        yield _GROUP.ok("account", r.account or accounts[0])
    mine = [row for row in rows if r.account in {None, row.account}]
    allowed = sorted({name for row in mine for name in row.qos.split(",") if name})
    if r.qos is not None and allowed and r.qos not in allowed:
        found = f"{r.qos!r} is not for you{did_you_mean(r.qos, allowed)}: {listed(allowed)}"
        advice = f"write in the profile: resources: {{qos: {allowed[0]}}}"
        yield _GROUP.problem("qos", found, advice)
    elif r.qos is not None:
        yield _GROUP.ok("qos", r.qos)


def _limits(profile: Profile, offer: Offer) -> Iterator[Check]:
    """The check that the profile's limits are not above those of the cluster."""
    allowed = _number(offer.config.get("MaxArraySize", ""))
    said = profile.limits.max_array
    if said is not None and allowed and said > allowed:
        found = f"max_array {said}, the cluster has MaxArraySize {allowed}"
        yield _GROUP.problem(
            "limits", found, f"write in the profile: limits: {{max_array: {allowed}}}"
        )
    r = profile.resources
    limit, mine = site.submit_limit(r.account, r.qos, offer.cluster), profile.limits.max_submit
    if limit is not None and mine is not None and mine > limit:
        found = f"max_submit {mine}, you may have {limit} jobs in the queue"
        yield _GROUP.problem(
            "limits", found, f"write in the profile: limits: {{max_submit: {limit}}}"
        )


def _verdict(profile: Profile) -> Check:
    """The check whether Slurm would take a job of this profile: `sbatch --test-only`."""
    text = script(sbatch_parameters(profile, profile.resources), [":"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "probprec-doctor.sh")
        path.write_text(text)
        try:
            _, said = client.sbatch(path, test_only=True)
        except SlurmError as error:
            advice = "the lines above may say which; else ask what this cluster wants of a job"
            return _GROUP.problem("sbatch", f"Slurm would refuse it: {error.message}", advice)
    last = said.splitlines()[-1] if said else "it says nothing"
    return _GROUP.ok("sbatch", f"Slurm would take it: {last.removeprefix('sbatch: ')}")


def script(parameters: Mapping[str, Option], lines: list[str]) -> str:
    """A batch script; True is a flag without value."""
    options = [
        f"#SBATCH --{name}"
        if value is True
        else f"#SBATCH --{name}={shlex.quote(str(syntax.in_directive(value)))}"
        for name, value in parameters.items()
        if value is not False
    ]
    return "\n".join(["#!/bin/bash", *options, "", *lines]) + "\n"
