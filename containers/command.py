"""The command line and the environment that a run's training is started with.

Without an image the training runs in this Python, on this machine.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to execute."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]


def training(
    run_file: Path,
    out: Path,
    *,
    python: str,
    data: Path | None,
    resume: Sequence[Path],
    until: float | None,
    checkpoint_every: int,
    modules: Sequence[Path],
    threads: int,
    gpu: str,
    needs_gpu: bool,
    scratch: Path | None,
) -> Command:
    """The command that trains the run in `run_file` and writes to `out`.

    Args:
        run_file: the run, as JSON.
        out: the attempt's folder.
        python: the interpreter of the training.
        data: folder of the data sets, if the spec or the profile names one.
        resume: folders of earlier attempts with checkpoints, newest first.
        until: unix time at which the training has to be over, if it has to.
        checkpoint_every: seconds between two checkpoints.
        modules: the module path: the toolkit and the user's own code.
        threads: CPU threads of the training.
        gpu: its GPU, as CUDA_VISIBLE_DEVICES names it; empty: none.
        needs_gpu: whether to fail rather than to train on the CPU.
        scratch: folder for temporary files, if not the usual one.
    """
    arguments = [python, "-m", "jobs.train", str(run_file), "--out", str(out)]
    if data is not None:
        arguments += ["--data", str(data)]
    for folder in resume:
        arguments += ["--resume", str(folder)]
    if until is not None:
        arguments += ["--until", f"{until:.0f}"]
    arguments += ["--checkpoint-every", str(checkpoint_every)]
    if needs_gpu:
        arguments.append("--gpu")
    return Command(
        arguments=(*arguments, "--die-with-parent"),
        environment=_environment(os.environ, modules)
        | dict.fromkeys(_THREAD_VARIABLES, str(threads))
        | {"CUDA_VISIBLE_DEVICES": gpu}
        | ({"TMPDIR": str(scratch)} if scratch is not None else {}),
    )


def _environment(outer: Mapping[str, str], modules: Sequence[Path]) -> dict[str, str]:
    """The caller's environment without its Python settings, which may mean another Python."""
    kept = {name: value for name, value in outer.items() if not name.startswith("PYTHON")}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(map(str, modules)),
        "PYTHONSAFEPATH": "1",  # a `jobs.py` where the user stands must not hide the package
        "PYTHONUNBUFFERED": "1",
    }
