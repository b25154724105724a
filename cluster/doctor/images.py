"""The container runtime, the profile's image and the data sets, as the login node sees them."""

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from cluster.doctor import disks
from cluster.doctor.finding import Check, Group
from containers import command, runtime
from containers.command import Container
from containers.runtime import ContainerError, Runtime
from jobs import hashes
from jobs.datasets.catalog import DATASETS
from jobs.datasets.find import find
from jobs.errors import DataError
from jobs.profile import Profile
from jobs.units import capacity

_PROC = Path("/proc/sys")


def look_at_runtime(profile: Profile) -> Iterator[Check]:
    """The group Container."""
    group = Group("Container")
    try:
        found = runtime.find()
    except ContainerError as error:
        advice = runtime_advice(profile)
        if profile.image is None:
            yield group.note("runtime", f"{error}; only images need one", advice)
        elif profile.setup:
            found_here = "none on this login node; the nodes have the profile's setup lines"
            yield group.note("runtime", found_here, "see whether that is enough: --node")
        else:
            yield group.problem("runtime", "neither apptainer nor singularity is here", advice)
        return
    yield group.ok("runtime", f"{found} ({found.path})")
    yield from group.look("privileges", lambda: [_privileges(group, found)])
    if profile.image is not None and profile.image.is_file():
        image = profile.image
        yield from group.look("exec", lambda: [_exec(group, found, image)])


def runtime_advice(profile: Profile) -> str:
    """Advice if no runtime is on the PATH."""
    if has_modules():
        return "write in the profile: setup: [module load apptainer]; the name: module avail"
    where = "the nodes" if profile.engine == "slurm" else "this machine"
    return f"ask the administrators for Apptainer on {where}"


def has_modules() -> bool:
    """Whether this shell has a `module` command (a function: only its variables are seen)."""
    return any(name in os.environ for name in ("LMOD_CMD", "MODULESHOME", "MODULEPATH"))


def _privileges(group: Group, found: Runtime) -> Check:
    """The check whether images can be mounted, by a setuid program or in a user namespace."""
    prefix = Path(found.path).resolve().parent.parent
    starters = prefix.glob(f"libexec/{found.name}/bin/starter-suid")
    if any(path.stat().st_mode & stat.S_ISUID for path in starters):
        return group.ok("privileges", "by its setuid starter")
    if os.geteuid() == 0:
        return group.ok("privileges", "root")
    limit = _setting("user/max_user_namespaces")
    allowed = _setting("kernel/unprivileged_userns_clone")
    if limit == "0" or allowed == "0":
        found_out = f"no setuid starter, and user namespaces are off (max {limit}, clone {allowed})"
        advice = "ask the administrators: sysctl user.max_user_namespaces=15000, or apptainer-suid"
        return group.problem("privileges", found_out, advice)
    return group.ok("privileges", f"by user namespaces (at most {limit or 'unknown'})")


def _setting(name: str) -> str | None:
    try:
        return (_PROC / name).read_text().strip()
    except OSError:
        return None


def _exec(group: Group, found: Runtime, image: Path) -> Check:
    """The check that starts a command in the image."""
    started = command.inside(
        Container(runtime=found, image=image), ["true"], cwd=Path("/"), variables={}
    )
    done = subprocess.run(
        started.arguments,
        env=dict(started.environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode == 0:
        return group.ok("exec", "a command runs in the image here")
    said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    advice = "some sites forbid it on login nodes: --node looks whether it works on a node"
    return group.problem("exec", f"no command runs in the image: {said}", advice)


def look_at_image(profile: Profile) -> Iterator[Check]:
    """The group Image."""
    group = Group("Image")
    image = profile.image
    if image is None:
        python = profile.python or "the Python that submits"
        advice = "build one: probprec build RECIPE; then write in the profile: image: PATH"
        yield group.note("image", f"none: runs are trained in {python}", advice)
        return
    try:
        with image.open("rb") as file:
            file.read(1)
        bytes_of_it = image.stat().st_size
    except OSError as error:
        advice = "build it: probprec build RECIPE; or mend the line `image:` of the profile"
        yield group.problem("file", f"{image}: {error.strerror or error}", advice)
        return
    yield group.ok("file", f"{image} ({capacity(bytes_of_it)})")
    yield from group.look("sha256", lambda: [_sha256(group, image)])
    yield from group.look(
        "place", lambda: [disks.shared(group, "place", image, is_local=profile.engine == "local")]
    )


def _sha256(group: Group, image: Path) -> Check:
    """The check whether the image's hash is the one noted when it was built."""
    found = hashes.known_sha256(image)
    note = image.with_suffix(".json")
    try:
        written = json.loads(note.read_bytes())
        expected = written.get("sha256") if isinstance(written, dict) else None
    except FileNotFoundError:
        return group.note(
            "sha256", f"{found[:12]}; no {note.name} beside it says what it should be"
        )
    if expected == found:
        return group.ok("sha256", f"{found[:12]}, as {note.name} says")
    known = str(expected)[:12]
    advice = "somebody replaced or cut the file: probprec build RECIPE makes it anew"
    return group.problem("sha256", f"{found[:12]}, but {note.name} says {known}", advice)


def look_at_data(profile: Profile) -> Iterator[Check]:
    """The group Data."""
    group = Group("Data")
    if profile.data_on_nodes:
        yield group.note("folder", f"{profile.data or 'all'}: left to the nodes (data_on_nodes)")
        return
    if profile.data is not None and not profile.data.is_dir():
        advice = "mend `data:` of the profile; if only the nodes have it: data_on_nodes: true"
        yield group.problem("folder", f"{profile.data}: no such folder", advice)
    for name, dataset in DATASETS.items():
        try:
            yield group.ok(name, str(find(name, profile_data=profile.data)))
        except DataError:
            if dataset.package is not None and profile.image is not None:
                yield group.ok(name, "comes with the image")
                continue
            advice = "put the files into a folder, and write in the profile: data: FOLDER"
            yield group.note(name, "not found", f"get {dataset.source}; {advice}")
        except OSError as error:
            yield group.note(name, f"not looked at: {error}")
