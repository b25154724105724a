"""A tiny job looks at a compute node: it is sent, waited for, and cleaned up after."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from cluster.doctor.node import FOUND, MARKER, REQUEST
from cluster.doctor.request import script
from cluster.profile import syntax
from cluster.profile.sbatch_parameters import sbatch_parameters
from cluster.slurm import client, reasons, states
from cluster.slurm.process import SlurmError, UnreachableError
from cluster.submit import batch_script
from jobs import files, signals, snapshot
from jobs.datasets.catalog import DATASETS
from jobs.datasets.find import find
from jobs.errors import DataError
from jobs.profile import Profile
from jobs.resources import Resources

QUEUE_WAIT_MAX_S = 600.0
_TIME_LIMIT_S = 300  # of the job
_MEMORY_MIB = 4096  # torch with CUDA fits
_FILE_DELAY_MAX_S = 20.0  # until a file of the node is seen here (NFS)
_FILE_DELAY_AFTER_LOG_S = 3.0  # the same, once the job's log is seen
_MAX_LOG_LINES = 4
_POLL_MAX_S = 10.0  # between two questions to Slurm, once the job waits for long


class NodeError(RuntimeError):
    """The node gave no answer; `args`: why, and what to do."""


def look(
    profile: Profile, sweeps: Path, tell: Callable[[str], object], *, candidates: bool
) -> dict[str, Any]:
    """The answer of cluster.doctor.node on a node; `here` holds what the login node expects.

    Args:
        profile: the cluster's profile; engine `local`: look at this machine.
        sweeps: the folder below which the node has to be able to write.
        tell: called with a line on what is waited for.
        candidates: whether to look for a scratch folder, too.

    Raises:
        NodeError: no answer came.
        SlurmError: the job cannot be sent.
        OSError: `sweeps` cannot be written to.
    """
    is_new = not sweeps.exists()
    sweeps.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=sweeps.resolve(), prefix=".doctor-"))
    try:
        here = _prepare(folder, profile, candidates=candidates)
        if profile.engine == "local":
            tell("looking at this machine")
            _run_here(folder, profile)
            found = _answer(folder)
        else:
            found = _by_job(folder, profile, tell)
        if found is None:
            raise NodeError("it wrote no answer", "run it again; does the disk hold files?")
        return {**found, "here": here}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if is_new and not any(sweeps.iterdir()):
            sweeps.rmdir()


def _prepare(folder: Path, profile: Profile, *, candidates: bool) -> dict[str, Any]:
    """Write the request for the node; returns what the login node expects there."""
    code = snapshot.take(folder).file
    marker = folder / MARKER
    marker.write_text(folder.name)
    in_files = [name for name, dataset in DATASETS.items() if dataset.package is None]
    data = {name: _found_here(name, profile) for name in in_files}
    request = {
        "profile": profile.to_json(),
        "code": str(code),
        "data": data,
        "candidates": candidates,
    }
    files.write_atomically(folder / REQUEST, files.to_json(request))
    asked = _resources(profile)
    return {
        "marker": folder.name,
        "inode": marker.stat().st_ino,
        "asked": asked.to_json(),
        "data": [name for name, path in data.items() if path is not None],
    }


def _found_here(dataset: str, profile: Profile) -> str | None:
    """The folder of a data set on the login node; None: only the node may have it."""
    if profile.data_on_nodes:
        return None
    try:
        return str(find(dataset, profile_data=profile.data).resolve())
    except DataError:
        return None


def _resources(profile: Profile) -> Resources:
    """The profile's resources, cut down to one CPU, a few minutes and little memory."""
    r = profile.resources
    mem = r.mem or (r.mem_per_cpu or 0) * (r.cpus or 1) or _MEMORY_MIB
    return replace(
        r,
        time=_TIME_LIMIT_S,
        cpus=1,
        mem=min(_MEMORY_MIB, mem),
        mem_per_cpu=None,
        runs_per_task=None,
    )


def _lines(folder: Path, profile: Profile) -> list[str]:
    """The lines of the batch script, set up as those of an array task."""
    launched = batch_script.launch(profile.environment, "cluster.doctor.node", [str(folder)])
    return [*profile.setup, *launched]


def _run_here(folder: Path, profile: Profile) -> None:
    with (folder / "job.log").open("wb") as log:
        subprocess.run(
            ["/bin/bash", "-c", "\n".join(_lines(folder, profile))],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=_TIME_LIMIT_S,
            check=False,
        )
    if _answer(folder) is None:
        raise NodeError(
            f"the look at this machine failed: {_log_of(folder)}", "mend that, and look again"
        )


