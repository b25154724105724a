"""The command `verify-resume` tests that an interrupted and resumed run gives the same result.

For a run of each pair of problem and optimizer, or for the named run, a shortened training is done
twice in processes of their own: once in one go, once with interruptions. State, losses and curves
have to be equal bit for bit after every step; else the report names the first difference, and what
it means.
"""

import itertools
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from cluster.commands import torch_environment
from cluster.terminal.exit_codes import DONE, INCOMPLETE
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole, plain
from jobs import files
from jobs import spec as specs
from jobs.datasets import find as datasets
from jobs.failure import EXIT_INTERRUPTED
from jobs.problems.catalog import datasets_of
from jobs.store.attempts import AttemptFiles
from jobs.sweep import PlannedRun, Run, Sweep
from jobs.training.trace_comparison import Line, compare

EPOCHS, STEPS, INTERRUPTIONS = 2, 25, 3
"""A run is trained for so many epochs of so many steps, at most, and interrupted so often.

The preconditioner's default estimate takes 14 steps."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict on one run."""

    planned: PlannedRun
    steps: int  # steps that were trained in one go
    interrupted: tuple[int, ...]  # the steps before each interruption
    finding: str | None  # None: all equal


def verify(spec_file: Path, overrides: Sequence[str], *, run: str | None, as_json: bool) -> int:
    """Verify a run per problem and optimizer, or the named one; 0 if all are equal, else 1.

    Raises:
        SpecError, DataError: the spec is wrong, or data sets are missing.
    """
    plan = specs.make_plan(spec_file, overrides)
    sweep = plan.sweep
    everything = plan.everything()
    chosen = _one_per_pair(sweep) if run is None else [everything[specs.find_run(plan, run)][0]]
    data = Path(sweep.data) if sweep.data else None
    datasets.require(datasets_of(planned.run.problem for planned in chosen), spec_data=data)
    console = PlainConsole(stderr=as_json, soft_wrap=True)
    console.print(
        f"{sweep.name}: {len(chosen)} runs, each shortened to {EPOCHS} epochs of at most {STEPS} steps"
        f" and trained on the CPU: in one go, and with up to {INTERRUPTIONS} interruptions"
    )
    runs = track(chosen, "verifying", console=console, transient=True)
    with tempfile.TemporaryDirectory(prefix="probprec-verify-") as folder:
        verdicts = [
            _verify(planned, sweep, Path(folder) / str(index)) for index, planned in enumerate(runs)
        ]
    _print(verdicts, console)
    if as_json:
        print_json(_to_json(sweep, verdicts))
    return INCOMPLETE if any(verdict.finding for verdict in verdicts) else DONE


def _one_per_pair(sweep: Sweep) -> list[PlannedRun]:
    pairs: dict[tuple[str, str], PlannedRun] = {}
    for planned in sweep.runs:
        pairs.setdefault((planned.problem, planned.optimizer), planned)
    return list(pairs.values())


def _verify(planned: PlannedRun, sweep: Sweep, folder: Path) -> Verdict:
    short = replace(planned.run, epochs=EPOCHS)
    folder.mkdir()
    tracer = Tracer(short, sweep, folder)
    stops: tuple[int, ...] = ()
    steps = 0
    try:
        straight = tracer.train("straight")
        steps = straight.lines[-1].step
        stops = interruptions(short, steps)
        finding = _compare_pieces(straight, tracer.train_in_pieces(stops))
    except TraceError as error:
        finding = str(error)
    return Verdict(planned=planned, steps=steps, interrupted=stops, finding=finding)


def _compare_pieces(straight: "TraceResult", pieces: Iterator["TraceResult"]) -> str | None:
    """Train piece by piece as long as all is equal; returns the first difference, or None."""
    lines: list[Line] = []
    result = None
    for piece in pieces:
        lines += piece.lines
        if finding := compare(straight.lines, lines):
            return finding
        result = piece.result
    return None if result == straight.result else "the steps are equal, the curves are not"


