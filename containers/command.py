"""The command line and the environment that a run's training is started with.

Without an image the training runs in this Python, on this machine.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PACKAGES = str(Path(__file__).resolve().parent.parent)
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
    data: Path | None,
    code: Sequence[Path],
    threads: int,
    gpu: str,
) -> Command:
    """The command that trains the run in `run_file` and writes to `out`.

    Args:
        run_file: the run, as JSON.
        out: the attempt's folder.
        data: folder of the data sets, if the spec or the profile names one.
        code: folders put on the module path, for the user's own optimizers and problems.
        threads: CPU threads of the training.
        gpu: its GPU, as CUDA_VISIBLE_DEVICES names it; empty: none.
    """
    arguments = [sys.executable, "-m", "jobs.train", str(run_file), "--out", str(out)]
    if data is not None:
        arguments += ["--data", str(data)]
    return Command(
        arguments=(*arguments, "--die-with-parent"),
        environment=_environment(os.environ, code=code)
        | dict.fromkeys(_THREAD_VARIABLES, str(threads))
        | {"CUDA_VISIBLE_DEVICES": gpu},
    )


def _environment(outer: Mapping[str, str], *, code: Sequence[Path]) -> dict[str, str]:
    """The caller's environment without its Python settings, which may mean another Python."""
    kept = {name: value for name, value in outer.items() if not name.startswith("PYTHON")}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join([_PACKAGES, *map(str, code)]),
        "PYTHONSAFEPATH": "1",  # a `jobs.py` where the user stands must not hide the package
        "PYTHONUNBUFFERED": "1",
    }
