"""This process looks around on a compute node, and in the Python or image that runs train in there.

    python -m cluster.doctor.node FOLDER

FOLDER/request.json says what to look at; FOLDER/found.json is written twice: after the look at the
machine, and again after the look into its image.
"""

import json
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cluster.doctor import disks
from cluster.slurm import client
from containers import command, runtime
from containers.command import Container
from containers.runtime import ContainerError
from containers.variables import gpu_variables, python_variables
from jobs import files, hashes
from jobs.datasets.find import find
from jobs.profile import Profile
from jobs.staging.scratch import expanded
from jobs.training import preflight

REQUEST, FOUND, MARKER = "request.json", "found.json", "marker"

CANDIDATES = (
    "/scratch/$SLURM_JOB_ID",
    "/scratch/$USER",
    "/local_scratch/$USER",
    "/local/$USER",
    "/localscratch/$USER",
    "/tmp/$USER",  # noqa: S108 - it is only asked whether it is there
)
"""Folders where nodes usually have a disk of their own, the best first; `$TMPDIR` is tried, too."""

_IMAGE_TIMEOUT_S = 200.0  # torch from a slow disk takes its time; the job has 300 s
_KILLED = (-9, 137)  # exit codes of SIGKILL, from Python and from a shell
_SHM = Path("/dev/shm")  # noqa: S108 - its size is looked at
_CGROUPS = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup", "/sys/fs/cgroup/unified")
_NO_LIMIT_BYTES = 1 << 60  # cgroup version 1 says "none" by an enormous number


def main(arguments: Sequence[str]) -> int:
    """Look at machine and image, and write the findings."""
    folder = Path(arguments[0])
    request = json.loads((folder / REQUEST).read_bytes())
    profile = Profile.from_json(request["profile"])
    found = _machine(folder, request, profile)
    _write(folder, found)
    found["inside"] = _or_error(lambda: _inside(folder, request, profile, found))
    found["done"] = True
    _write(folder, found)
    return 0


def _write(folder: Path, found: Mapping[str, Any]) -> None:
    files.write_atomically(folder / FOUND, files.to_json(found))


