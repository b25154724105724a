"""`submit --dry-run`: the batch scripts as they would be sent, and Slurm's verdict on each."""

import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster import array, feeder, price, queue, slurm, sweeps
from cluster.plain import PlainConsole, plain
from cluster.profile import Profile
from cluster.submit import plan, sort_runs, usable_lanes
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
    console = PlainConsole(stderr=as_json, soft_wrap=True)
    done, running, others = sort_runs(sweep, store, queue.look(store))
    missing = [one.planned for one in others if chosen(one.planned)]
    content = plan(sweep, store, profile, missing, keep=False)
    if profile.engine == "local":
        lanes = usable_lanes(content, None) if missing else 0
        console.print(f"{len(missing)} runs would be run on this machine, {lanes} at a time")
        scripts: list[dict[str, Any]] = []
    else:
        scripts = _scripts(store, profile, content)
    for script in scripts:
        console.print(script["text"])
        style = "bold red" if script["refused"] else "green"
        console.print(plain(f"sbatch --test-only: {script['verdict']}\n", style=style))
    already = f"{len(done)} done already, {len(running)} waiting or running already"
    arrays = f"{len(missing)} runs in {len(scripts)} arrays" if scripts else f"{len(missing)} runs"
    console.print(f"{arrays}, {already}; nothing was written or sent")
    cost = price.expected(missing, profile.resources, sweeps.beside(store)) if scripts else None
    if cost is not None:
        console.print(str(cost))
    if as_json:
        left = {"done": len(done), "running": len(running)}
        report = {"schema": 1, "runs": len(missing), **left, "scripts": scripts}
        report |= cost.to_json() if cost else {}
        PlainConsole(soft_wrap=True).print_json(json.dumps(report), ensure_ascii=True)
    return 1 if any(script["refused"] for script in scripts) else 0


def _scripts(store: Store, profile: Profile, content: dict[str, Any]) -> list[dict[str, Any]]:
    """The arrays: those of runs that ask for the same, cut as the cluster wants it."""
    submission = store.submission(len(store.submissions()) + 1)
    found = []
    for chunk in _chunks(content["groups"], _per_array(profile, content["groups"])):
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


def _per_array(profile: Profile, groups: Sequence[Mapping[str, Any]]) -> int:
    """The elements that an array may have, as the feeder finds it out; where it cannot, any number."""
    try:
        return feeder.room(profile, groups).per_array
    except slurm.SlurmError:
        return profile.limits.max_array or sys.maxsize


def _chunks(groups: Iterable[Mapping[str, Any]], size: int) -> Iterator[dict[str, Any]]:
    first = 0
    for group in groups:
        for start in range(0, len(group["tasks"]), size):
            tasks = group["tasks"][start : start + size]
            yield {**group, "tasks": tasks, "token": "probprec-dry-run", "first": first}
            first += len(tasks)