def _by_job(folder: Path, profile: Profile, tell: Callable[[str], object]) -> dict[str, Any]:
    plain = replace(profile, mail_type=None, mail_user=None)
    parameters = sbatch_parameters(plain, _resources(profile))
    for name in ("requeue", "signal", "exclusive"):
        parameters.pop(name, None)
    parameters |= {
        "job-name": "probprec-doctor",
        "no-requeue": True,
        "output": syntax.log_file(folder, "job.log"),
        "chdir": str(folder),
    }
    path = folder / "job.sh"
    path.write_text(script(parameters, _lines(folder, profile)))
    job = None
    try:
        with (
            signals.uninterrupted()
        ):  # a Ctrl-C that ended sbatch would leave a job whose id nobody knows
            job, _ = client.sbatch(path)
        return _wait(job, folder, tell)
    except BaseException:  # Ctrl-C, too: the answer is not awaited any more
        if job is not None:
            with suppress(SlurmError):
                client.cancel([str(job)])
        raise


def _wait(job: int, folder: Path, tell: Callable[[str], object]) -> dict[str, Any]:
    """Wait for the answer, not for the job's end, and ask Slurm ever more rarely."""
    begun = time.monotonic()
    pause, ask_at, over_at = 1.0, begun, None
    told: Mapping[str, str] = {}
    while True:
        found = _answer(folder)
        if found is not None and found["done"]:
            return found
        now = time.monotonic()
        if over_at is not None and now > over_at + _patience(folder):
            return found if found is not None else _why_silent(job, folder, told)
        if over_at is None and now >= ask_at:
            told = _asked(job, told)
            state = told.get("JobState", "?")
            tell(_described(job, state, told.get("Reason", "")))
            if state in states.OVER:
                over_at = now
            elif state == "PENDING" and now > begun + QUEUE_WAIT_MAX_S:
                _give_up(job, told)
            pause = min(_POLL_MAX_S, pause * 1.3)
            ask_at = now + pause
        time.sleep(0.2)


def _patience(folder: Path) -> float:
    return _FILE_DELAY_AFTER_LOG_S if (folder / "job.log").exists() else _FILE_DELAY_MAX_S


def _asked(job: int, before: Mapping[str, str]) -> Mapping[str, str]:
    """The job as scontrol shows it now; as before if Slurm does not answer."""
    try:
        return client.show_job(str(job))
    except UnreachableError:
        return before
    except SlurmError:  # Slurm has forgotten the job
        return {**before, "JobState": "COMPLETED"}


def _described(job: int, state: str, reason: str) -> str:
    if state != "PENDING":
        return f"job {job} {state.lower()}"
    why = reasons.explain(_as_in_squeue(reason))
    return f"job {job} waits: {why.words} ({why.name}); Ctrl-C cancels it"


def _as_in_squeue(reason: str) -> str:
    return reason.replace("_", " ") if reason.startswith("Nodes_required") else reason


def _give_up(job: int, told: Mapping[str, str]) -> None:
    why = reasons.explain(_as_in_squeue(told.get("Reason", "")))
    raise NodeError(
        f"job {job} waited {QUEUE_WAIT_MAX_S / 60:.0f} minutes and was cancelled: {why.words} ({why.name})",
        "try again later, or name a less busy partition in the profile",
    )


def _why_silent(job: int, folder: Path, told: Mapping[str, str]) -> dict[str, Any]:
    state, node = told.get("JobState", "?"), told.get("NodeList", "")
    log = _log_of(folder)
    hint = "does the node see this folder? Put sweeps on a shared disk: export PROBPREC_ROOT=..."
    raise NodeError(
        f"job {job} on {node or 'no node'} is over ({state}), without an answer; its log: {log}",
        hint if log.startswith("none") else "mend what the log says, e.g. a line of `setup:`",
    )


def _log_of(folder: Path) -> str:
    try:
        text = (folder / "job.log").read_text(errors="replace").strip()
    except OSError:
        return f"none in {folder}"
    return " / ".join(text.splitlines()[-_MAX_LOG_LINES:]) or "empty"


def _answer(folder: Path) -> dict[str, Any] | None:
    os.listdir(folder)  # noqa: PTH208 - makes NFS look again
    try:
        found: dict[str, Any] = json.loads((folder / FOUND).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found