def _machine(folder: Path, request: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """The findings about the machine, outside of any image."""
    image = profile.image
    return {
        "schema": 1,
        "done": False,
        "host": socket.gethostname(),
        "node": os.environ.get("SLURMD_NODENAME", ""),
        "python": platform.python_version(),
        "clock_skew": _or_error(lambda: disks.clock_skew(folder)),
        "folder": _or_error(lambda: _folder(folder)),
        "cpus": len(os.sched_getaffinity(0)),
        "threads_per_core": threads_per_core(min(os.sched_getaffinity(0))),
        "memory_limit": memory_limit(),
        "shared_memory": _or_error(lambda: _total(_SHM)),
        "gpu": client.gpus_of(os.environ),
        "driver": preflight.driver(),
        "scratch": scratch(profile.scratch) if profile.scratch else None,
        "candidates": _candidates() if request["candidates"] else [],
        "runtime": _or_error(_runtime),
        "image": _or_error(lambda: {"sha256": hashes.known_sha256(image)}) if image else None,
        "data": {
            name: _or_error(partial(_read, name, path, profile.data))
            for name, path in request["data"].items()
        },
        "inside": None,
    }


def _or_error(look: Callable[[], Any]) -> Any:
    """The finding of a look, or `{"error": why not}`."""
    try:
        return look()
    except (OSError, ContainerError, ValueError, subprocess.SubprocessError) as error:
        return {"error": str(error) or type(error).__name__}


def _folder(folder: Path) -> dict[str, Any]:
    """Write into the sweeps' folder; returns marks that tell whether the login node sees the same one."""
    (folder / "written").write_text("by the node")
    marker = folder / MARKER
    return {"marker": marker.read_text(), "inode": marker.stat().st_ino}


def threads_per_core(cpu: int, folder: Path = Path("/sys/devices/system/cpu")) -> int:
    """The number of hardware threads of a CPU's core; 1 if the kernel does not tell."""
    try:
        text = (folder / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text()
        ends = [part.split("-") for part in text.strip().split(",")]  # as in 0,64 or 0-1
        return sum(int(end[-1]) - int(end[0]) + 1 for end in ends)
    except (OSError, ValueError):
        return 1


def memory_limit(proc: Path = Path("/proc/self/cgroup")) -> int | None:
    """The cgroup's memory limit in bytes, for this process and those beside it."""
    found = []
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number != "0" and "memory" not in controllers.split(","):
            continue
        parts = [part for part in path.split("/") if part]
        for root in _CGROUPS:
            for length in range(len(parts), -1, -1):
                found += _limits_in(Path(root, *parts[:length]))
    return min(found, default=None)


def _limits_in(group: Path) -> list[int]:
    found = []
    for name in ("memory.max", "memory.limit_in_bytes"):  # version 2, version 1
        try:
            text = (group / name).read_text().strip()
        except OSError:
            continue
        if text.isdecimal() and int(text) < _NO_LIMIT_BYTES:
            found.append(int(text))
    return found


def _total(path: Path) -> int:
    about = os.statvfs(path)
    return about.f_blocks * about.f_frsize


def scratch(template: str) -> dict[str, Any]:
    """Whether a task could use a scratch folder, named as in a profile."""
    path = expanded(template)
    found: dict[str, Any] = {"template": template, "path": str(path or template)}
    if path is None:
        names = re.findall(r"\$\{?\w+\}?", os.path.expandvars(template))
        why = f"{', '.join(names)} is not set on the node" if names else "is no absolute path"
        return {**found, "error": why}
    try:
        made = _made(path)
        try:
            with tempfile.TemporaryFile(dir=path) as file:
                file.write(b".")
                file.flush()
            mount = disks.mount_of(path)
            found |= {"free": disks.free(path), "kind": mount.kind, "shared": mount.is_shared}
        finally:
            for folder in made:
                folder.rmdir()
    except OSError as error:
        found["error"] = f"{error.strerror or error}"
    return found


def _made(path: Path) -> list[Path]:
    """Make a folder; returns all folders that had to be made, the innermost first."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    return missing


def _candidates() -> list[dict[str, Any]]:
    """The findings about usual scratch folders; no new folder is made in /."""
    names = [*CANDIDATES, *(["$TMPDIR"] if "TMPDIR" in os.environ else [])]
    return [scratch(name) for name in names if name == "$TMPDIR" or _is_usual(name)]


def _is_usual(name: str) -> bool:
    """Whether a place exists, or a user's folder could be made in it.

    A job's own folder has to exist: where the site makes none, nobody would remove it, and the next
    job would not see what was staged there.
    """
    if "$SLURM_JOB_ID" in name:
        return Path(os.path.expandvars(name)).is_dir()
    return Path(name).parent.is_dir()


def _runtime() -> dict[str, str]:
    found = runtime.find()
    return {"said": str(found), "path": found.path}


def _read(name: str, path: str | None, folder: Path | None) -> str:
    """The folder of a data set, after reading one file of it; it is searched if the login node has none."""
    path = path or str(find(name, profile_data=folder))
    file = next((one for one in sorted(Path(path).rglob("*")) if one.is_file()), None)
    if file is None:
        raise FileNotFoundError(f"{path}: no file there; is it mounted on this node?")
    with file.open("rb") as content:
        content.read(1)
    return path


def _inside(
    folder: Path, request: Mapping[str, Any], profile: Profile, found: Mapping[str, Any]
) -> dict[str, Any]:
    """The findings of a process in the training's Python or image."""
    place = found["scratch"]
    if place is None or "error" in place:
        return _answer(folder, _command(folder, request, profile, found, None), profile)
    made = _made(Path(place["path"]))
    try:
        started = _command(folder, request, profile, found, Path(place["path"]))
        return _answer(folder, started, profile)
    finally:
        for one in made:
            one.rmdir()


def _answer(folder: Path, started: command.Command, profile: Profile) -> dict[str, Any]:
    begun = time.monotonic()
    done = subprocess.run(
        started.arguments,
        env=dict(started.environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_IMAGE_TIMEOUT_S,
        check=False,
    )
    answers = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not answers:
        said = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()
        killed = " (killed: more memory than the job has?)" if done.returncode in _KILLED else ""
        raise ValueError(f"exit code {done.returncode}{killed}: {said[-1]}")
    answer: dict[str, Any] = json.loads(answers[-1])
    variables = answer.pop("variables")
    named = {*profile.environment, *python_variables([])}
    answer["leaked"] = [
        name
        for name, value in variables.items()
        if os.environ.get(name) == value and name not in named
    ]
    answer["seconds"] = round(time.monotonic() - begun, 1)
    return answer


def _command(
    folder: Path,
    request: Mapping[str, Any],
    profile: Profile,
    found: Mapping[str, Any],
    writable: Path | None,
) -> command.Command:
    modules = [Path(request["code"])]
    python = profile.python or (command.PYTHON if profile.image else sys.executable)
    words = [python, "-m", "jobs.training.probe", *([str(writable)] if writable else [])]
    own = dict(profile.environment) | python_variables(modules)
    own |= gpu_variables(found["gpu"])
    if profile.image is None:
        return command.plain(words, own)
    readable = [*modules, *(Path(path) for path in found["data"].values() if isinstance(path, str))]
    return command.inside(
        Container(
            runtime=runtime.find(),
            image=profile.image,
            writable=(folder, *([writable] if writable is not None else [])),
        ),
        words,
        cwd=folder,
        variables=own,
        readable=readable,
        gpu=found["gpu"],
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
