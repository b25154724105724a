"""The group Node: checks of a node's answer, by what it means for runs there."""

from collections.abc import Iterator, Mapping
from typing import Any

from cluster.doctor.finding import Check, Group
from cluster.doctor.images import runtime_advice
from cluster.doctor.request import asked_gpus
from jobs.profile import Profile
from jobs.units import capacity

_SHM_BYTES_MIN = 64 << 20  # for loaders of data with workers, see jobs.training.preflight
_SCRATCH_BYTES_MIN = 1 << 30
_SKEW_NOTED_S, _SKEW_MAX_S = 2.0, 60.0  # between the clocks of node and login node

_GROUP = Group("Node")


def judge(
    profile: Profile, node: Mapping[str, Any], *, sha256: str | None, skew: float | None
) -> list[Check]:
    """The checks of a node.

    Args:
        profile: the profile that the node has to satisfy.
        node: the answer that cluster.doctor.job.look returned.
        sha256: of the image, as the login node reads it.
        skew: of the login node's clock, see disks.clock_skew.
    """
    looks = (
        _host(node),
        _clock(node, skew),
        _folder(node),
        _limits(node) if profile.engine == "slurm" else (),
        (_shared_memory("/dev/shm", node["shared_memory"]),),  # noqa: S108 - a name to show
        _scratch(node, profile),
        _runtime(node, profile),
        _image(node, sha256),
        _data(node, profile),
        _inside(node, profile),
    )
    return [check for one in looks for check in one]


def _error(found: Any) -> str | None:
    return found.get("error") if isinstance(found, Mapping) else None


def _host(node: Mapping[str, Any]) -> Iterator[Check]:
    name = node["node"] or node["host"]
    host = f" ({node['host']})" if node["host"] != name else ""
    yield _GROUP.ok("host", f"{name}{host}, Python {node['python']} reads this code")


def _clock(node: Mapping[str, Any], skew: float | None) -> Iterator[Check]:
    theirs = node["clock_skew"]
    if _error(theirs) or skew is None:
        return  # the folder's check reports the error
    apart = theirs - skew
    found = f"{abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} the login node's"
    if abs(apart) >= _SKEW_MAX_S:
        yield _GROUP.problem("clock", found, "tell the administrators: ntp does not run there")
    elif abs(apart) >= _SKEW_NOTED_S:
        yield _GROUP.note("clock", found, "times in journals may look odd; results do not suffer")
    else:
        yield _GROUP.ok("clock", "agrees with the login node's")


def _folder(node: Mapping[str, Any]) -> Iterator[Check]:
    found, here = node["folder"], node["here"]
    advice = "put sweeps on a shared disk: export PROBPREC_ROOT=/shared/you/sweeps"
    if _error(found):
        yield _GROUP.problem("sweeps", f"cannot be written to: {_error(found)}", advice)
    elif (found["marker"], found["inode"]) != (here["marker"], here["inode"]):
        yield _GROUP.problem("sweeps", "the node sees another folder than the login node", advice)
    else:
        yield _GROUP.ok("sweeps", "the folder of the login node, and can be written to")