def interruptions(run: Run, steps: int) -> tuple[int, ...]:
    """Steps after which to interrupt: a random one in each part of the training, fixed by the run's id."""
    draws = random.Random(run.id)  # noqa: S311 - to be repeatable is the point
    bounds = [1 + index * (steps - 1) // INTERRUPTIONS for index in range(INTERRUPTIONS + 1)]
    parts = [(low, high) for low, high in itertools.pairwise(bounds) if low < high]
    return tuple(draws.randrange(low, high) for low, high in parts)


class TraceError(RuntimeError):
    """A traced training failed, or could not be resumed."""


@dataclass(frozen=True)
class TraceResult:
    """The trace that a training left."""

    lines: list[Line]
    result: dict[str, Any] | None  # None: the training was interrupted


class Tracer:
    """A tracer starts the traced trainings of one run, each in a process of its own."""

    def __init__(self, run: Run, sweep: Sweep, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "short.json"
        self._data = sweep.data
        self._code = sweep.code
        files.write_atomically(self._file, files.to_json(run.to_json()))

    def train_in_pieces(self, stops: Sequence[int]) -> Iterator[TraceResult]:
        """Train with interruptions after these steps; each piece goes on from the one before."""
        before: str | None = None
        for index, stop in enumerate([*stops, None]):
            piece = self.train(str(index), resume=before, stop=stop)
            yield piece
            before = str(index)

    def train(
        self, name: str, *, resume: str | None = None, stop: int | None = None
    ) -> TraceResult:
        """Train in one process; raises TraceError if it fails, or does not resume."""
        out = AttemptFiles(self._folder / name)
        done = subprocess.run(
            self._command(out, resume, stop),
            env=torch_environment.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in {0, EXIT_INTERRUPTED}:
            raise TraceError(_why_failed(out, done))
        lines = [Line(**line) for line in files.read_lines(self._trace(out))]
        if resume is not None and not lines[0].resumed:
            raise TraceError(f"cannot be gone on from: {_logged(done.stderr, 'skipped: ')}")
        if done.returncode == 0:
            return TraceResult(lines, json.loads(out.outcome_file.read_bytes()))
        if not any(file.exists() for file in out.checkpoint_files):
            raise TraceError(f"cannot be interrupted: {_logged(done.stderr, 'no checkpoint: ')}")
        return TraceResult(lines, None)

    def _command(self, out: AttemptFiles, resume: str | None, stop: int | None) -> list[str]:
        command = [
            sys.executable,
            "-m",
            "jobs.training.trace",
            str(self._file),
            "--out",
            str(out.path),
        ]
        command += ["--trace", str(self._trace(out)), "--steps", str(STEPS)]
        command += ["--data", self._data] if self._data else []
        command += [word for folder in self._code for word in ("--own", folder)]
        command += ["--resume", str(self._folder / resume)] if resume is not None else []
        return command + (["--stop-after", str(stop)] if stop is not None else [])

    def _trace(self, out: AttemptFiles) -> Path:
        return self._folder / f"{out.path.name}.jsonl"


def _why_failed(out: AttemptFiles, done: subprocess.CompletedProcess[str]) -> str:
    if out.error_file.exists():
        return str(json.loads(out.error_file.read_bytes())["message"])
    return f"exit code {done.returncode}: {done.stderr.strip()[-300:]}"


def _logged(log: str, mark: str) -> str:
    """The text behind the mark, in the first line that has it."""
    found = (line.partition(mark)[2] for line in log.splitlines() if mark in line)
    return next(found, "the log does not say why")


def _print(verdicts: Sequence[Verdict], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("problem", "optimizer", "run", "steps", "interrupted after", "resumed training"):
        table.add_column(name, header_style="dim", overflow="fold")
    for verdict in verdicts:
        planned = verdict.planned
        at = ", ".join(map(str, verdict.interrupted))
        result = "differs" if verdict.finding else "equal"
        steps = str(verdict.steps)
        table.add_row(
            *map(plain, (planned.problem, planned.optimizer, planned.run.id, steps, at, result))
        )
    console.print(table)
    for verdict in verdicts:
        if verdict.finding:
            name = f"{verdict.planned.optimizer} on {verdict.planned.problem}"
            console.print(f"{name}: {verdict.finding}", style="red")


def _to_json(sweep: Sweep, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    return {
        "schema": 1,
        "sweep": sweep.name,
        "epochs": EPOCHS,
        "most_steps_per_epoch": STEPS,
        "runs": [
            {
                "id": verdict.planned.run.id,
                "problem": verdict.planned.problem,
                "optimizer": verdict.planned.optimizer,
                "steps": verdict.steps,
                "interrupted_after": list(verdict.interrupted),
                "equal": verdict.finding is None,
                "finding": verdict.finding,
            }
            for verdict in verdicts
        ],
    }
