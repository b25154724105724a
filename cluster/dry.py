"""`submit --dry-run`: the batch scripts as they would be sent, and Slurm's verdict on each."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from cluster import array, slurm
from cluster.profile import Profile
from cluster.submit import plan, usable_lanes
from jobs.store import Store
from jobs.sweep import PlannedRun, Sweep


def dry_run(
    sweep: Sweep,
    store: Store,
    profile: Profile,
    chosen: Callable[[PlannedRun], bool],
    *,
    as_json: bool,
) -> int:
    """Show what would be sent; 1 if Slurm refuses a script."""
    console = Console(stderr=as_json, soft_wrap=True, highlight=False)
    missing = [
        planned
        for planned in sweep.runs
        if chosen(planned) and not store.run(planned.run.id).record_file.exists()
    ]
    content = plan(sweep, store, profile, missing, keep=False)
    if profile.engine == "local":
        lanes = usable_lanes(content, None) if missing else 0
        console.print(f"{len(missing)} runs would be run on this machine, {lanes} at a time")
        scripts: list[dict[str, Any]] = []
    else:
        scripts = _scripts(store, profile, content)
    for script in scripts:
        console.print(Text(script["text"]))
        style = "bold red" if script["refused"] else "green"
        console.print(Text(f"sbatch --test-only: {script['verdict']}\n", style=style))
    console.print(f"{len(missing)} runs in {len(scripts)} arrays; nothing was written or sent")
    if as_json:
        report = {"schema": 1, "runs": len(missing), "scripts": scripts}
        Console(soft_wrap=True, highlight=False).print_json(json.dumps(report), ensure_ascii=True)
    return 1 if any(script["refused"] for script in scripts) else 0


def _scripts(store: Store, profile: Profile, content: dict[str, Any]) -> list[dict[str, Any]]:
    """One array for each group of runs that ask for the same; limits may split it further."""
    submission = store.submission(len(store.submissions()) + 1)
    found = []
    for group in content["groups"]:
        chunk = {**group, "token": "probprec-dry-run", "first": 0}
        text = array.script_of_chunk(store, submission, profile, chunk)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "script.sh")
            path.write_text(text)
            try:
                _, verdict = slurm.sbatch(path, test_only=True)
                is_refused = False
            except slurm.SlurmError as error:
                verdict, is_refused = str(error), True
        found.append({"text": text, "verdict": verdict, "refused": is_refused})
    return found
