"""`--write`: a profile with what was found, for a person to look through."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.doctor import disks
from cluster.doctor.controller import Offer
from cluster.doctor.images import has_modules
from cluster.doctor.judge import is_usable
from cluster.doctor.request import gpus_of
from cluster.profile import yaml_text
from cluster.slurm.partitions import longest, seconds_of
from cluster.slurm.site import NodeKind
from cluster.submit.profile_image import IMAGES
from cluster.terminal.plain import command
from containers import runtime
from containers.images import Images
from containers.runtime import ContainerError
from jobs import files
from jobs.datasets.catalog import DATASETS
from jobs.datasets.find import VARIABLE, find
from jobs.errors import DataError, InputError
from jobs.profile import Profile
from jobs.resources import Resources, slurm_time

_MOST_CPUS = 4  # more hardly speed up a training whose net is small
_A_DAY = 86_400
_A_YEAR = 366 * _A_DAY  # a limit beyond is none
_NO_MEMORY = "# mem: 4G   # without it, what the cluster gives"
_OF_ITS_OWN = frozenset(
    ["name", "source", "engine", "resources", "scratch", "data", "image", "setup"]
)
"""Fields of a profile that are no file's keys, or that more is to be said about."""


def refuse_unwritable(file: Path) -> None:
    """Look before anything else is done.

    Raises:
        InputError: something is there already, it would not be found as a profile, or nobody may
            write there.
    """
    if file.suffix != ".yaml":
        raise InputError(
            f"{file}: a profile's file ends in .yaml; write {file.with_suffix('.yaml')}"
        )
    if os.path.lexists(file):
        raise InputError(f"{file} is there already, and is left as it is; name another file")
    why = _why_unwritable(file.parent)
    if why is not None:
        raise InputError(f"{file} cannot be written: {why}; name another folder")


def _why_unwritable(folder: Path) -> str | None:
    try:
        there = disks.nearest(folder)
        if not there.is_dir():
            return f"{there} is no folder"
        return None if os.access(there, os.W_OK | os.X_OK) else f"{there} is not yours to write to"
    except OSError as error:
        return str(error.strerror)


def write(file: Path, profile: Profile, offer: Offer, node: Mapping[str, Any] | None) -> None:
    """Write the proposal.

    Args:
        file: where; its folder is made.
        profile: what `--on` names, or an empty one.
        offer: what the cluster offers.
        node: what a node said; None: none was asked.

    Raises:
        InputError: somebody else has just written a file there, or nobody can.
    """
    text = proposal(file, profile, offer, node)
    try:
        if not file.parent.is_dir():
            file.parent.mkdir(parents=True)
        files.publish(file, text.encode())
    except OSError as error:
        why = error.strerror
        if isinstance(error, FileExistsError) and os.path.lexists(file):
            why = "it is there already, and is left as it is"
        raise InputError(f"{file} cannot be written: {why}") from error


def proposal(file: Path, profile: Profile, offer: Offer, node: Mapping[str, Any] | None) -> str:
    """The text of a profile: all that `profile` says, and what was found where it says nothing."""
    where = "This machine"
    if profile.engine == "slurm":
        name, version = offer.config.get("ClusterName", "?"), offer.config.get("SLURM_VERSION", "?")
        where = f"Cluster {name}, Slurm {version}"
    lines = [
        f"# {where}: what `probprec doctor` found on {time.strftime('%Y-%m-%d')}.",
        f"# Look through it, then: {command('doctor', '--on', file, '--node')}",
        f"engine: {profile.engine}",
        *_resources(profile, offer),
        *_scratch(profile, node),
        *_data(profile),
        *_image(profile),
        *_setup(profile, node),
        *yaml_text.other_lines(profile, _OF_ITS_OWN),
    ]
    return "\n".join(lines) + "\n"


def _resources(profile: Profile, offer: Offer) -> list[str]:
    asked = profile.resources
    lines: list[str] = []
    if profile.engine == "slurm":
        rows = offer.rows(asked.partition or offer.default)
        gpus = [] if asked.gpus is not None or asked.gres is not None else [_gpus(profile, rows)]
        lines = [
            _partition(asked, offer),
            _time(asked, rows),
            _cpus(asked, rows),
            *([] if {"mem", "mem_per_cpu"} & asked.said().keys() else [_NO_MEMORY]),
            *gpus,
            *_account(asked, offer),
        ]
    begun = {line.partition(":")[0] for line in lines}
    lines += [
        yaml_text.line(name, value) for name, value in asked.said().items() if name not in begun
    ]
    return ["resources:", *(f"  {line}" for line in lines)] if lines else []


def _partition(asked: Resources, offer: Offer) -> str:
    partition = asked.partition or offer.default
    if partition is None:
        return "# partition: NAME"
    chosen = partition.split(",")
    every = dict.fromkeys(row.partition for row in offer.partitions)
    others = ", ".join(name for name in every if name not in chosen)
    return yaml_text.line("partition", partition) + (
        f"   # there are also: {others}" if others else ""
    )


