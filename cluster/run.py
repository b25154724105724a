"""The commands `run` and `submit`: from a spec to runs under way, and to their end."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from cluster import status, watch
from cluster.profile import LOCAL, Profile
from cluster.submit import Receipt
from cluster.submit import submit as send
from jobs import spec
from jobs.datasets import find as datasets
from jobs.store import Store
from jobs.sweep import Sweep


def run(
    spec_file: Path,
    overrides: list[str],
    *,
    root: Path,
    workers: int | None,
    threads: int,
    as_json: bool,
) -> int:
    """Submit to this machine and wait; 0 if every run has a record in the end, else 1."""
    console = Console(stderr=as_json, soft_wrap=True)
    sweep, receipt = _submit(
        spec_file, overrides, console, root=root, workers=workers, threads=threads
    )
    try:
        found = watch.follow(sweep, receipt, console)
    except KeyboardInterrupt:
        receipt.cancel()
        console.print("stopped; the same command continues with the runs that have no record")
        raise
    console.print(status.table(sweep, found))
    for line in status.troubles(found):
        console.print(line)
    counts = status.count(found)
    is_complete = counts["completed"] + counts["diverged"] == len(found)
    if is_complete:
        console.print(f"every run has a record; next: probprec collect {receipt.store.root}")
    elif receipt.running:
        console.print(f"{len(receipt.running)} runs were left to whoever is running them already")
    if as_json:
        _print_json(receipt, {"sweep": sweep.name, "states": dict(counts)})
    return 0 if is_complete else 1


def submit(
    spec_file: Path,
    overrides: list[str],
    *,
    root: Path,
    workers: int | None,
    threads: int,
    as_json: bool,
) -> int:
    """Submit to this machine and return at once; 0 when everything is under way or done."""
    console = Console(stderr=as_json, soft_wrap=True)
    _, receipt = _submit(spec_file, overrides, console, root=root, workers=workers, threads=threads)
    if receipt.submitted:
        console.print(
            f"{len(receipt.workers)} workers are running in the background;"
            f" next: probprec status {receipt.store.root}"
        )
    if as_json:
        _print_json(receipt, {})
    return 0


def _submit(
    spec_file: Path,
    overrides: list[str],
    console: Console,
    *,
    root: Path,
    workers: int | None,
    threads: int,
) -> tuple[Sweep, Receipt]:
    sweep = spec.load(spec_file, overrides)
    if folder := os.environ.get(datasets.VARIABLE):
        os.environ[datasets.VARIABLE] = str(Path(folder).resolve())  # the runs stand elsewhere
    profile: Profile = replace(LOCAL, threads=threads)
    datasets.require(
        {planned.run.problem for planned in sweep.runs},
        spec_data=Path(sweep.data) if sweep.data else None,
    )
    receipt = send(sweep, Store(root / sweep.name), profile, workers=workers)
    parts = [
        f"{len(receipt.submitted)} submitted",
        f"{len(receipt.done)} done already",
        *([f"{len(receipt.running)} running already"] if receipt.running else []),
    ]
    console.print(f"{receipt.store.root}: {len(sweep.runs)} runs, {', '.join(parts)}")
    return sweep, receipt


def _print_json(receipt: Receipt, extra: dict[str, Any]) -> None:
    content = {
        "schema": 1,
        **extra,
        "submitted": len(receipt.submitted),
        "already": len(receipt.done) + len(receipt.running),
        "jobs": [
            {"job_id": worker.job_id, "array": None, "runs": list(receipt.submitted)}
            for worker in receipt.workers
        ],
        "sbatch_calls": 0,
    }
    Console(soft_wrap=True, highlight=False).print_json(json.dumps(content))