def _limits(node: Mapping[str, Any]) -> Iterator[Check]:
    asked, cpus = node["here"]["asked"].get("cpus", 1), node["cpus"]
    threads = node["threads_per_core"]
    whole = -(-asked // threads) * threads  # Slurm gives a core to one job, with all its threads
    if cpus > whole:
        found = f"{asked} asked for, and {cpus} may be used: by others, too"
        yield _GROUP.note("cpus", found, "times measured here vary; `threads:` limits the runs")
    elif cpus > asked:
        yield _GROUP.ok("cpus", f"{cpus}: {asked} asked for, cores of {threads} threads given")
    else:
        yield _GROUP.ok("cpus", f"{cpus}, as asked for")
    mem, limit = node["here"]["asked"].get("mem"), node["memory_limit"]
    if limit is None or (mem is not None and limit > 2 * (mem << 20)):
        yield _GROUP.note("memory", "no limit is enforced by the kernel: a large task harms others")
    else:
        yield _GROUP.ok("memory", f"limited to {capacity(limit)} ({mem} MiB asked)")


def _shared_memory(name: str, found: Any) -> Check:
    if found is None or _error(found):
        return _GROUP.note(name, "there is none: loaders of data with workers will not work")
    if found < _SHM_BYTES_MIN:
        return _GROUP.note(name, f"only {capacity(found)}: loaders of data with workers may die")
    return _GROUP.ok(name, capacity(found))


def _scratch(node: Mapping[str, Any], profile: Profile) -> Iterator[Check]:
    found = node["scratch"]
    if found is None and profile.engine == "local":
        return
    if found is None:
        usable = [place["template"] for place in node["candidates"] if is_usable(place)]
        hint = f"a node has {', '.join(usable)}" if usable else "if nodes have a disk of their own"
        advice = f"{hint}: write in the profile: scratch: {usable[0] if usable else '/PATH/$USER'}"
        yield _GROUP.note("scratch", "the profile names none: data is read where it lies", advice)
        return
    if "error" in found:
        # Without scratch a run fails, or reads the data where it lies, as the profile says.
        text = f"{found['path']}: {found['error']}"
        advice = "mend the line `scratch:` of the profile; ask where a job may write on its node"
        is_needed = profile.unstaged == "fail"
        yield (_GROUP.problem if is_needed else _GROUP.note)("scratch", text, advice)
        return
    kind = f"{found['kind']}, {'shared: staging saves nothing' if found['shared'] else 'local'}"
    text = f"{found['path']}: {capacity(found['free'])} free ({kind})"
    if found["free"] < _SCRATCH_BYTES_MIN or found["shared"]:
        yield _GROUP.note("scratch", text)
    else:
        yield _GROUP.ok("scratch", text)


def is_usable(place: Mapping[str, Any]) -> bool:
    """Whether a scratch folder exists, is local, and has room."""
    return "error" not in place and not place["shared"] and place["free"] >= _SCRATCH_BYTES_MIN


def _runtime(node: Mapping[str, Any], profile: Profile) -> Iterator[Check]:
    found = node["runtime"]
    if not _error(found):
        yield _GROUP.ok("runtime", f"{found['said']} ({found['path']})")
    elif profile.image is not None:
        yield _GROUP.problem("runtime", str(_error(found)), runtime_advice(profile))
    else:
        yield _GROUP.note("runtime", "none; only images need one")


def _image(node: Mapping[str, Any], sha256: str | None) -> Iterator[Check]:
    found = node["image"]
    if found is None:
        return
    if _error(found):
        advice = "put the image on a disk that the nodes see, too; mend the line `image:`"
        yield _GROUP.problem("image", f"cannot be read: {_error(found)}", advice)
    elif sha256 is not None and found["sha256"] != sha256:
        text = f"sha256 {found['sha256'][:12]}, on the login node {sha256[:12]}"
        yield _GROUP.problem("image", text, "two files of one path: use a shared disk")
    else:
        yield _GROUP.ok("image", f"sha256 {found['sha256'][:12]}, as on the login node")


def _data(node: Mapping[str, Any], profile: Profile) -> Iterator[Check]:
    bad = {name: _error(found) for name, found in node["data"].items() if _error(found)}
    good = [name for name in node["data"] if name not in bad]
    for name, error in bad.items():
        advice = "put the data on a disk that the nodes see, and name it: `data:` of the profile"
        if name in node["here"]["data"] and profile.data is not None:
            yield _GROUP.problem("data", f"{name} cannot be read: {error}", advice)
        elif name in node["here"]["data"] or profile.data_on_nodes:
            yield _GROUP.note("data", f"{name} cannot be read: {error}", advice)
    if good:
        yield _GROUP.ok("data", f"{', '.join(good)} can be read")


def _inside(node: Mapping[str, Any], profile: Profile) -> Iterator[Check]:
    found = node["inside"]
    where = "the image" if profile.image else "the training's Python"
    if found is None:
        text = f"the job ended before {where} had answered"
        yield _GROUP.problem("training", text, "try again; a slow disk? stage_image: true")
        return
    if _error(found):
        advice = "build it: probprec build RECIPE" if profile.image else "mend `python:`, `setup:`"
        yield _GROUP.problem("training", f"{where} cannot be used: {_error(found)}", advice)
        return
    yield _GROUP.ok(
        "training", f"Python {found['python']} in {where}, {found['seconds']} s to start"
    )
    yield from _packages(found, where)
    yield from _gpu(found, profile)
    yield from _around(found, node, profile)


def _packages(found: Mapping[str, Any], where: str) -> Iterator[Check]:
    bad = {name: one["error"] for name, one in found["packages"].items() if one["error"]}
    good = [
        f"{name} {one['version']}" for name, one in found["packages"].items() if not one["error"]
    ]
    if bad:
        text = "; ".join(f"{name}: {error}" for name, error in bad.items())
        advice = "add them to the recipe, and: probprec build RECIPE"
        if where != "the image":
            advice = "install them there: pip install 'probprec[train]'; or use an image"
        yield _GROUP.problem("packages", text, advice)
    else:
        yield _GROUP.ok("packages", ", ".join(good))


def _gpu(found: Mapping[str, Any], profile: Profile) -> Iterator[Check]:
    gpu, asked = found["gpu"], asked_gpus(profile.resources)
    built = f"torch is built for CUDA {gpu['built_for']}" if gpu["built_for"] else "torch: CPU only"
    if gpu["error"] and gpu["allocated"]:
        advice = "try another node; if it is the same there: an image whose CUDA suits the driver"
        if not gpu["built_for"]:
            advice = "this torch cannot use any GPU; an image that can: configs/images/cuda.yaml"
        yield _GROUP.problem("gpu", str(gpu["error"]), advice)
    elif asked and not gpu["allocated"]:
        text = "GPUs were asked for, and CUDA_VISIBLE_DEVICES names none"
        yield _GROUP.problem("gpu", text, "mend `resources: {gpus: ...}`; see: scontrol show node")
    elif gpu["allocated"]:
        text = f"{', '.join(gpu['visible'])}: a kernel ran; driver {found['driver']}, {built}"
        yield _GROUP.ok("gpu", text)
    else:
        yield _GROUP.ok("gpu", f"none asked; driver {found['driver']}; {built}")


def _around(found: Mapping[str, Any], node: Mapping[str, Any], profile: Profile) -> Iterator[Check]:
    """The checks of what a training sees of the node in its image."""
    if profile.image is not None:
        yield _shared_memory("shm inside", found["shared_memory"])
        place = node["scratch"]
        if place is not None and "error" not in place:
            if found["scratch"]:
                advice = "the runtime does not pass it in: ask for `user bind control`"
                yield _GROUP.problem("scratch inside", found["scratch"], advice)
            else:
                yield _GROUP.ok("scratch inside", "can be written to")
    if ".zip" in found["code"]:
        yield _GROUP.ok("code", "imported from a snapshot, as by runs")
    else:
        text = f"imported from {found['code']}, not from the snapshot"
        yield _GROUP.problem("code", text, "take the toolkit out of the image or that Python")
    if found["leaked"] and profile.image is not None:
        text = f"came through from the node's shell: {', '.join(found['leaked'])}"
        yield _GROUP.note("variables", text, "results may depend on them: unset them")
    elif profile.image is not None:
        yield _GROUP.ok("variables", "none of the node's shell that would change results")