def _time(asked: Resources, rows: Sequence[NodeKind]) -> str:
    """What is asked; else the partition's default, else its limit: the least where there are several."""
    found = [seconds_of(time) for row in rows for time in (row.default_time, row.max_time)]
    usual = min((time for time in found if time and time <= _A_YEAR), default=_A_DAY)
    line = f"{yaml_text.line('time', asked.time or usual)}   # of one task"
    if not rows:
        return line
    limit = longest(rows)
    most = f"at most {slurm_time(limit)}" if limit is not None else "no limit"
    return f"{line}; the partition allows {most}"


def _cpus(asked: Resources, rows: Sequence[NodeKind]) -> str:
    if not rows:
        return yaml_text.line("cpus", asked.cpus) if asked.cpus else f"# cpus: {_MOST_CPUS}"
    cpus, gpus, _ = _of_a_node(rows)
    share = max(1, min(_MOST_CPUS, cpus // max(1, gpus)))
    return f"{yaml_text.line('cpus', asked.cpus or share)}   # a node has {cpus}"


def _gpus(profile: Profile, rows: Sequence[NodeKind]) -> str:
    """A GPU where nodes have some, unless a profile does without."""
    _, count, kinds = _of_a_node(rows)
    if not count:
        return "# gpus: 1   # this partition has none"
    hint = f"a node has {kinds}; with a type: gpus: TYPE:1"
    return f"{'# ' if profile.name else ''}gpus: 1   # {hint}"


def _of_a_node(rows: Sequence[NodeKind]) -> tuple[int, int, str]:
    """CPUs and GPUs of a partition's best node, and its GPUs in words."""
    best: tuple[int, int, str] = (1, 0, "")
    for row in rows:
        kinds = gpus_of(row.gres)
        words = ", ".join(f"{kind or 'gpu'}:{count}" for kind, count in kinds.items())
        cpus = int(row.cpus) if row.cpus.isdecimal() else 1
        best = max(best, (cpus, sum(kinds.values()), words), key=lambda one: (one[1], one[0]))
    return best


def _account(asked: Resources, offer: Offer) -> list[str]:
    accounts = sorted({row.account for row in offer.associations or []})
    if asked.account or not accounts:
        return []
    if len(accounts) == 1:
        return [yaml_text.line("account", accounts[0])]
    return [f"# account: NAME   # one of {', '.join(accounts)}"]


def _scratch(profile: Profile, node: Mapping[str, Any] | None) -> list[str]:
    seen = [] if node is None else node["candidates"]
    usable = [place["template"] for place in seen if is_usable(place)]
    if profile.scratch:
        line = yaml_text.line("scratch", profile.scratch)
        if node is None or node["scratch"] is None:
            return [line]
        if is_usable(node["scratch"]):
            return [f"{line}   # a disk of the node's own; seen there"]
        others = f"; but: {', '.join(usable)}" if usable else ""
        return [f"{line}   # no disk of the node's own with room{others}"]
    if profile.engine == "local":
        return []
    if usable:
        return [f"{yaml_text.line('scratch', usable[0])}   # a disk of the node's own; seen there"]
    why = "not looked for: doctor --node" if node is None else "none of the usual ones is there"
    return [f"# scratch: /scratch/$USER   # a disk of the node's own; {why}"]


def _data(profile: Profile) -> list[str]:
    """What the profile names or $PROBPREC_DATA; what lies where systems put it is found anyway."""
    if profile.data is not None:
        return [yaml_text.line("data", str(profile.data))]
    named = Path(os.environ.get(VARIABLE) or "")
    if named.is_absolute() and named.is_dir():
        return [yaml_text.line("data", str(named))]
    found = []
    for name, dataset in DATASETS.items():
        if dataset.package is None:
            try:
                found.append(f"{name} in {find(name)}")
            except (DataError, OSError):
                continue
    hint = f"found without it: {', '.join(found)}" if found else "where mnist, fmnist, cifar10 lie"
    return [f"# data: /PATH   # {hint}"]


def _image(profile: Profile) -> list[str]:
    """What the profile names; else the newest that was built, unless a profile does without."""
    if profile.image is not None:
        return [yaml_text.line("image", str(profile.image))]
    folder = Path(os.environ.get(IMAGES) or "images")
    try:
        newest = max(Images(folder).all(), key=lambda image: image.built, default=None)
    except OSError:  # not ours to look into
        newest = None
    if newest is None:
        return ["# image: /PATH/NAME.sif   # made by: probprec build RECIPE"]
    line = yaml_text.line("image", str(newest.path))
    return [f"{'# ' if profile.name else ''}{line}   # the newest there; see: probprec image list"]


def _setup(profile: Profile, node: Mapping[str, Any] | None) -> list[str]:
    if profile.setup:
        return [yaml_text.line("setup", profile.setup)]
    is_missing = node is not None and "error" in (node["runtime"] or {})
    try:
        runtime.find()
    except ContainerError:
        is_missing = node is None or is_missing
    hint = "the runtime is not on the PATH; the module's name: module avail"
    if is_missing and has_modules():
        return [f"setup: [module load apptainer]   # {hint}"]
    return []
